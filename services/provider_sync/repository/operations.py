"""Operations as they are asked for, shown and decided. Their calls stand in effects.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import asyncpg
import orjson

from libs.database.engine import TenantSession
from libs.ids import CompanyId, new_id
from services.provider_sync.domain.operations import Wanted, state_of


class OperationRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def insert(self, wanted: Wanted, *, actor: str) -> UUID | None:
        """Keep an operation and its effects, to be done from now on; None when the actor has used this key before."""
        operation_id = await self._session.fetchval(
            """
            INSERT INTO operations (org_id, id, account_id, company_id, kind, target, arguments, actor, idempotency_key,
              fingerprint, total)
            VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, $11)
            ON CONFLICT (org_id, actor, idempotency_key) DO NOTHING RETURNING id
            """,
            self._session.org_id,
            new_id(),
            wanted.account_id,
            wanted.company_id,
            wanted.kind,
            wanted.target,
            orjson.dumps(wanted.arguments).decode(),
            actor,
            wanted.idempotency_key,
            wanted.fingerprint,
            len(wanted.parts) if wanted.job is None else 1,
        )
        if operation_id is None:
            return None
        await self._session.executemany(
            """
            INSERT INTO effects (org_id, id, operation_id, part, account_id, company_id, kind, target, arguments)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)
            """,
            [
                (self._session.org_id, new_id(), operation_id, number, wanted.account_id, wanted.company_id, wanted.kind,
                 wanted.target, orjson.dumps(part).decode())
                for number, part in enumerate(wanted.parts)
            ],
        )  # fmt: skip
        return UUID(str(operation_id))

    async def find(self, operation_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT * FROM operations WHERE org_id = $1 AND id = $2", self._session.org_id, operation_id
        )

    async def find_by_key(self, actor: str, key: str) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT * FROM operations WHERE org_id = $1 AND actor = $2 AND idempotency_key = $3",
            self._session.org_id,
            actor,
            key,
        )

    async def lock(self, operation_id: UUID) -> asyncpg.Record | None:
        """The operation, whose effects nobody else settles until this transaction is over."""
        return await self._session.fetchrow(
            "SELECT * FROM operations WHERE org_id = $1 AND id = $2 FOR UPDATE", self._session.org_id, operation_id
        )

    async def lock_unsent(self, companies: Iterable[CompanyId], *, without: Iterable[str]) -> list[UUID]:
        """The operations of these companies, but of these kinds, of which something is not sent yet; as `lock`."""
        rows = await self._session.fetch(
            """
            SELECT o.id FROM operations o WHERE o.org_id = $1 AND o.company_id = ANY($2::uuid[]) AND o.kind <> ALL($3::text[])
              AND EXISTS (SELECT FROM effects e WHERE e.org_id = $1 AND e.operation_id = o.id AND e.state = 'intent')
            ORDER BY o.id FOR UPDATE
            """,
            self._session.org_id,
            sorted(companies),
            sorted(without),
        )
        return [row["id"] for row in rows]

    async def cancel(self, operation_id: UUID) -> int:
        """Take back what was not sent yet, also out of a worker's hands; answers how many calls that were."""
        return await self._session.execute(
            """
            UPDATE effects SET state = 'cancelled', due_at = NULL, lease_until = NULL, changed_at = now()
            WHERE org_id = $1 AND operation_id = $2 AND state = 'intent'
            """,
            self._session.org_id,
            operation_id,
        )

    async def decide(self, operation_id: UUID, *, done: bool, note: str) -> int:
        """Settle the effects that wait for a person; answers how many there were."""
        decided = await self._session.execute(
            """
            UPDATE effects SET state = $3, changed_at = now(), evidence = 'a person decided',
              error_code = CASE WHEN $3 = 'refused' THEN 'not_done' END,
              error = CASE WHEN $3 = 'refused' THEN 'a person found that it was not done' END
            WHERE org_id = $1 AND operation_id = $2 AND state = 'unknown' AND due_at IS NULL
            """,
            self._session.org_id,
            operation_id,
            "done" if done else "refused",
        )
        if decided:
            await self._session.execute(
                "UPDATE operations SET note = $3 WHERE org_id = $1 AND id = $2",
                self._session.org_id,
                operation_id,
                note,
            )
        return decided

    async def refresh(self, operation_id: UUID) -> asyncpg.Record | None:
        """Bring a locked operation up to what its effects are; the row when that changed what is told of it, else None."""
        counted = await self._session.fetchrow(
            """
            SELECT jsonb_object_agg(state, count)::text AS states, sum(sent) > 0 AS begun, sum(undecided) > 0 AS undecided,
              coalesce(sum(count) FILTER (WHERE state = 'done'), 0)::int AS done
            FROM (
              SELECT state, count(*) AS count, count(*) FILTER (WHERE sends > 0) AS sent,
                count(*) FILTER (WHERE state = 'unknown' AND due_at IS NULL) AS undecided
              FROM effects WHERE org_id = $1 AND operation_id = $2 GROUP BY state
            ) AS by_state
            """,
            self._session.org_id,
            operation_id,
        )
        assert counted is not None
        worst = await self._session.fetchrow(
            """
            SELECT error_code, error FROM effects WHERE org_id = $1 AND operation_id = $2 AND error_code IS NOT NULL
              AND state <> 'done' ORDER BY array_position(ARRAY['unknown', 'refused', 'intent', 'sent'], state), part LIMIT 1
            """,
            self._session.org_id,
            operation_id,
        )
        state = state_of(orjson.loads(counted["states"]), begun=counted["begun"] or counted["done"] > 0)
        return await self._session.fetchrow(
            """
            UPDATE operations SET state = $3, needs_decision = $4, done = $5, error_code = $6, error = $7,
              revision = revision + 1, changed_at = now(),
              completed_at = CASE WHEN $3 IN ('succeeded', 'failed', 'cancelled') THEN now() END
            WHERE org_id = $1 AND id = $2
              AND (state, needs_decision, done, error_code, error) IS DISTINCT FROM ($3, $4::boolean, $5::int, $6::text, $7::text)
            RETURNING *
            """,
            self._session.org_id,
            operation_id,
            state,
            counted["undecided"],
            counted["done"],
            None if worst is None else worst["error_code"],
            None if worst is None else worst["error"],
        )

    async def follow_run(
        self, operation_id: UUID, run_id: UUID, shown_id: str, *, state: str, error_code: str | None, error: str | None
    ) -> asyncpg.Record | None:
        """Bring an operation that is a reading of an account up to that; the row when that changed its state, else None."""
        return await self._session.fetchrow(
            """
            UPDATE operations o SET state = $4, done = r.feeds_done, total = coalesce(r.feeds_total, 0), error_code = $5,
              error = $6, revision = o.revision + 1, changed_at = now(),
              completed_at = CASE WHEN $4 IN ('succeeded', 'failed') THEN now() END,
              result = jsonb_build_object('sync_run_id', $7::text, 'rows_seen', r.rows_seen, 'rows_changed', r.rows_changed)
            FROM sync_runs r
            WHERE o.org_id = $1 AND o.id = $2 AND r.org_id = $1 AND r.id = $3 AND o.state <> $4 RETURNING o.*
            """,
            self._session.org_id,
            operation_id,
            run_id,
            state,
            error_code,
            error,
            shown_id,
        )

    async def settle(
        self,
        operation_id: UUID,
        state: str,
        *,
        result: Mapping[str, object] | None = None,
        error_code: str | None = None,
        error: str | None = None,
    ) -> asyncpg.Record | None:
        """How far a job's operation is; the row when that changed what is told of it. What has ended stays as it ended."""
        return await self._session.fetchrow(
            """
            UPDATE operations SET state = $3, done = CASE WHEN $3 = 'succeeded' THEN total ELSE done END, error_code = $4,
              error = $5, result = result || $6::jsonb, revision = revision + 1, changed_at = now(),
              completed_at = CASE WHEN $3 IN ('succeeded', 'failed', 'cancelled') THEN now() END
            WHERE org_id = $1 AND id = $2 AND state IN ('pending', 'running')
              AND (state, error_code, error) IS DISTINCT FROM ($3, $4::text, $5::text)
            RETURNING *
            """,
            self._session.org_id,
            operation_id,
            state,
            error_code,
            error,
            orjson.dumps(result or {}).decode(),
        )

    async def add_result(self, operation_id: UUID, result: dict[str, object]) -> None:
        """What the provider answered, beside what it answered to other parts."""
        await self._session.execute(
            "UPDATE operations SET result = result || $3::jsonb WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            operation_id,
            orjson.dumps(result).decode(),
        )
