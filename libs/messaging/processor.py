"""Runs one consumer: claim, handle per org, keep, commit. Every delivery ends in exactly one outcome.

A batch is one transaction. If it fails it is rolled back and halved until the culprit runs alone: only it is charged. A
database that is away charges nobody: the error goes up, and whoever delivers waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from libs.clock import now
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event, registry, seal
from libs.contracts.events import DeadLetterChangedV1
from libs.crash import crash_point
from libs.database.engine import Database, OrganizationErased, Transaction, is_conflict
from libs.errors import ContractViolated, DependencyDown, PermanentError, UnknownVersion
from libs.ids import OrgId
from libs.messaging import fairness, groups, inbox, outbox, withholding
from libs.messaging.consumer import Consumer, error_class
from libs.messaging.failures import facets_of, fingerprint, frames_of, reason_of
from libs.messaging.inbox import DueRow, TooOld
from libs.messaging.ledger import Changes
from libs.messaging.standing import OrganizationSuspended
from libs.messaging.wire import UNREADABLE
from libs.messaging.work import UnitOfWork, Units, keep
from libs.observability import tracing
from libs.observability.logs import get_logger

BATCH_EVENTS = 200
LIVE_EVENTS = 500  # of one delivery are handled in one transaction at most
_DEFERRED_AT_ONCE = 1000
_CONFLICT_RETRIES = 4

log = get_logger()


class CrashSuspected(PermanentError):
    """Handed out several times and never answered: it may be what kills the process."""

    code = "crash"


class _Forgotten(Exception):
    """Of a batch these are from before what is remembered; nothing was done yet."""

    def __init__(self, ids: set[UUID]) -> None:
        super().__init__(len(ids))
        self.ids = ids


class Processor:
    """One consumer of one service, on that service's database."""

    def __init__(self, database: Database, consumer: Consumer, source: str) -> None:
        self.database = database
        self.consumer = consumer
        self.source = source
        self.woken = asyncio.Event()  # somebody put due rows into the inbox

    @property
    def queue(self) -> str:
        return self.consumer.queue

    async def deliver(self, delivered: Sequence[Envelope]) -> None:
        """Handle deliveries from a broker; when this returns each has an outcome in the database and may be acked.

        Of many, each org's share is handled, and its surplus is kept as due.

        Raises:
            DependencyDown: nothing more can be done now; none of the events without outcome was charged.
        """
        unlike = list({envelope.id: envelope for envelope in delivered}.values())
        mine, surplus = fairness.split(unlike, LIVE_EVENTS)
        await self._run([(envelope, None) for envelope in mine])
        if surplus:
            crash_point("surplus.left")
            await self._keep_as_due(surplus, takes=0)
            log.info("surplus_deferred", queue=self.queue, events=len(surplus), handled=len(mine))

    async def defer(self, suspects: Sequence[Envelope]) -> None:
        """Keep deliveries that came back unanswered more than once, to be run alone later."""
        await self._keep_as_due(suspects, takes=1)

    async def _keep_as_due(self, envelopes: Sequence[Envelope], *, takes: int) -> None:
        for start in range(0, len(envelopes), _DEFERRED_AT_ONCE):
            some = envelopes[start : start + _DEFERRED_AT_ONCE]
            async with self.database.transaction() as transaction:
                await transaction.as_dispatch()
                kept = await inbox.defer(transaction.driver, self.database.schema, self.queue, some, takes=takes)
                changes = Changes()
                self._count(changes, [envelope for envelope in some if envelope.id in kept], "due")
                await changes.write(transaction.driver, self.database.schema)
                crash_point("deferral.written")
            crash_point("deferral.committed")
            self.woken.set()

    async def release(self) -> int:
        """For the one process that plays all: what its predecessor died with need not wait for its lease."""
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            return await inbox.release(transaction.driver, self.database.schema, self.queue)

    async def release_resumed(self) -> int:
        """Make due what waited for organizations that are served again; answers how many."""
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            orgs = await withholding.resumed(transaction.driver, self.database.schema, self.queue)
        released = 0
        for org_id in orgs:
            async with Units(self.database, self.source).begin(org_id) as work:
                released += await withholding.release_resumed(work, self.queue)
        return released

    async def run_due(self) -> int:
        """Take due rows and handle them: a batch of ordinary ones, then one suspect alone. Answers how many were taken."""
        taken = await self.release_resumed() if self.consumer.waits_while_suspended else 0
        for suspects, limit in ((False, BATCH_EVENTS), (True, 1)):
            async with self.database.transaction() as transaction:
                await transaction.as_dispatch()
                rows = await inbox.take(transaction.driver, self.database.schema, self.queue, limit, suspects=suspects)
                if rows:
                    crash_point("due.taken")
            if rows:
                crash_point("due.committed")
            taken += len(rows)
            held: list[tuple[Envelope, DueRow | None]] = []
            for row in rows:
                envelope = envelopes.read(row.envelope)
                if row.takes > inbox.MAX_TAKES:
                    error = CrashSuspected(f"handed out {inbox.MAX_TAKES} times without an answer")
                    await self._fail(envelope, row, error, 0.0)
                elif row.is_too_old:
                    await self._fail(envelope, row, TooOld(), 0.0)
                else:
                    held.append((envelope, row))
            if held:
                await self._run(held)
        return taken

    async def _run(self, held: Sequence[tuple[Envelope, DueRow | None]]) -> None:
        batch: list[tuple[Event, DueRow | None]] = []
        for envelope, row in held:
            try:
                batch.append((self.open(envelope), row))
            except PermanentError as error:
                await self._fail(envelope, row, error, 0.0)
        if batch:
            await self._apply(batch)

    def open(self, envelope: Envelope) -> Event:
        """Raises: PermanentError when this consumer can make nothing of it."""
        if envelope.type == UNREADABLE:
            raise ContractViolated("the broker delivered bytes that are no event")
        event = registry.open(envelope)
        if not isinstance(event, self.consumer.events):
            raise ContractViolated(f"{self.queue} does not listen to {envelope.type}")
        return event

    async def _apply(self, batch: Sequence[tuple[Event, DueRow | None]]) -> None:
        started = time.monotonic()
        for attempt in range(_CONFLICT_RETRIES + 1):
            try:
                handled = await self._transact(batch)
            except DependencyDown:
                raise
            except OrganizationErased as error:
                batch = await self._refuse(batch, error.org_id)
                if batch:
                    await self._apply(batch)
                return
            except _Forgotten as forgotten:
                for event, row in batch:
                    if event.envelope.id in forgotten.ids:
                        await self._fail(event.envelope, row, TooOld(), time.monotonic() - started)
                batch = [one for one in batch if one[0].envelope.id not in forgotten.ids]
                if batch:
                    await self._apply(batch)
                return
            except Exception as error:  # noqa: BLE001 - whatever a handler raises ends as an outcome of its event
                if is_conflict(error) and attempt < _CONFLICT_RETRIES:
                    continue
                if len(batch) == 1:
                    event, row = batch[0]
                    await self._fail(event.envelope, row, error, time.monotonic() - started)
                    return
                log.warning("batch_split", queue=self.queue, events=len(batch), error=error_class(error))
                middle = len(batch) // 2
                await self._apply(batch[:middle])
                crash_point("consumer.split")
                await self._apply(batch[middle:])
                return
            crash_point("consumer.committed")
            self._log_handled([event.envelope for event, _ in batch], handled, time.monotonic() - started)
            return

    async def _refuse(
        self, batch: Sequence[tuple[Event, DueRow | None]], org_id: OrgId
    ) -> Sequence[tuple[Event, DueRow | None]]:
        """Discard what came too late for an organization that was erased; answers the others' events."""
        late = [event.envelope for event, _ in batch if event.envelope.org_id == org_id]
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            await inbox.refuse(transaction.driver, self.database.schema, self.queue, late)
        return [one for one in batch if one[0].envelope.org_id != org_id]

    async def _transact(self, batch: Sequence[tuple[Event, DueRow | None]]) -> set[UUID]:
        schema = self.database.schema
        causes = [event.envelope.traceparent for event, _ in batch]
        with tracing.span(
            f"process {self.queue}",
            tracing.SpanKind.CONSUMER,
            causes=causes,
            events=len(batch),
        ):
            async with self.database.transaction() as transaction:
                await transaction.as_dispatch()
                fresh = [event for event, row in batch if row is None]
                held = [row for _, row in batch if row is not None]
                ours: set[UUID] = set()
                if fresh:
                    claimed, forgotten = await inbox.claim(
                        transaction.driver, schema, self.queue, [event.envelope for event in fresh]
                    )
                    if forgotten:
                        raise _Forgotten(forgotten)
                    ours |= claimed
                if held:
                    ours |= await inbox.finish(transaction.driver, schema, self.queue, held)
                changes = Changes()
                self._count(changes, [event.envelope for event, _ in batch if event.envelope.id in ours], "done")
                self._count(
                    changes, [e.envelope for e, row in batch if row is not None and e.envelope.id in ours], "due", -1
                )
                crash_point("consumer.claimed")
                works = await self._handle(transaction, [event for event, _ in batch if event.envelope.id in ours])
                await self._withhold(transaction, works, changes)
                await keep(transaction, schema, works, changes)
                crash_point("consumer.handled")
                return ours

    async def _handle(self, transaction: Transaction, events: Sequence[Event]) -> list[UnitOfWork]:
        by_org: dict[OrgId, list[Event]] = defaultdict(list)
        for event in events:
            by_org[event.envelope.org_id].append(event)
        works = []
        for org_id in sorted(by_org):
            work = UnitOfWork(await transaction.as_tenant(org_id), self.source)
            if self.consumer.waits_while_suspended and work.session.is_suspended:
                for event in by_org[org_id]:
                    work.withhold(event, OrganizationSuspended())
            else:
                await self.consumer.handler(by_org[org_id], work)
            works.append(work)
        return works

    async def _withhold(self, transaction: Transaction, works: Sequence[UnitOfWork], changes: Changes) -> None:
        """Park what handlers would not apply."""
        told_by_handlers = [one for work in works for one in work.withheld]
        if not told_by_handlers:
            return
        withheld = [(event.envelope, self._failure(event.envelope, error)) for event, error in told_by_handlers]
        charged = {event.envelope.id for event, error in told_by_handlers if isinstance(error, PermanentError)}
        await transaction.as_dispatch()
        attempts = await withholding.park(
            transaction.driver, self.database.schema, self.queue, withheld, charged=charged
        )
        await groups.note_failures(transaction.driver, self.database.schema, self.queue, withheld)
        parked = [envelope for envelope, _ in withheld]
        self._count(changes, parked, "done", -1)
        self._count(changes, parked, "parked")
        told = [self._dead_letter(one, "parked", attempts[one.id], failure) for one, failure in withheld]
        changes.sent(told)
        await outbox.insert(transaction.driver, self.database.schema, told)
        log.warning("events_withheld", queue=self.queue, events=len(withheld), error=withheld[0][1]["error_class"])

    def _failure(self, envelope: Envelope, error: BaseException) -> dict[str, Any]:
        facets = facets_of(envelope)
        return {
            "error_class": error_class(error),
            "reason": reason_of(error),
            "fingerprint": fingerprint(self.queue, envelope.type, error, facets.provider),
            "frames": frames_of(error)[-6:],
            "account_id": facets.account_id,
            "provider": facets.provider,
            "campaign": facets.campaign,
        }

    async def _fail(self, envelope: Envelope, row: DueRow | None, error: BaseException, seconds: float) -> None:
        attempts = (row.attempts if row else 0) + 1
        delay = self.consumer.retry.next_delay(error, attempts)
        if isinstance(error, UnknownVersion):
            state, delay = "parked", None
        else:
            state = "due" if delay is not None else "dead"
        failure = self._failure(envelope, error)
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            ours = await inbox.record_failure(
                transaction.driver, self.database.schema, self.queue, envelope,
                state=state, attempts=attempts, delay_seconds=delay, failure=failure, held=row,
            )  # fmt: skip
            if ours:
                changes = Changes()
                if row is None or state != "due":
                    self._count(changes, [envelope], state)
                    if row is not None:
                        self._count(changes, [envelope], "due", -1)
                told = [self._dead_letter(envelope, state, attempts, failure)] if state != "due" else []
                if told:
                    await groups.note_failures(
                        transaction.driver, self.database.schema, self.queue, [(envelope, failure)]
                    )
                changes.sent(told)
                await outbox.insert(transaction.driver, self.database.schema, told)
                await changes.write(transaction.driver, self.database.schema)
                crash_point("failure.written")
        crash_point("failure.committed")
        log.log(
            40 if state == "dead" else 30, "message_handled", queue=self.queue, event_id=str(envelope.id), type=envelope.type,
            org_id=str(envelope.org_id), correlation_id=str(envelope.correlation_id),
            trace_id=tracing.trace_id_of(envelope.traceparent), outcome=state if ours else "duplicate",
            attempts=attempts, error=failure["error_class"], reason=failure["reason"], seconds=round(seconds, 4),
            exc_info=error if state == "dead" and not isinstance(error, PermanentError) else None,
        )  # fmt: skip

    def _dead_letter(self, envelope: Envelope, state: str, attempts: int, failure: Mapping[str, object]) -> Envelope:
        event = DeadLetterChangedV1.model_validate(
            {
                "service": self.source,
                "consumer": self.queue,
                "event_id": envelope.id,
                "event_type": envelope.type,
                "event_subject": envelope.subject,
                "state": state,
                "error_class": failure["error_class"],
                "reason": failure["reason"],
                "fingerprint": failure["fingerprint"],
                "attempts": attempts,
                "changed_at": now(),
            }
        )
        return seal(event, source=self.source, org_id=envelope.org_id, company_id=envelope.company_id, cause=envelope)

    def _count(self, changes: Changes, counted: Sequence[Envelope], state: str, count: int = 1) -> None:
        for envelope in counted:
            changes.add(envelope.org_id, self.queue, envelope.type, envelope.id, state, count)

    def _log_handled(self, batch: Sequence[Envelope], handled: set[UUID], seconds: float) -> None:
        for envelope in batch:
            log.debug(
                "message_handled", queue=self.queue, event_id=str(envelope.id), type=envelope.type,
                org_id=str(envelope.org_id), correlation_id=str(envelope.correlation_id),
                trace_id=tracing.trace_id_of(envelope.traceparent),
                outcome="ok" if envelope.id in handled else "duplicate", seconds=round(seconds / len(batch), 6),
            )  # fmt: skip
