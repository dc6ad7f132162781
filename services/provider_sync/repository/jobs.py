"""The rows of work at providers: asked for once, taken under a lease, settled by whoever still holds it."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import orjson

from libs.contracts import envelope as envelopes
from libs.database.engine import TenantSession, Transaction
from libs.ids import AccountId, OrgId, new_id
from services.provider_sync.domain.jobs import Job, JobKind, Wish


class JobRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def ask(self, wishes: Sequence[Wish]) -> None:
        """Keep wishes once: one that is known already is not done again."""
        await self._insert(wishes, "DO NOTHING")

    async def ask_by(self, wishes: Sequence[Wish]) -> None:
        """Keep wishes once, like `ask`; one that is due later is due when it is asked for now."""
        await self._insert(
            wishes, "DO UPDATE SET due_at = least(known.due_at, excluded.due_at) WHERE known.state = 'due'"
        )

    async def ask_again(self, wishes: Sequence[Wish]) -> None:
        """Keep wishes to be done (once more) from when they are due: one that is due is not doubled (and waits as long as the
        new wish wants it to), one that runs runs again."""
        await self._insert(
            wishes,
            """
            DO UPDATE SET wanted = known.wanted + 1, attempts = CASE WHEN known.state = 'running' THEN known.attempts ELSE 0 END,
              state = CASE WHEN known.state = 'running' THEN known.state ELSE 'due' END,
              due_at = CASE WHEN known.state = 'running' THEN known.due_at
                WHEN known.state = 'due' AND excluded.due_at <= now() THEN known.due_at
                WHEN known.state = 'due' THEN greatest(known.due_at, excluded.due_at) ELSE excluded.due_at END,
              payload = excluded.payload, cause = excluded.cause, error = NULL, changed_at = now()
            """,
        )

    async def _insert(self, wishes: Sequence[Wish], on_conflict: str) -> None:
        ordered = [wish for _, wish in sorted({wish.key: wish for wish in wishes}.items())]
        if not ordered:
            return
        await self._session.execute(
            f"""
            INSERT INTO sync_jobs AS known (org_id, id, account_id, kind, key, payload, cause, due_at)
            SELECT $1, r.id, r.account_id, r.kind, r.key, r.payload::jsonb, r.cause, now() + r.due_in * interval '1 second'
            FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::float8[], $9::timestamptz[])
              AS r (id, account_id, kind, key, payload, cause, due_in, told_at)
            WHERE r.told_at IS NULL OR NOT EXISTS (SELECT FROM sync_jobs s WHERE s.org_id = $1 AND s.key = r.key
              AND (s.state = 'due' OR s.state = 'done' AND s.changed_at > r.told_at))
            ON CONFLICT (org_id, key) {on_conflict}
            """,  # noqa: S608 - one of the texts above
            self._session.org_id,
            [new_id() for _ in ordered],
            [wish.account_id for wish in ordered],
            [wish.kind.value for wish in ordered],
            [wish.key for wish in ordered],
            [orjson.dumps(wish.payload).decode() for wish in ordered],
            [wish.cause.raw for wish in ordered],
            [wish.due_in_seconds for wish in ordered],
            [wish.told_at for wish in ordered],
        )

    async def take(self, lease_seconds: float) -> Job | None:
        """Take the job that is due longest; of an account at most one at a time, for its budget is one.

        An account that is not active has none to do but to be tested, one that is left alone for a while has none.
        orgs_with_due_jobs_v4 says the same.
        """
        row = await self._session.fetchrow(
            """
            UPDATE sync_jobs j SET state = 'running', takes = takes + 1, attempts = attempts + 1, changed_at = now(),
              lease_until = now() + $2 * interval '1 second'
            WHERE j.org_id = $1 AND j.id = (
              SELECT i.id FROM sync_jobs i
              WHERE i.org_id = $1 AND i.state IN ('due', 'running') AND i.due_at <= now()
                AND (i.state = 'due' OR i.lease_until < now())
                AND NOT EXISTS (SELECT 1 FROM sync_jobs o WHERE o.org_id = $1 AND o.account_id = i.account_id
                                AND o.state = 'running' AND o.lease_until >= now())
                AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = $1 AND a.id = i.account_id
                                AND a.status <> 'active' AND i.kind <> 'test_account')
                AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = $1 AND b.account_id = i.account_id
                                AND b.paused_until > now())
              ORDER BY i.due_at, i.id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING j.id, j.account_id, j.kind, j.payload::text AS payload, j.cause, j.wanted, j.takes, j.attempts
            """,
            self._session.org_id,
            lease_seconds,
        )
        return None if row is None else _job(row)

    async def hold(self, job: Job, lease_seconds: float) -> bool:
        """Lengthen the lease; False when the job is in other hands."""
        done = await self._session.execute(
            """
            UPDATE sync_jobs SET lease_until = now() + $4 * interval '1 second'
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state = 'running'
            """,
            self._session.org_id,
            job.id,
            job.takes,
            lease_seconds,
        )
        return done == 1

    async def settle(
        self, job: Job, *, failed: bool = False, retry_in_seconds: float | None = None, error: str | None = None
    ) -> bool:
        """End this taking: done, failed, or due later. False when the job is in other hands: keep nothing of it.

        A wish that came while the job ran makes it due again, for what was read may be older than the wish. The next
        look at a webhook that was well has begun anew, and so has that at further leads; one more look at a campaign has
        not: they are numbered.
        """
        done = await self._session.execute(
            """
            UPDATE sync_jobs SET changed_at = now(), lease_until = NULL, error = $7::text,
              attempts = CASE WHEN wanted > $4
                OR (kind IN ('verify_webhook', 'look_for_leads') AND $6::float8 IS NOT NULL AND $7::text IS NULL) THEN 0
                ELSE attempts END,
              due_at = CASE WHEN wanted > $4 THEN now() ELSE now() + coalesce($6::float8, 0) * interval '1 second' END,
              state = CASE WHEN wanted > $4 OR $6::float8 IS NOT NULL THEN 'due' WHEN $5 THEN 'failed' ELSE 'done' END
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state = 'running'
            """,
            self._session.org_id,
            job.id,
            job.takes,
            job.wanted,
            failed,
            retry_in_seconds,
            error,
        )
        return done == 1

    async def postpone(self, job: Job, *, in_seconds: float, reason: str) -> bool:
        """Give the job back as if it had not been taken. False when it is in other hands."""
        done = await self._session.execute(
            """
            UPDATE sync_jobs SET state = 'due', attempts = attempts - 1, lease_until = NULL, error = $5, changed_at = now(),
              due_at = now() + $4 * interval '1 second'
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state = 'running'
            """,
            self._session.org_id,
            job.id,
            job.takes,
            in_seconds,
            reason,
        )
        return done == 1

    async def take_back(self, key: str) -> bool:
        """Forget a wish that nobody works at."""
        return bool(
            await self._session.execute(
                "DELETE FROM sync_jobs WHERE org_id = $1 AND key = $2 AND state = 'due'",
                self._session.org_id,
                key,
            )
        )

    async def hasten(self, account_id: AccountId) -> None:
        """What waits for this account is due now."""
        await self._session.execute(
            "UPDATE sync_jobs SET due_at = now() WHERE org_id = $1 AND account_id = $2 AND state = 'due'",
            self._session.org_id,
            account_id,
        )


async def orgs_with_due_jobs(transaction: Transaction, most: int) -> list[OrgId]:
    """Orgs that have work and are served, in random order; their ids and nothing else."""
    await transaction.as_service()
    rows = await transaction.driver.fetch("SELECT org_id FROM orgs_with_due_jobs_v4($1) AS org_id", most)
    return [OrgId(row["org_id"]) for row in rows]


def _job(row: asyncpg.Record) -> Job:
    return Job(
        id=row["id"],
        account_id=row["account_id"],
        kind=JobKind(row["kind"]),
        payload=orjson.loads(row["payload"]),
        cause=envelopes.read(row["cause"]),
        wanted=row["wanted"],
        takes=row["takes"],
        attempts=row["attempts"],
    )
