"""Works on the replays of one service: tries what is to be tried, and makes letters due again at the plan's pace.

Each step is one transaction under the lock of the plan's row: what became of the released letters, whether to stop, the next
ones. Killed at any line, the next step goes on from what is committed; two replicas take turns. The letters themselves run
where all retries run (due.py): leases, crash suspects and a pause while the database is away are those of live work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.clock import now
from libs.contracts.events import DeadLetterChangedV1
from libs.crash import crash_point
from libs.database.engine import Database, OrganizationErased
from libs.errors import DependencyDown
from libs.ids import EventId, OrgId, public_id
from libs.messaging import pace as pacing
from libs.messaging.dry_run import MOST_LETTERS, DryRunBusy, dry_run
from libs.messaging.pace import Pace, Phase
from libs.messaging.processor import Processor
from libs.messaging.replays import BLOCK_LETTERS, forget_letters
from libs.messaging.work import UnitOfWork, Units
from libs.observability.logs import get_logger
from libs.observability.reasons import reason_of

# So that letters come in a trickle: what is released at once is handled in one transaction, and live work that needs the
# rows it holds waits for the whole of it.
STEP_SECONDS = 0.1
POLL_SECONDS = 1.0
_BLOCKS_AT_ONCE = 4  # of an account; what is in later ones comes with the next step

log = get_logger()


def prefix(source: str) -> str:
    """`rpl_provider-sync`: a replay's id names the service that works on it."""
    return f"rpl_{source}"


