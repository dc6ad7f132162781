"""Deletes what a service still holds of erased organizations: from every table that has an `org_id`, batch by batch.

The tombstone in `org_states` comes first, by the service's consumer, and stays. From then on no transaction gets a view of
the org, so nothing is added; those that had one are waited for. What was deleted is counted with the deletion, in one
transaction: a job that is killed anywhere goes on where it was, and the counts stay true.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from graphlib import TopologicalSorter

import asyncpg
import orjson

from libs.clock import now
from libs.contracts.events import ErasureProgressedV1, OrganizationErasedV1
from libs.crash import crash_point
from libs.database.engine import Database, TenantSession, Transaction
from libs.errors import DependencyDown
from libs.ids import PLATFORM_ORG, OrgId
from libs.messaging.work import UnitOfWork, keep
from libs.observability.logs import get_logger

POLL_SECONDS = 1.0
BATCH_ROWS = 2000  # some tens of milliseconds: nobody waits for long behind a batch
_SWEPT_BLOCKS = 4096  # 32 MiB of a table in which an org's rows cannot be looked up
_TELL_SECONDS = 5.0
_LOOK_SECONDS = 0.05

KEPT = "org_states"
# The one event of the org that still has to leave. It holds an id and a number.
_LAST_WORD = OrganizationErasedV1.routing_key

log = get_logger()


@dataclass(frozen=True, slots=True)
class Table:
    """`indexed`: an org's rows are found without reading those of all others."""

    name: str
    indexed: bool

    @property
    def condition(self) -> str:
        return f"org_id = $1 AND type <> '{_LAST_WORD}'" if self.name == "outbox" else "org_id = $1"


async def tenant_tables(session: TenantSession, schema: str) -> list[Table]:
    """Every table of the schema with an `org_id`, children before their parents; as the catalogue says."""
    rows = await session.fetch(
        """
        SELECT c.relname AS name,
          EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indpred IS NULL AND i.indkey[0] = a.attnum) AS indexed,
          array(SELECT p.relname::text FROM pg_constraint k JOIN pg_class p ON p.oid = k.confrelid
                WHERE k.contype = 'f' AND k.conrelid = c.oid AND p.oid <> c.oid) AS parents
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id' AND NOT a.attisdropped
        WHERE c.relnamespace = to_regnamespace($1)::oid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND c.relname <> $2 ORDER BY c.relname
        """,
        schema,
        KEPT,
    )
    found = {row["name"]: Table(row["name"], row["indexed"]) for row in rows}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(found, ()))
    for row in rows:
        for parent in row["parents"]:
            order.add(parent, row["name"])
    return [found[name] for name in order.static_order()]


