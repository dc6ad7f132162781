"""A unit of work: one org's rows and events, kept together or not at all.

The edge (HTTP route, consumer, job) makes it and commits it; handlers only read, decide, keep and tell.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event
from libs.database.engine import Database, TenantSession, Transaction
from libs.ids import CompanyId, EventId, OrgId
from libs.messaging import outbox
from libs.messaging.ledger import Changes
from libs.observability import tracing
from libs.tenancy.context import ALL_COMPANIES, CompanyScope


class UnitOfWork:
    """`session` reads and writes the org's rows; `publish` puts an event into the outbox of the same transaction."""

    def __init__(self, session: TenantSession, source: str) -> None:
        self.session = session
        self.published: list[Envelope] = []
        self.changes = Changes()
        self._source = source
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
    ) -> Envelope:
        """Tell `event` once this transaction has committed. `cause` is the event that led to it."""
        envelope = contract.seal(
            event,
            source=self._source,
            org_id=self.org_id,
            company_id=company_id,
            cause=cause,
            event_id=event_id,
            traceparent=self._traceparent or (cause.traceparent if cause else None),
        )
        self.published.append(envelope)
        return envelope

    def count_at_door(self, event_type: str, delivery_id: UUID, state: str) -> None:
        """Count a delivery that entered the house: `accepted`, and then what became of it at once."""
        self.changes.add(self.org_id, "door", event_type, delivery_id, state)


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
    async def begin(self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES) -> AsyncIterator[UnitOfWork]:
        """One transaction for one org; rows and events are committed together at the end of the block."""
        async with self.database.transaction() as transaction:
            work = UnitOfWork(await transaction.as_tenant(org_id, scope), self.source)
            yield work
            await keep(transaction, self.database.schema, [work])
