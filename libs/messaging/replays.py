"""Replays: which dead letters are to be done again, frozen when it was decided; and what people do with such a plan.

plan (freezes its letters) -> dry run -> apply (with the plan's hash and a reason) -> pause, resume, abort. Who works on a
plan is replaying.py. A replay makes inbox rows due again: the one consumer that failed meets them, and nobody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now
from libs.database.engine import TenantSession
from libs.errors import Conflict, NotFound
from libs.ids import new_id
from libs.messaging.pace import Pace
from libs.messaging.work import UnitOfWork

Action = Literal["replay", "discard"]
State = Literal["planned", "running", "paused", "stopped", "completed", "aborted", "expired"]

MOST_LETTERS = 1_000_000
BLOCK_LETTERS = 5000  # so few that a step reads a block in some milliseconds, so many that a million are few rows
LIVES = timedelta(hours=24)  # what was true when the letters were chosen is not believed for longer
NO_ACCOUNT = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Letters:
    """Which letters: all that is said must hold; what is None or empty says nothing. Times are those of the last failure."""

    groups: tuple[UUID, ...] = ()
    letters: tuple[tuple[str, UUID], ...] = ()  # consumer, event
    consumer: str | None = None
    event_type: str | None = None
    error_class: str | None = None
    state: Literal["dead", "parked"] | None = None
    account_id: UUID | None = None
    provider: str | None = None
    campaign: str | None = None
    failed_from: datetime | None = None
    failed_until: datetime | None = None


async def plan(
    work: UnitOfWork, chosen: Letters, pace: Pace, *, action: Action, most: int, public_prefix: str
) -> dict[str, Any]:
    """Choose and freeze. In the database alone: a million letters are no rows here. Audited.

    Raises:
        NotFound: nothing is chosen by this.
        Conflict: more than `most` are.
    """
    plan_id, session = new_id(), work.session
    await session.execute("SET LOCAL work_mem = '128MB'")  # a million letters are sorted once, and not on disk
    rows = await session.fetch(
        f"""
        WITH chosen AS (
          SELECT coalesce(i.account_id, $3) AS account_id, i.consumer, i.event_id FROM inbox i
          WHERE i.org_id = $1 AND i.state IN ('dead', 'parked') AND i.error_class <> 'organization_suspended'
            AND ($4::uuid[] = '{{}}' OR i.fingerprint IN
                 (SELECT g.fingerprint FROM failure_groups g WHERE g.org_id = $1 AND g.id = ANY($4)))
            AND ($5::text[] = '{{}}' OR (i.consumer, i.event_id) IN (SELECT * FROM unnest($5::text[], $6::uuid[])))
            AND ($7::text IS NULL OR i.consumer = $7) AND ($8::text IS NULL OR i.type = $8)
            AND ($9::text IS NULL OR i.error_class = $9) AND ($10::text IS NULL OR i.state = $10)
            AND ($11::uuid IS NULL OR i.account_id = $11) AND ($12::text IS NULL OR i.provider = $12)
            AND ($13::text IS NULL OR i.campaign = $13)
            AND ($14::timestamptz IS NULL OR i.changed_at >= $14) AND ($15::timestamptz IS NULL OR i.changed_at < $15)
          LIMIT $16
        ), numbered AS (
          SELECT *, row_number() OVER (ORDER BY event_id, consumer)::int AS ord FROM chosen
        ), blocks AS (
          INSERT INTO replay_blocks (org_id, plan_id, account_id, block, ords, consumers, event_ids)
          SELECT $1, $2, account_id, (ord - 1) / {BLOCK_LETTERS}, array_agg(ord), array_agg(consumer), array_agg(event_id)
          FROM numbered GROUP BY account_id, (ord - 1) / {BLOCK_LETTERS}
          RETURNING account_id, cardinality(event_ids) AS letters
        )
        SELECT account_id, sum(letters)::int AS letters FROM blocks GROUP BY 1 ORDER BY 1
        """,
        work.org_id, plan_id, NO_ACCOUNT, list(chosen.groups), [one for one, _ in chosen.letters],
        [one for _, one in chosen.letters], chosen.consumer, chosen.event_type, chosen.error_class, chosen.state,
        chosen.account_id, chosen.provider, chosen.campaign, chosen.failed_from, chosen.failed_until, most + 1,
    )  # fmt: skip
    accounts = {str(row["account_id"]): {"total": row["letters"], "released": 0, "last": 0, "paced": 0} for row in rows}
    total = sum(row["letters"] for row in rows)
    if not total:
        raise NotFound("no dead or parked letter is like that")
    if total > most:
        raise Conflict(f"more than {most} letters are like that: say more of them, or raise the bound",
                       code="too_many_letters", pointer="/max")  # fmt: skip
    items_hash = await _hash_of_items(session, plan_id)
    filter_text = orjson.dumps({name: value for name, value in asdict(chosen).items() if value}).decode()
    frozen = orjson.dumps([str(plan_id), action, filter_text, asdict(pace), total, items_hash])
    await session.execute(
        """
        INSERT INTO replay_plans (org_id, id, state, action, filter, pace, items_hash, hash, total, accounts, created_by,
                                  expires_at)
        VALUES ($1, $2, 'planned', $3, $4::text::jsonb, $5::text::jsonb, $6, $7, $8, $9::text::jsonb, $10, $11)
        """,
        work.org_id, plan_id, action, filter_text, orjson.dumps(asdict(pace)).decode(), items_hash,
        hashlib.sha256(frozen).hexdigest(), total, orjson.dumps(accounts).decode(), work.actor, now() + LIVES,
    )  # fmt: skip
    work.audit("replay.planned", f"{public_prefix}_{plan_id.hex}", {"action": action, "letters": total})
    return await get(session, plan_id)


async def _hash_of_items(session: TenantSession, plan_id: UUID) -> str:
    """Of which letters there are, and in which order."""
    found = await session.fetchval(
        "SELECT encode(sha256(string_agg(sha256(convert_to(concat_ws(' ', account_id, ords, consumers, event_ids), 'UTF8')), '' "
        "ORDER BY account_id, block)), 'hex') FROM replay_blocks WHERE org_id = $1 AND plan_id = $2",
        session.org_id, plan_id,
    )  # fmt: skip
    return str(found)


async def get(session: TenantSession, plan_id: UUID) -> dict[str, Any]:
    """Raises: NotFound."""
    rows = await session.fetch(f"{_TOLD} WHERE org_id = $1 AND id = $2", session.org_id, plan_id)
    if not rows:
        raise NotFound("there is no replay with this id")
    return _told(rows[0])


async def page(session: TenantSession, *, state: State | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    rows = await session.fetch(
        f"{_TOLD} WHERE org_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3) "
        "ORDER BY id DESC LIMIT $4",
        session.org_id, state, before, limit,
    )  # fmt: skip
    return [_told(row) for row in rows]


async def ask_dry_run(work: UnitOfWork, plan_id: UUID, *, public_id: str) -> dict[str, Any]:
    """Let the service try the plan without keeping anything; what it found is then told with the plan. Audited.

    Raises:
        NotFound, Conflict: it was applied already; there is nothing to try of what is discarded.
    """
    known = await _locked(work, plan_id)
    _check_open(known)
    if known["action"] == "discard":
        raise Conflict("what is discarded is not tried", code="nothing_to_try")
    await _set(work, plan_id, "dry_run_state = 'asked'")
    work.audit("replay.dry_run", public_id)
    return await get(work.session, plan_id)


async def apply(work: UnitOfWork, plan_id: UUID, *, plan_hash: str, reason: str, public_id: str) -> dict[str, Any]:
    """Begin it. Audited; the reason stays with the plan.

    Raises:
        NotFound, Conflict: the hash is another plan's; it was not tried, or is too old; it or another one goes on already.
    """
    known = await _locked(work, plan_id)
    _check_open(known)
    if known["hash"] != plan_hash:
        raise Conflict("this is not the hash of this plan: read it again", code="plan_changed", pointer="/hash")
    if known["action"] == "replay" and known["dry_run_state"] not in ("done", "failed"):
        raise Conflict("try it first: it had no dry run, or that is still under way", code="dry_run_missing")
    if await _hash_of_items(work.session, plan_id) != known["items_hash"]:
        raise Conflict("the letters of this plan are not those that were frozen: plan again", code="plan_changed")
    busy = await work.session.fetchval(
        "SELECT id FROM replay_plans WHERE org_id = $1 AND state IN ('running', 'paused', 'stopped')", work.org_id
    )
    if busy is not None:
        raise Conflict(
            "another replay of this organization goes on here: wait for its end, or abort it", code="replay_running"
        )
    try:
        await _set(
            work, plan_id, "state = 'running', applied_by = $3, applied_at = now(), reason = $4", work.actor, reason
        )
    except asyncpg.UniqueViolationError:
        raise Conflict(
            "another replay of this organization goes on here: wait for its end, or abort it", code="replay_running"
        ) from None
    work.audit("replay.applied", public_id, {"letters": known["total"], "action": known["action"], "hash": plan_hash})
    return await get(work.session, plan_id)


async def pause(work: UnitOfWork, plan_id: UUID, *, public_id: str) -> dict[str, Any]:
    """What was released runs to its end; nothing more is released. Audited."""
    return await _move(work, plan_id, "paused", ("running",), public_id)


async def resume(work: UnitOfWork, plan_id: UUID, *, public_id: str) -> dict[str, Any]:
    """Go on, with a canary first, whether it was paused or stopped by itself. Audited."""
    return await _move(work, plan_id, "running", ("paused", "stopped"), public_id)


async def abort(work: UnitOfWork, plan_id: UUID, *, public_id: str) -> dict[str, Any]:
    """End it for good. What was done stays done, the other letters stay what they are. Audited."""
    return await _move(work, plan_id, "aborted", ("planned", "running", "paused", "stopped"), public_id)


_WORDS = {"paused": "replay.paused", "running": "replay.resumed", "aborted": "replay.aborted"}
_ALSO = {
    "running": ", paced_since = NULL, paced_released = 0, failed_before = failed, "
    "settled_before = done + failed + skipped, stop_reason = NULL",
    "aborted": ", finished_at = now(), dry_run_state = CASE dry_run_state WHEN 'asked' THEN 'failed' ELSE dry_run_state END",
}


async def _move(
    work: UnitOfWork, plan_id: UUID, state: State, out_of: Sequence[State], public_id: str
) -> dict[str, Any]:
    known = await _locked(work, plan_id)
    if known["state"] == state:
        return await get(work.session, plan_id)  # asked twice
    if known["state"] not in out_of:
        raise Conflict(f"a replay that is {known['state']} cannot become {state}", code="replay_state")
    await _set(work, plan_id, f"state = '{state}'{_ALSO.get(state, '')}")
    if state == "aborted":
        await forget_letters(work.session, plan_id)
    work.audit(_WORDS[state], public_id, {"state_before": known["state"]})
    return await get(work.session, plan_id)


async def forget_letters(session: TenantSession, plan_id: UUID) -> None:
    """Of a plan that is over its counts stay; of each letter its inbox row tells which replay was its last."""
    for table in ("replay_blocks", "replay_items"):
        await session.execute(f"DELETE FROM {table} WHERE org_id = $1 AND plan_id = $2", session.org_id, plan_id)


async def _locked(work: UnitOfWork, plan_id: UUID) -> asyncpg.Record:
    row = await work.session.fetchrow(
        "SELECT state, action, hash, items_hash, total, dry_run_state, expires_at FROM replay_plans "
        "WHERE org_id = $1 AND id = $2 FOR UPDATE",
        work.org_id, plan_id,
    )  # fmt: skip
    if row is None:
        raise NotFound("there is no replay with this id")
    return row


def _check_open(known: asyncpg.Record) -> None:
    if known["state"] != "planned":
        raise Conflict(f"this replay is {known['state']}: it was applied already, or is over", code="replay_state")
    if known["expires_at"] <= now():
        raise Conflict("this plan is older than a day: plan again", code="plan_expired")


async def _set(work: UnitOfWork, plan_id: UUID, what: str, *values: Any) -> None:
    await work.session.execute(
        f"UPDATE replay_plans SET {what}, revision = revision + 1, changed_at = now() WHERE org_id = $1 AND id = $2",
        work.org_id, plan_id, *values,
    )  # fmt: skip


_TOLD = """
    SELECT id, state, action, filter::text AS filter, pace::text AS pace, hash, total, dry_run_state,
      dry_run::text AS dry_run, released, done, failed, skipped, stop_reason, reason, created_by, applied_by, created_at,
      applied_at, changed_at, finished_at, expires_at,
      CASE WHEN applied_at IS NULL THEN 0 ELSE  -- without this all letters would be read to find none
        (SELECT count(*) FROM inbox i WHERE i.org_id = replay_plans.org_id AND i.state IN ('dead', 'parked')
           AND i.changed_at > replay_plans.applied_at AND i.first_seen > replay_plans.applied_at) END AS newly_failed
    FROM replay_plans
"""


def _told(row: asyncpg.Record) -> dict[str, Any]:
    told = dict(row)
    told["filter"], told["pace"] = orjson.loads(row["filter"]), orjson.loads(row["pace"])
    told["dry_run"] = None if row["dry_run"] is None else orjson.loads(row["dry_run"])
    return told