class Eraser:
    """One service's. Replicas may run it at once: each batch is one's who holds the tombstone's row."""

    def __init__(self, database: Database, source: str) -> None:
        self._database = database
        self._source = source
        self._told_at: dict[OrgId, float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(DependencyDown):
                await self.run_due()
            await asyncio.sleep(POLL_SECONDS)

    async def run_due(self) -> int:
        """Erase what is to be erased now; answers how many organizations were worked on."""
        async with self._database.transaction() as transaction:
            await transaction.as_dispatch()
            rows = await transaction.driver.fetch(
                f"SELECT org_id, finished_at FROM {self._database.schema}.org_states WHERE state = 'erased' "
                "AND (finished_at IS NULL OR refused > refused_told) ORDER BY changed_at LIMIT 100"
            )
        for row in rows:
            org_id = OrgId(row["org_id"])
            try:
                if row["finished_at"] is None:
                    await self._erase(org_id)
                else:  # something came late since
                    await self._finish(org_id, [])
            except _Busy:
                continue
            except DependencyDown:
                raise
            except Exception as error:
                log.error("erasure_failed", org_id=str(org_id), schema=self._database.schema, exc_info=error)
        return len(rows)

    async def _erase(self, org_id: OrgId) -> None:
        await self._until_older_views_ended()
        async with self._database.transaction() as transaction:
            session = await transaction.as_tenant(org_id, even_erased=True)
            tables = await tenant_tables(session, self._database.schema)
        done = False
        while not done:
            for table in tables:
                await self._clear(org_id, table)
                crash_point("erasure.table_cleared")
            done = await self._finish(org_id, tables)

    async def _until_older_views_ended(self) -> None:
        """Wait for every transaction that may have looked before the tombstone was there.

        Whoever takes a tenant's view reads `org_states`, and so holds a lock on that table until it ends: the way in which
        PostgreSQL itself waits while it builds an index.
        """
        older = await self._views()
        while older:
            await asyncio.sleep(_LOOK_SECONDS)
            older &= await self._views()

    async def _views(self) -> set[str]:
        """The transactions that have looked at how some org stands, and go on."""
        async with self._database.transaction() as transaction:
            await transaction.as_service()
            rows = await transaction.driver.fetch(
                "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND relation = to_regclass($1)::oid AND pid <> pg_backend_pid()",
                f"{self._database.schema}.{KEPT}",
            )
        return {row["virtualtransaction"] for row in rows}

    async def _clear(self, org_id: OrgId, table: Table) -> None:
        if table.indexed:
            statement = (
                f"DELETE FROM {table.name} WHERE ctid = ANY(ARRAY("
                f"SELECT ctid FROM {table.name} WHERE {table.condition} LIMIT {BATCH_ROWS}))"
            )
            while await self._delete(org_id, table, statement) >= BATCH_ROWS:
                pass
            return
        async with self._database.transaction() as transaction:
            session = await transaction.as_tenant(org_id, even_erased=True)
            # Of a table in parts: of its largest part, for the places below are those of each.
            blocks = await session.fetchval(
                "SELECT greatest(pg_relation_size($1::text::regclass), (SELECT max(pg_relation_size(relid)) "
                "FROM pg_partition_tree($1::text::regclass))) / current_setting('block_size')::int",
                f"{self._database.schema}.{table.name}",
            )
        for start in range(0, blocks + 1, _SWEPT_BLOCKS):
            statement = (
                f"DELETE FROM {table.name} WHERE {table.condition} "
                f"AND ctid >= '({start},0)'::tid AND ctid < '({start + _SWEPT_BLOCKS},0)'::tid"
            )
            await self._delete(org_id, table, statement)

    async def _delete(self, org_id: OrgId, table: Table, statement: str) -> int:
        async with self._database.transaction() as transaction:
            session = await transaction.as_tenant(org_id, even_erased=True)
            state = await self._held(session)
            if state is None:
                raise _Busy
            gone = await session.execute(statement, org_id)
            counts = Counter[str](orjson.loads(state["deleted"]))
            is_first = not counts
            if gone:
                counts[table.name] += gone
                await session.execute(
                    "UPDATE org_states SET deleted = $2::text::jsonb WHERE org_id = $1",
                    org_id,
                    orjson.dumps(counts).decode(),
                )
            moment = time.monotonic()
            if gone:
                crash_point("erasure.rows_deleted")
            if (gone and is_first) or moment - self._told_at.get(org_id, moment) > _TELL_SECONDS:
                await self._tell(transaction, org_id, counts, state["refused"], completed=False)
            return gone

    async def _finish(self, org_id: OrgId, tables: list[Table]) -> bool:
        """Make sure that nothing is left, and tell; False when something is."""
        async with self._database.transaction() as transaction:
            session = await transaction.as_tenant(org_id, even_erased=True)
            state = await self._held(session)
            if state is None:
                raise _Busy
            for table in tables:
                if await session.fetchval(f"SELECT EXISTS (SELECT FROM {table.name} WHERE {table.condition})", org_id):
                    return False
            await session.execute(
                "UPDATE org_states SET finished_at = coalesce(finished_at, now()), refused_told = refused WHERE org_id = $1",
                org_id,
            )
            counts = Counter[str](orjson.loads(state["deleted"]))
            await self._tell(transaction, org_id, counts, state["refused"], completed=True)
            crash_point("erasure.finished")
        self._told_at.pop(org_id, None)
        log.info("organization_erased", org_id=str(org_id), schema=self._database.schema, rows=counts.total())
        return True

    async def _held(self, session: TenantSession) -> asyncpg.Record | None:
        return await session.fetchrow(
            "SELECT deleted::text AS deleted, refused FROM org_states WHERE org_id = $1 AND state = 'erased' "
            "FOR UPDATE SKIP LOCKED",
            session.org_id,
        )

    async def _tell(
        self, transaction: Transaction, org_id: OrgId, counts: Counter[str], refused: int, *, completed: bool
    ) -> None:
        self._told_at[org_id] = time.monotonic()
        work = UnitOfWork(await transaction.as_tenant(PLATFORM_ORG), self._source)
        work.publish(
            ErasureProgressedV1.model_validate(
                {
                    "organization_id": org_id,
                    "service": self._source,
                    "state": "completed" if completed else "running",
                    "tables": dict(sorted(counts.items())),
                    "refused": refused,
                    "changed_at": now(),
                }
            )
        )
        await keep(transaction, self._database.schema, [work])


class _Busy(Exception):
    """Another replica has this organization in hand."""
