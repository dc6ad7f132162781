"""The inbox: which events a consumer has heard and how far each is. It is also the retry schedule and the dead-letter store.

States: `done`; `due` (at `due_at`); `parked` (waits: for a build that reads its version, for what a handler withheld it for);
`dead` (an operator decides); `discarded`. Of an erased organization nothing is kept.
`attempts` counts failures that were charged; `takes` counts hand-outs since the last outcome: a row that was taken and
never answered may be what kills the process, so it is then run alone, and given up after `MAX_TAKES`.
All functions want the transaction in the dispatch role.

What is done is forgotten by the week (libs.messaging.retention). An event from before the oldest week that nobody knows may
have been applied long ago, so it is never applied as new: it is dead, `too_old`, and an operator decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now, rfc3339
from libs.contracts.envelope import Envelope
from libs.errors import PermanentError
from libs.observability.build import build_id
from libs.observability.logs import get_logger

log = get_logger()

MAX_TAKES = 3
# Longer than any handler may run (statements end after 30 s). One that runs longer is handed out again, and then only one
# of the two can finish: `finish` asks for the take it was given.
LEASE_SECONDS = 60
# What happened to a row, entry by entry: the first stays and the newest do, those between go.
MORE_HISTORY = "(CASE WHEN jsonb_array_length({0}history) >= 20 THEN {0}history - 1 ELSE {0}history END) || {1}"


class TooOld(PermanentError):
    """Nobody can tell whether it was applied before: what was done in those days is forgotten."""

    code = "too_old"

    def __init__(self) -> None:
        super().__init__("it is from before what this consumer remembers, and may have been applied then")


@dataclass(frozen=True, slots=True)
class DueRow:
    event_id: UUID
    envelope: bytes
    attempts: int
    takes: int
    is_too_old: bool = False


async def claim(
    driver: asyncpg.Connection, schema: str, consumer: str, envelopes: Sequence[Envelope]
) -> tuple[set[UUID], set[UUID]]:
    """Claim events as done in the transaction of their effects; answers those that nobody had claimed before.

    And, of these, those that may have been claimed in days that are forgotten: their claim must not be committed.
    """
    ordered = sorted(envelopes, key=lambda envelope: envelope.id)  # one order for all: crossing claims cannot deadlock
    rows = await driver.fetch(
        f"""
        INSERT INTO {schema}.inbox (consumer, event_id, org_id, type, subject, state)
        SELECT $1, id, org, type, subject, 'done'
        FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[]) AS e(id, org, type, subject)
        ON CONFLICT (consumer, event_id) DO NOTHING RETURNING event_id, {_is_forgotten(schema)} AS is_forgotten
        """,
        consumer,
        [envelope.id for envelope in ordered],
        [envelope.org_id for envelope in ordered],
        [envelope.type for envelope in ordered],
        [envelope.subject for envelope in ordered],
    )
    return {row["event_id"] for row in rows}, {row["event_id"] for row in rows if row["is_forgotten"]}


def _is_forgotten(schema: str) -> str:
    """Whether a new row fell where weeks that were dropped had been (libs.database.partitions)."""
    return f"tableoid = '{schema}.inbox_old'::regclass"


async def defer(
    driver: asyncpg.Connection, schema: str, consumer: str, envelopes: Sequence[Envelope], *, takes: int = 0
) -> set[UUID]:
    """Keep deliveries as due at once, without running them; answers those that were new. `takes=1` marks suspects.

    Of erased organizations nothing is kept but how many came.
    """
    ordered = sorted(envelopes, key=lambda envelope: envelope.id)
    rows = await driver.fetch(
        f"""
        INSERT INTO {schema}.inbox (consumer, event_id, org_id, type, subject, state, due_at, envelope, takes)
        SELECT $1, id, org, type, subject, 'due', now(), envelope, $7
        FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[]) AS e(id, org, type, subject, envelope)
        WHERE NOT EXISTS (SELECT FROM {schema}.org_states s WHERE s.org_id = org AND s.state = 'erased')
        ON CONFLICT (consumer, event_id) DO NOTHING RETURNING event_id, {_is_forgotten(schema)} AS is_forgotten
        """,
        consumer,
        [envelope.id for envelope in ordered],
        [envelope.org_id for envelope in ordered],
        [envelope.type for envelope in ordered],
        [envelope.subject for envelope in ordered],
        [envelope.raw for envelope in ordered],
        takes,
    )
    kept = {row["event_id"] for row in rows}
    if too_old := [row["event_id"] for row in rows if row["is_forgotten"]]:
        # Whoever takes the row gives it up. What is only open since before its week was dropped has no such mark.
        await driver.execute(
            f"UPDATE {schema}.inbox SET error_class = $3 WHERE consumer = $1 AND event_id = ANY($2::uuid[])",
            consumer,
            too_old,
            TooOld.code,
        )
    if len(kept) < len(ordered):  # known before, or of an erased organization
        await refuse(driver, schema, consumer, [envelope for envelope in ordered if envelope.id not in kept])
    return kept


async def refuse(driver: asyncpg.Connection, schema: str, consumer: str, late: Sequence[Envelope]) -> int:
    """Of deliveries for erased organizations nothing is kept but how many came; answers that. Others are left alone."""
    counts = Counter(envelope.org_id for envelope in late)
    rows = await driver.fetch(
        f"UPDATE {schema}.org_states s SET refused = s.refused + n.count FROM unnest($1::uuid[], $2::int[]) AS n(org_id, count) "
        "WHERE s.org_id = n.org_id AND s.state = 'erased' RETURNING s.org_id",
        sorted(counts),
        [counts[org] for org in sorted(counts)],
    )
    erased = {row["org_id"] for row in rows}
    if erased:
        gone = [envelope.id for envelope in late if envelope.org_id in erased]
        await driver.execute(
            f"DELETE FROM {schema}.inbox WHERE consumer = $1 AND event_id = ANY($2::uuid[])", consumer, gone
        )
        log.info("late_events_refused", consumer=consumer, events=len(gone), orgs=[str(org) for org in erased])
    return sum(counts[org] for org in erased)


async def take(driver: asyncpg.Connection, schema: str, consumer: str, limit: int, *, suspects: bool) -> list[DueRow]:
    """Hand out due rows under a lease, an equal share for each org that has some; to be committed before any handler runs.

    Of more orgs than `limit`, some by chance: the others come by the next times.

    With `suspects`, rows that were handed out before and never answered (take one at a time); else those that were not.
    """
    # The words of the index for suspects; ordinary rows are found by the one for all due ones.
    which = "AND i.takes > 0" if suspects else ""
    rows = await driver.fetch(
        f"""
        WITH RECURSIVE orgs AS (
          (SELECT i.org_id FROM {schema}.inbox i WHERE i.consumer = $1 AND i.state = 'due' {which} ORDER BY i.org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT i.org_id FROM {schema}.inbox i WHERE i.consumer = $1 AND i.state = 'due' {which}
                  AND i.org_id > orgs.org_id ORDER BY i.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        ), ready AS (
          SELECT org_id FROM orgs WHERE org_id IS NOT NULL AND now() >= (
            SELECT i.due_at FROM {schema}.inbox i WHERE i.consumer = $1 AND i.state = 'due' {which}
              AND i.org_id = orgs.org_id ORDER BY i.due_at LIMIT 1)
          ORDER BY random() LIMIT $2
        ),
        picked AS (
          SELECT one.event_id FROM ready CROSS JOIN LATERAL (
            SELECT event_id FROM {schema}.inbox i
            WHERE i.consumer = $1 AND i.state = 'due' AND i.org_id = ready.org_id AND i.due_at <= now()
              AND (i.takes > 0) = $3 {which}
            ORDER BY i.due_at LIMIT greatest(1, $2 / (SELECT count(*) FROM ready)) FOR UPDATE SKIP LOCKED
          ) one LIMIT $2
        )
        UPDATE {schema}.inbox i SET takes = takes + 1, due_at = now() + $4 * interval '1 second'
        FROM picked WHERE i.consumer = $1 AND i.event_id = picked.event_id
        RETURNING i.event_id, i.envelope, i.attempts, i.takes,
          i.error_class IS NOT DISTINCT FROM '{TooOld.code}' AND i.fingerprint IS NULL AS is_too_old
        """,
        consumer,
        limit,
        suspects,
        LEASE_SECONDS,
    )
    return [DueRow(row["event_id"], row["envelope"], row["attempts"], row["takes"], row["is_too_old"]) for row in rows]


async def release(driver: asyncpg.Connection, schema: str, consumer: str) -> int:
    """Take back what a process before us had been handed and died with; only where no other process can hold any."""
    tag = await driver.execute(
        f"UPDATE {schema}.inbox SET due_at = now() WHERE consumer = $1 AND state = 'due' AND takes > 0 AND due_at > now()",
        consumer,
    )
    return int(str(tag).rsplit(" ", 1)[-1])


async def finish(driver: asyncpg.Connection, schema: str, consumer: str, rows: Sequence[DueRow]) -> set[UUID]:
    """Mark handed-out rows done; answers those that were still ours (a lease that ran out may have passed a row on)."""
    ordered = sorted(rows, key=lambda row: row.event_id)
    kept = await driver.fetch(
        f"""
        UPDATE {schema}.inbox i SET state = 'done', envelope = NULL, due_at = NULL, takes = 0, changed_at = now()
        FROM unnest($2::uuid[], $3::int[]) AS e(id, takes)
        WHERE i.consumer = $1 AND i.event_id = e.id AND i.state = 'due' AND i.takes = e.takes
        RETURNING i.event_id
        """,
        consumer,
        [row.event_id for row in ordered],
        [row.takes for row in ordered],
    )
    return {row["event_id"] for row in kept}


def attempt(failure: Mapping[str, Any], number: int) -> dict[str, Any]:
    """One entry of a row's history."""
    said = {name: failure[name] for name in ("error_class", "reason", "fingerprint", "frames")}
    return {"at": rfc3339(now()), "attempt": number, "build": build_id(), **said}


async def record_failure(
    driver: asyncpg.Connection,
    schema: str,
    consumer: str,
    envelope: Envelope,
    *,
    state: str,
    attempts: int,
    delay_seconds: float | None,
    failure: dict[str, Any],
    held: DueRow | None,
) -> bool:
    """Keep a failed delivery with its bytes, cause and history; answers False if somebody else settled it meanwhile, or its
    organization was erased."""
    entry = orjson.dumps([attempt(failure, attempts)]).decode()
    values = (
        consumer,
        envelope.id,
        state,
        attempts,
        delay_seconds,
        envelope.raw,
        failure["error_class"],
        failure["reason"],
        failure["fingerprint"],
        entry,
        failure["account_id"],
        failure["provider"],
        failure["campaign"],
        build_id(),
    )
    if held is None:
        done = await driver.execute(
            f"""
            INSERT INTO {schema}.inbox (consumer, event_id, org_id, type, subject, state, attempts, due_at, envelope,
                                        error_class, reason, fingerprint, history, account_id, provider, campaign, build)
            SELECT $1, $2, $15, $16, $17, $3, $4, now() + $5::float8 * interval '1 second', $6, $7, $8, $9, $10::text::jsonb,
              $11, $12, $13, $14
            WHERE NOT EXISTS (SELECT FROM {schema}.org_states WHERE org_id = $15 AND state = 'erased')
            ON CONFLICT (consumer, event_id) DO NOTHING
            """,
            *values,
            envelope.org_id,
            envelope.type,
            envelope.subject,
        )
    else:
        done = await driver.execute(
            f"""
            UPDATE {schema}.inbox SET state = $3, attempts = $4, due_at = now() + $5::float8 * interval '1 second',
              envelope = $6, error_class = $7, reason = $8, fingerprint = $9,
              history = {MORE_HISTORY.format("", "$10::text::jsonb")},
              account_id = $11, provider = $12, campaign = $13, build = $14, takes = 0, changed_at = now()
            WHERE consumer = $1 AND event_id = $2 AND state = 'due' AND takes = $15
              AND NOT EXISTS (SELECT FROM {schema}.org_states WHERE org_id = $16 AND state = 'erased')
            """,
            *values,
            held.takes,
            envelope.org_id,
        )
    return str(done).endswith(" 1")
