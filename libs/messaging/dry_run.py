"""What a replay would do, found by doing it: the handlers run on the letters' bytes in a transaction that is rolled back.

All letters run in one transaction, each batch in a savepoint, so that a later letter meets what an earlier one wrote, as it
will. Rows are found by the transaction that wrote them (xmin), compared with what they are after the rollback. Row locks are
held meanwhile, so both letters and seconds are bounded.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now, rfc3339
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event
from libs.database.engine import Database, TenantSession
from libs.errors import DependencyDown, PermanentError, PlatformError
from libs.ids import OrgId
from libs.messaging.consumer import error_class
from libs.messaging.failures import fingerprint, reason_of
from libs.messaging.processor import Processor
from libs.messaging.work import UnitOfWork
from libs.observability.build import build_id

MOST_LETTERS = 1000
MOST_SECONDS = 20.0
_BATCH = 50
_SHOWN_CHANGES = 200
_SHOWN_SUBJECTS = 10
_MOST_ROWS = 20_000
# What every message changes, or only the machinery that carries them: no change of what they are about.
_MACHINERY = frozenset(
    {"inbox", "outbox", "ledger", "org_states", "failure_groups", "replay_plans", "replay_blocks", "replay_items"}
)


class DryRunBusy(PlatformError):
    """Live work held what the letters need; nothing was found out."""

    code = "dry_run_busy"


@dataclass(slots=True)
class _Tried:
    """What was found out so far. `xids` are those of the savepoints whose writes stood."""

    covered: int = 0
    succeeded: int = 0
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: list[Envelope] = field(default_factory=list)
    xids: list[str] = field(default_factory=list)


async def dry_run(
    database: Database,
    processors: Mapping[str, Processor],
    org_id: OrgId,
    letters: Sequence[tuple[str, UUID]],
    *,
    of: int,
    effect_tables: Collection[str] = (),
) -> dict[str, Any]:
    """What would become of these letters (consumer, event), in this order; `of` so many that the plan has.

    Rows of `effect_tables` lead to calls at a provider: how many of them would be written is told apart.

    Raises:
        DryRunBusy: rows were held by live work for too long.
        DependencyDown: the database is away.
    """
    tried = _Tried()
    undone = _Undone()
    after: dict[str, list[dict[str, Any]]] = {}
    deleted: dict[str, int] = {}
    try:
        async with database.transaction() as transaction:
            session = await transaction.as_tenant(org_id)
            await session.execute("SET LOCAL lock_timeout = '2s'")
            before = await _written(session, database.schema)
            deadline = time.monotonic() + MOST_SECONDS
            for consumer, ids in _runs(letters):
                if time.monotonic() > deadline:
                    break
                await _try_letters(session, processors.get(consumer), ids, tried)
            written = await _written(session, database.schema)
            for table, counts in sorted(written.items()):
                if table not in _MACHINERY and counts != before.get(table, (0, 0)):
                    after[table] = await _rows_of(session, table, tried.xids)
                    deleted[table] = counts[1] - before.get(table, (0, 0))[1]
            raise undone
    except _Undone:
        pass
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError) as error:
        raise DryRunBusy("live work held rows that the letters need: try again, or with fewer letters") from error
    async with database.tenant_transaction(org_id) as session:
        changes = {table: await _compared(session, database.schema, table, rows) for table, rows in after.items()}
    return _told(tried, changes, deleted, of=of, effect_tables=effect_tables)


class _Undone(Exception):
    """Ends the transaction: nothing of it is kept."""


def _runs(letters: Sequence[tuple[str, UUID]]) -> list[tuple[str, list[UUID]]]:
    """Stretches of one consumer, in order, a batch long at most."""
    runs: list[tuple[str, list[UUID]]] = []
    for consumer, event_id in letters:
        if not runs or runs[-1][0] != consumer or len(runs[-1][1]) >= _BATCH:
            runs.append((consumer, []))
        runs[-1][1].append(event_id)
    return runs


async def _try_letters(session: TenantSession, processor: Processor | None, ids: Sequence[UUID], tried: _Tried) -> None:
    if processor is None:
        return  # this build has no such consumer: there is nobody to try it with
    rows = await session.fetch(
        "SELECT event_id, envelope FROM inbox WHERE org_id = $1 AND consumer = $2 AND event_id = ANY($3) "
        "AND state IN ('dead', 'parked')",
        session.org_id, processor.queue, list(ids),
    )  # fmt: skip
    found = {row["event_id"]: row["envelope"] for row in rows}
    batch: list[Event] = []
    for event_id in ids:
        if event_id not in found:
            continue
        tried.covered += 1
        envelope = envelopes.read(found[event_id])
        try:
            batch.append(processor.open(envelope))
        except PermanentError as error:
            _note(tried, processor, envelope, error)
    await _try_batch(session, processor, batch, tried)


async def _try_batch(session: TenantSession, processor: Processor, batch: Sequence[Event], tried: _Tried) -> None:
    """As the processor does: all at once, and in halves if that fails, until the culprit is alone."""
    if not batch:
        return
    work = UnitOfWork(session, processor.source)
    await session.execute("SAVEPOINT tried")
    try:
        await processor.consumer.handler(batch, work)
        xid = await session.fetchval(  # a row that only this savepoint wrote tells its number
            "INSERT INTO replay_items (org_id, plan_id, account_id, ord, consumer, event_id) "
            "VALUES ($1, $1, $1, $2, '', $1) RETURNING xmin::text",
            session.org_id, len(tried.xids),
        )  # fmt: skip
        await session.execute("RELEASE SAVEPOINT tried")
    except (DependencyDown, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.QueryCanceledError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is what this wants to know
        await session.execute("ROLLBACK TO SAVEPOINT tried")
        if len(batch) == 1:
            _note(tried, processor, batch[0].envelope, error)
            return
        middle = len(batch) // 2
        await _try_batch(session, processor, batch[:middle], tried)
        await _try_batch(session, processor, batch[middle:], tried)
        return
    tried.xids.append(xid)
    tried.published += work.published
    for event, why in work.withheld:
        _note(tried, processor, event.envelope, why)
    tried.succeeded += len(batch) - len(work.withheld)


def _note(tried: _Tried, processor: Processor, envelope: Envelope, error: BaseException) -> None:
    mark = fingerprint(processor.queue, envelope.type, error)
    known = tried.failures.setdefault(
        mark, {"error_class": error_class(error), "reason": reason_of(error), "letters": 0, "event_ids": []}
    )
    known["letters"] += 1
    if len(known["event_ids"]) < _SHOWN_SUBJECTS:
        known["event_ids"].append(str(envelope.id))


async def _written(session: TenantSession, schema: str) -> dict[str, tuple[int, int]]:
    """By table: rows inserted or updated, and rows deleted, as far as this connection has counted."""
    rows = await session.fetch(
        # Of a table that is cut into parts the parts are counted.
        "SELECT c.relname, sum(s.n_tup_ins + s.n_tup_upd)::bigint AS written, sum(s.n_tup_del)::bigint AS deleted "
        "FROM pg_stat_xact_user_tables s JOIN pg_class c ON c.oid = coalesce(pg_partition_root(s.relid), s.relid) "
        "WHERE s.schemaname = $1 AND s.n_tup_ins + s.n_tup_upd + s.n_tup_del > 0 GROUP BY c.relname",
        schema,
    )
    return {row["relname"]: (row["written"], row["deleted"]) for row in rows}


async def _rows_of(session: TenantSession, table: str, xids: Sequence[str]) -> list[dict[str, Any]]:
    rows = await session.fetch(
        f"SELECT to_jsonb(t)::text AS row FROM {table} t WHERE t.xmin::text = ANY($1::text[]) LIMIT {_MOST_ROWS}", xids
    )
    return [orjson.loads(row["row"]) for row in rows]


async def _compared(
    session: TenantSession, schema: str, table: str, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """For each row that would be written: its key, and what of it would be new."""
    keys = [
        row["name"]
        for row in await session.fetch(
            "SELECT a.attname AS name FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid "
            "AND a.attnum = ANY(i.indkey) WHERE i.indisprimary AND i.indrelid = to_regclass($1) ORDER BY a.attnum",
            f"{schema}.{table}",
        )
    ]
    if not keys:
        return [{"key": {}, "kind": "inserted", "fields": []} for _ in rows]
    wanted = [{name: row[name] for name in keys} for row in rows]
    joined = " AND ".join(f't."{name}" = k."{name}"' for name in keys)
    present = await session.fetch(
        f"SELECT to_jsonb(t)::text AS row FROM jsonb_populate_recordset(NULL::{schema}.{table}, $1::text::jsonb) k "
        f"JOIN {table} t ON {joined}",
        orjson.dumps(wanted).decode(),
    )
    known = {_key(one, keys): one for one in (orjson.loads(row["row"]) for row in present)}
    changes = []
    for row in rows:
        now_there = known.get(_key(row, keys))
        fields = [] if now_there is None else sorted(name for name in row if row[name] != now_there.get(name))
        kind = "inserted" if now_there is None else "updated" if fields else "unchanged"
        shown = {name: row[name] for name in keys if name != "org_id"}
        changes.append({"key": shown, "kind": kind, "fields": fields})
    return changes


def _key(row: Mapping[str, Any], keys: Sequence[str]) -> bytes:
    return orjson.dumps([row[name] for name in keys])


def _told(
    tried: _Tried,
    changes: Mapping[str, Sequence[Mapping[str, Any]]],
    deleted: Mapping[str, int],
    *,
    of: int,
    effect_tables: Collection[str],
) -> dict[str, Any]:
    kinds = {table: Counter(one["kind"] for one in rows) for table, rows in changes.items()}
    events: dict[str, list[str]] = defaultdict(list)
    for envelope in tried.published:
        events[envelope.type].append(envelope.subject)
    failed = sum(one["letters"] for one in tried.failures.values())
    shown = [
        {"table": table, **one} for table, rows in sorted(changes.items()) for one in rows if one["kind"] != "unchanged"
    ]
    return {
        "at": rfc3339(now()),
        "build": build_id(),
        "of": of,
        "covered": tried.covered,
        "would_succeed": tried.succeeded,
        "would_fail": failed,
        "failures": sorted(tried.failures.values(), key=lambda one: (-one["letters"], one["reason"])),
        "rows": [
            {
                "table": table, "inserted": kinds[table]["inserted"], "updated": kinds[table]["updated"],
                "unchanged": kinds[table]["unchanged"], "deleted": deleted.get(table, 0),
            }
            for table in sorted(kinds)
        ],
        "changes": shown[:_SHOWN_CHANGES],
        "changes_left_out": max(len(shown) - _SHOWN_CHANGES, 0),
        "events": [
            {"type": kind, "count": len(subjects), "subjects": sorted(set(subjects))[:_SHOWN_SUBJECTS]}
            for kind, subjects in sorted(events.items())
        ],
        "effects_suppressed": [
            {"table": table, "rows": kinds[table]["inserted"] + kinds[table]["updated"]}
            for table in sorted(kinds)
            if table in effect_tables
        ],
    }  # fmt: skip
