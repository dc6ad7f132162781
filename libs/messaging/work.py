"""A unit of work: one org's rows and events, kept together or not at all.

The edge (HTTP route, consumer, job) makes it and commits it; handlers only read, decide, keep and tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event
from libs.contracts.events import ActionPerformedV1
from libs.database.engine import Database, TenantSession, Transaction
from libs.errors import PlatformError
from libs.ids import CompanyId, EventId, OrgId
from libs.messaging import outbox
from libs.messaging.ledger import Changes
from libs.observability import tracing
from libs.tenancy.context import ALL_COMPANIES, CompanyScope


class UnitOfWork:
    """`session` reads and writes the org's rows; `publish` puts an event into the outbox of the same transaction.

    `actor` is on whose behalf: the caller of the request `request_id`, else the service itself.
    """

    def __init__(self, session: TenantSession, source: str, *, actor: str | None = None, request_id: str = "") -> None:
        self.session = session
        self.actor = actor or f"service:{source}"
        self.request_id = request_id
        self.published: list[Envelope] = []
        self.withheld: list[tuple[Event, PlatformError]] = []
        self.changes = Changes()
        self.source = source
        self._traceparent = tracing.current_traceparent()

    @property
    def org_id(self) -> OrgId:
        return self.session.org_id

    def publish(
        self,
        event: Event,
        *,
        company_id: CompanyId | None = None,
        cause: Envelope | None = None,
        event_id: EventId | None = None,
        replay_id: UUID | None = None,
    ) -> Envelope:
        """Tell `event` once this transaction has committed. `cause` is the event that led to it, `replay_id` the replay for
        which it is told again."""
        envelope = contract.seal(
            event,
            source=self.source,
            org_id=self.org_id,
            company_id=company_id,
            cause=cause,
            event_id=event_id,
            replay_id=replay_id,
            traceparent=self._traceparent or (cause.traceparent if cause else None),
        )
        self.published.append(envelope)
        return envelope

    def withhold(self, event: Event, reason: PlatformError) -> None:
        """Do not apply this event, one of those being handled, until somebody releases it; see withholding.

        An attempt is charged for a PermanentError: then it was looked at.
        """
        self.withheld.append((event, reason))

    def audit(
        self,
        action: str,
        target: str = "",
        details: Mapping[str, Any] | None = None,
        *,
        company_id: CompanyId | None = None,
    ) -> None:
        """Tell the org's audit log that the actor did this: `account.opened`, to the object with this public id.

        Every operation that changes something tells it once. No secret and nobody's name goes into `details`.
        """
        performed = ActionPerformedV1(
            actor=self.actor, action=action, object=target, details=dict(details or {}), request_id=self.request_id
        )
        self.publish(performed, company_id=company_id)

    def count_at_door(self, event_type: str, delivery_id: UUID, state: str, count: int = 1) -> None:
        """Count a delivery that entered the house: `accepted`, and then what became of it. -1 when it leaves a state."""
        self.changes.add(self.org_id, "door", event_type, delivery_id, state, count)


async def keep(transaction: Transaction, schema: str, works: list[UnitOfWork], changes: Changes | None = None) -> None:
    """Write what units of work told and counted; the last thing before commit."""
    changes = changes or Changes()
    told = [envelope for work in works for envelope in work.published]
    changes.sent(told)
    if not told and not any((changes, *(work.changes for work in works))):
        return  # a read: nothing to tell, and no role to change for it
    await transaction.as_dispatch()
    await outbox.insert(transaction.driver, schema, told)
    for each in (changes, *(work.changes for work in works)):
        await each.write(transaction.driver, schema)


class Units:
    """Makes units of work for the edges that act for one org: HTTP routes and jobs."""

    def __init__(self, database: Database, source: str) -> None:
        self.database = database
        self.source = source

    @asynccontextmanager
    async def begin(
        self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES, *, actor: str | None = None, request_id: str = ""
    ) -> AsyncIterator[UnitOfWork]:
        """One transaction for one org; rows and events are committed together at the end of the block.

        Without an actor the service acts by itself.
        """
        async with self.database.transaction() as transaction:
            session = await transaction.as_tenant(org_id, scope)
            work = UnitOfWork(session, self.source, actor=actor, request_id=request_id)
            yield work
            await keep(transaction, self.database.schema, [work])