class Replays:
    """One service's. `effect_tables` are those whose rows lead to calls at a provider."""

    def __init__(
        self,
        database: Database,
        source: str,
        processors: Mapping[str, Processor],
        *,
        effect_tables: Collection[str] = (),
    ) -> None:
        self._database = database
        self._source = source
        self._processors = processors
        self._effect_tables = effect_tables
        self._units = Units(database, source)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            busy = 0
            with suppress(DependencyDown):
                busy = await self.run_due()
            await asyncio.sleep(STEP_SECONDS if busy else POLL_SECONDS)

    async def run_due(self) -> int:
        """One step of each plan that goes on, one dry run of each that is to be tried; answers how many plans there were."""
        schema = self._database.schema
        async with self._database.transaction() as transaction:
            await transaction.as_dispatch()
            plans = await transaction.driver.fetch(
                f"SELECT org_id, id, state, dry_run_state FROM {schema}.replay_plans "
                "WHERE state = 'running' OR dry_run_state = 'asked' ORDER BY id"
            )
            await transaction.driver.execute(
                f"WITH expired AS (UPDATE {schema}.replay_plans SET state = 'expired', changed_at = now(), finished_at = now() "
                "WHERE state = 'planned' AND expires_at < $1 AND dry_run_state <> 'asked' RETURNING org_id, id) "
                f"DELETE FROM {schema}.replay_blocks b USING expired e WHERE b.org_id = e.org_id AND b.plan_id = e.id",
                now(),
            )
        for row in plans:
            org_id = OrgId(row["org_id"])
            try:
                if row["dry_run_state"] == "asked":
                    await self._try(org_id, row["id"])
                if row["state"] == "running":
                    await self.step(org_id, row["id"])
            except DependencyDown:
                raise
            except OrganizationErased:
                continue
            except Exception as error:
                log.error("replay_step_failed", org_id=str(org_id), replay_id=str(row["id"]), exc_info=error)
        return len(plans)

    async def _try(self, org_id: OrgId, plan_id: UUID) -> None:
        async with self._database.tenant_transaction(org_id) as session:
            total = await session.fetchval(
                "SELECT total FROM replay_plans WHERE org_id = $1 AND id = $2 AND dry_run_state = 'asked'",
                org_id,
                plan_id,
            )
            if total is None or session.is_suspended:
                return
            # Evenly from the first to the last, so that a cause that began late is among them.
            rows = await session.fetch(
                "SELECT consumer, event_id FROM replay_blocks CROSS JOIN LATERAL unnest(ords, consumers, event_ids) "
                "AS l (ord, consumer, event_id) WHERE org_id = $1 AND plan_id = $2 AND (ord - 1) % $3 = 0 ORDER BY ord",
                org_id, plan_id, -(-total // MOST_LETTERS),
            )  # fmt: skip
        letters = [(row["consumer"], row["event_id"]) for row in rows]
        found: dict[str, Any]
        try:
            found = await dry_run(
                self._database, self._processors, org_id, letters, of=total, effect_tables=self._effect_tables
            )
            state = "done"
        except DryRunBusy as error:
            found, state = {"error": reason_of(error)}, "failed"
        except DependencyDown:
            raise
        except Exception as error:
            log.error("dry_run_failed", org_id=str(org_id), replay_id=str(plan_id), exc_info=error)
            found, state = {"error": reason_of(error)}, "failed"
        crash_point("replay.tried")
        async with self._database.tenant_transaction(org_id) as session:
            await session.execute(
                "UPDATE replay_plans SET dry_run_state = $3, dry_run = $4::text::jsonb, revision = revision + 1, "
                "changed_at = now() WHERE org_id = $1 AND id = $2 AND dry_run_state = 'asked'",
                org_id, plan_id, state, orjson.dumps(found).decode(),
            )  # fmt: skip

    async def step(self, org_id: OrgId, plan_id: UUID) -> int:
        """Settle, judge, release; answers how many were released."""
        async with self._units.begin(org_id) as work:
            if work.session.is_suspended:
                return 0
            row = await work.session.fetchrow(
                "SELECT state, action, pace::text AS pace, total, released, done, failed, skipped, accounts::text AS accounts, "
                "paced_since, paced_released, failed_before, settled_before FROM replay_plans "
                "WHERE org_id = $1 AND id = $2 AND state = 'running' FOR UPDATE SKIP LOCKED",
                org_id, plan_id,
            )  # fmt: skip
            if row is None:
                return 0
            step = _Step(work, plan_id, row, prefix(self._source))
            await step.settle()
            released = await step.go_on()
            await step.keep()
            crash_point("replay.stepped")
        crash_point("replay.committed")
        for processor in self._processors.values():
            processor.woken.set()
        return released


class _Step:
    def __init__(self, work: UnitOfWork, plan_id: UUID, row: asyncpg.Record, id_prefix: str) -> None:
        self.released_to: set[str] = set()  # consumers that have something to do now
        self._work = work
        self._plan_id = plan_id
        self._id = public_id(id_prefix, plan_id)
        self._is_discard = row["action"] == "discard"
        self._pace = Pace(**orjson.loads(row["pace"]))
        self._total: int = row["total"]
        self._state = "running"
        self._stop_reason: str | None = None
        self._released: int = row["released"]
        self._done: int = row["done"]
        self._failed: int = row["failed"]
        self._skipped: int = row["skipped"]
        self._accounts: dict[str, dict[str, int]] = orjson.loads(row["accounts"])
        self._paced_since: datetime | None = row["paced_since"]
        self._paced_released: int = row["paced_released"]
        self._failed_before: int = row["failed_before"]
        self._settled_before: int = row["settled_before"]

    async def settle(self) -> None:
        """Count what became of the letters that were released."""
        rows = await self._work.session.fetch(
            """
            WITH settled AS (
              DELETE FROM replay_items t USING inbox i
              WHERE t.org_id = $1 AND t.plan_id = $2 AND t.state = 'released'
                AND i.consumer = t.consumer AND i.event_id = t.event_id AND i.org_id = t.org_id AND i.state <> 'due'
              RETURNING CASE i.state WHEN 'done' THEN 'done' ELSE 'failed' END AS item, i.consumer, i.event_id, i.type,
                i.subject, i.error_class, i.reason, i.fingerprint, i.attempts
            ), gone AS (
              DELETE FROM replay_items t
              WHERE t.org_id = $1 AND t.plan_id = $2 AND t.state = 'released' AND NOT EXISTS
                (SELECT FROM inbox i WHERE i.consumer = t.consumer AND i.event_id = t.event_id AND i.org_id = t.org_id)
              RETURNING 1
            )
            SELECT *, 0 AS gone FROM settled
            UNION ALL SELECT 'skipped', '', $2, '', '', '', '', '', 0, count(*) FROM gone HAVING count(*) > 0
            """,
            self._work.org_id,
            self._plan_id,
        )
        for row in rows:
            if row["item"] == "skipped":
                self._skipped += row["gone"]
            elif row["item"] == "failed":
                self._failed += 1  # its processor has told that it is dead again
            else:
                self._done += 1
                self._tell(row, "done")

    async def go_on(self) -> int:
        phase = self._phase()
        waiting = self._total - self._released  # what is skipped counts as released: it had its turn
        if reason := pacing.reason_to_stop(self._pace, phase):
            self._state, self._stop_reason = "stopped", reason
            self._work.audit("replay.stopped", self._id, {"reason": reason, **self._counts()})
            return 0
        if not waiting and not phase.in_flight:
            self._state = "completed"
            await forget_letters(self._work.session, self._plan_id)
            self._work.audit("replay.completed", self._id, self._counts())
            return 0
        if pacing.is_canary_over(self._pace, phase, waiting=waiting):
            self._paced_since, self._paced_released = now(), 0
            for account in self._accounts.values():
                account["paced"] = 0
            return 0
        if not waiting:
            return 0
        return await self._release(self._shares(phase))

    def _phase(self) -> Phase:
        settled = self._done + self._failed + self._skipped
        in_canary = self._paced_since is None
        elapsed = 0.0 if self._paced_since is None else (now() - self._paced_since).total_seconds()
        if not in_canary:
            self._paced_released = pacing.forfeited(
                self._pace.rate, self._pace.ramp_seconds, elapsed, self._paced_released
            )
        return Phase(
            in_canary=in_canary,
            elapsed_seconds=elapsed,
            released=self._paced_released,
            in_flight=self._released - settled,
            failed=self._failed - self._failed_before,
            settled=settled - self._settled_before,
        )

    def _shares(self, phase: Phase) -> dict[UUID, int]:
        limits = {}
        for account, known in self._accounts.items():
            left = known["total"] - known["released"]
            if not phase.in_canary:
                rate, ramp = self._pace.account_rate, self._pace.ramp_seconds
                known["paced"] = pacing.forfeited(rate, ramp, phase.elapsed_seconds, known["paced"])
                left = min(left, int(pacing.earned(rate, ramp, phase.elapsed_seconds)) - known["paced"])
            limits[UUID(account)] = left
        return pacing.shares(pacing.allowance(self._pace, phase), limits)

    async def _release(self, shares: Mapping[UUID, int]) -> int:
        if not shares:
            return 0
        to = "'discarded', due_at = NULL" if self._is_discard else "'due', due_at = now()"
        rows = await self._work.session.fetch(
            f"""
            WITH next AS (
              SELECT n.* FROM unnest($3::uuid[], $4::int[], $5::int[]) AS a (account_id, last, most) CROSS JOIN LATERAL (
                SELECT b.account_id, l.ord, l.consumer, l.event_id
                FROM (SELECT * FROM replay_blocks
                      WHERE org_id = $1 AND plan_id = $2 AND account_id = a.account_id AND block >= a.last / {BLOCK_LETTERS}
                      ORDER BY block LIMIT {_BLOCKS_AT_ONCE}) b
                CROSS JOIN LATERAL unnest(b.ords, b.consumers, b.event_ids) AS l (ord, consumer, event_id)
                WHERE l.ord > a.last
                ORDER BY 2 LIMIT a.most
              ) n
            ), held AS (
              SELECT i.consumer, i.event_id, i.state AS was FROM inbox i JOIN next USING (consumer, event_id)
              WHERE i.org_id = $1 AND i.state IN ('dead', 'parked') ORDER BY i.event_id, i.consumer FOR UPDATE OF i
            ), freed AS (
              UPDATE inbox i SET state = {to}, takes = 0, replay_id = $2, changed_at = now()
              FROM held WHERE i.consumer = held.consumer AND i.event_id = held.event_id
              RETURNING i.consumer, i.event_id, held.was, i.type, i.subject, i.error_class, i.reason, i.fingerprint, i.attempts
            ), under_way AS (
              INSERT INTO replay_items (org_id, plan_id, account_id, ord, consumer, event_id, state)
              SELECT $1, $2, n.account_id, n.ord, consumer, event_id, 'released' FROM next n JOIN freed USING (consumer, event_id)
              WHERE NOT $6
            )
            SELECT n.account_id, n.ord, n.consumer, n.event_id, f.was, f.type, f.subject, f.error_class, f.reason,
              f.fingerprint, f.attempts
            FROM next n LEFT JOIN freed f USING (consumer, event_id) ORDER BY n.ord
            """,
            self._work.org_id,
            self._plan_id,
            list(shares),
            [self._accounts[str(account)]["last"] for account in shares],
            list(shares.values()),
            self._is_discard,
        )
        if not rows:  # a plan of before there were blocks; it would wait for ever
            self._state, self._stop_reason = "stopped", "it was planned by an older build: abort it, and plan again"
        for row in rows:
            account = self._accounts[str(row["account_id"])]
            account["last"] = row["ord"]
            account["released"] += 1
            account["paced"] += 1
            self._released += 1
            self._paced_released += 1
            if row["was"] is None:
                self._skipped += 1  # somebody settled it since it was frozen
                continue
            event_id = EventId(row["event_id"])
            self.released_to.add(row["consumer"])
            entered = "discarded" if self._is_discard else "due"
            self._work.changes.add(self._work.org_id, row["consumer"], row["type"], event_id, row["was"], -1)
            self._work.changes.add(self._work.org_id, row["consumer"], row["type"], event_id, entered)
            if self._is_discard:
                self._done += 1
                self._tell(row, "discarded")
        return len(rows)

    def _tell(self, row: asyncpg.Record, state: str) -> None:
        told = {
            name: row[name] for name in ("consumer", "event_id", "error_class", "reason", "fingerprint", "attempts")
        }
        more = {
            "service": self._work.source,
            "event_type": row["type"],
            "event_subject": row["subject"],
            "state": state,
        }
        self._work.publish(DeadLetterChangedV1.model_validate({**told, **more, "changed_at": now()}))

    def _counts(self) -> dict[str, int]:
        return {"done": self._done, "failed": self._failed, "skipped": self._skipped, "letters": self._total}

    async def keep(self) -> None:
        await self._work.session.execute(
            """
            UPDATE replay_plans SET state = $3, stop_reason = $4, released = $5, done = $6, failed = $7, skipped = $8,
              accounts = $9::text::jsonb, paced_since = $10, paced_released = $11, changed_at = now(),
              finished_at = CASE WHEN $3 = 'completed' THEN now() END
            WHERE org_id = $1 AND id = $2
            """,
            self._work.org_id, self._plan_id, self._state, self._stop_reason, self._released, self._done, self._failed,
            self._skipped, orjson.dumps(self._accounts).decode(), self._paced_since, self._paced_released,
        )  # fmt: skip
