"""Events within one process: outbox to inbox in one transaction, no broker.

The outbox row is deleted in the transaction that inserts it as `due` into every listener's inbox, so a crash at any line
leaves it in exactly one place. All services must share one database; the login used here may become each service's
dispatch role and has no rights of its own.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from uuid import UUID

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import registry
from libs.crash import crash_point
from libs.database.engine import Database
from libs.messaging import inbox, outbox
from libs.messaging.ledger import Changes
from libs.messaging.processor import Processor
from libs.observability.logs import get_logger

log = get_logger()


class InProcessTransport:
    def __init__(self, database: Database) -> None:
        """`database` logs in as the standalone role."""
        self._database = database
        self._listeners: dict[str, Processor] = {}

    def attach(self, processor: Processor) -> None:
        """Make the processor's queue known; to be done for all of them before the first relay runs."""
        self._listeners[processor.queue] = processor

    async def relay(self, database: Database, limit: int) -> int:
        woken: set[Processor] = set()
        unroutable: dict[str, list[UUID]] = defaultdict(list)
        async with self._database.transaction() as transaction:
            await transaction.as_dispatch(database.dispatch_role)
            rows = await outbox.take(transaction.driver, database.schema, limit)
            if not rows:
                return 0
            crash_point("relay.taken")
            by_queue: dict[str, list[Envelope]] = defaultdict(list)
            delivered: list[UUID] = []
            for row in rows:
                queues = registry.types[row.type].heard_by if row.type in registry.types else ()
                if not queues or any(queue not in self._listeners for queue in queues):
                    unroutable[row.type].append(row.id)
                    continue
                envelope = envelopes.read(row.envelope)
                for queue in queues:
                    by_queue[queue].append(envelope)
                delivered.append(row.id)
            for queue, batch in sorted(by_queue.items()):
                listener = self._listeners[queue]
                await transaction.as_dispatch(listener.database.dispatch_role)
                schema = listener.database.schema
                kept = await inbox.defer(transaction.driver, schema, queue, batch)
                changes = Changes()
                for envelope in batch:
                    if envelope.id in kept:
                        changes.add(envelope.org_id, queue, envelope.type, envelope.id, "due")
                await changes.write(transaction.driver, schema)
                woken.add(listener)
            crash_point("relay.published")
            await transaction.as_dispatch(database.dispatch_role)
            await outbox.delete(transaction.driver, database.schema, delivered)
            for ids in unroutable.values():
                await outbox.mark_returned(transaction.driver, database.schema, ids)
            crash_point("relay.deleted")
        crash_point("relay.committed")
        for event_type, ids in unroutable.items():
            log.error("event_unroutable", type=event_type, events=len(ids), schema=database.schema,
                      advice="no queue listens to this type: run `outrider topology` or deploy the listener")  # fmt: skip
        for listener in woken:
            listener.woken.set()
        return len(delivered)

    async def serve(self, processor: Processor) -> None:
        await asyncio.Event().wait()  # the due taker delivers; there is nothing to receive

    async def close(self) -> None:
        await self._database.close()
