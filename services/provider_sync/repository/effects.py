"""The effect ledger: each call that changes something at a provider, noted before it is made.

`intent` (nothing left yet) -> `sent` (committed before the first byte leaves) -> `done`, `refused` or `unknown`.
"""

from __future__ import annotations

import asyncpg
import orjson

from libs.database.engine import TenantSession, Transaction
from libs.ids import OrgId
from services.provider_sync.domain.operations import Effect, EffectState, Outcome


class EffectRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def take(self, lease_seconds: float, holder: str) -> Effect | None:
        """Take the effect that is due longest; of an account one at a time, for its budget is one.

        What is asked of one target is done in the order in which it was asked, and does not overtake an effect whose end
        is open, but for one that a person decides. Accounts that are not active, or left alone for a while, have none to
        do. orgs_with_due_effects_v1 says the same.
        """
        row = await self._session.fetchrow(
            """
            UPDATE effects e SET takes = takes + 1, attempts = attempts + 1, holder = $3, changed_at = now(),
              lease_until = now() + $2 * interval '1 second'
            WHERE e.org_id = $1 AND e.id = (
              SELECT i.id FROM effects i
              WHERE i.org_id = $1 AND i.due_at <= now() AND (i.lease_until IS NULL OR i.lease_until < now())
                AND NOT EXISTS (SELECT 1 FROM effects o WHERE o.org_id = $1 AND o.account_id = i.account_id
                                AND o.due_at IS NOT NULL AND o.lease_until >= now())
                AND NOT EXISTS (SELECT 1 FROM effects b WHERE b.org_id = $1 AND b.target = i.target
                                AND b.due_at IS NOT NULL AND (b.operation_id, b.part) < (i.operation_id, i.part))
                AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = $1 AND a.id = i.account_id
                                AND a.status <> 'active')
                AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = $1 AND b.account_id = i.account_id
                                AND b.paused_until > now())
              ORDER BY i.due_at, i.operation_id, i.part LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING e.*, e.arguments::text AS arguments_text
            """,
            self._session.org_id,
            lease_seconds,
            holder,
        )
        return None if row is None else _effect(row)

    async def hold(self, effect: Effect, lease_seconds: float) -> bool:
        """Lengthen the lease; False when the effect is in other hands, or was taken back."""
        held = await self._session.execute(
            """
            UPDATE effects SET lease_until = now() + $4 * interval '1 second'
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND due_at IS NOT NULL
            """,
            self._session.org_id,
            effect.id,
            effect.takes,
            lease_seconds,
        )
        return held == 1

    async def note_sent(self, effect: Effect, *, write_within_seconds: float, lease_seconds: float) -> bool:
        """Note that a write is about to leave: to be committed before it does. False when it may not.

        The first write of a sending counts it; each further one of the same call moves its deadline on.
        """
        noted = await self._session.execute(
            """
            UPDATE effects SET sends = sends + (state = 'intent')::int, changed_at = now(),
              sent_at = CASE WHEN state = 'intent' THEN now() ELSE sent_at END, state = 'sent',
              deadline = now() + $4 * interval '1 second', lease_until = now() + $5 * interval '1 second'
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state IN ('intent', 'sent')
            """,
            self._session.org_id,
            effect.id,
            effect.takes,
            write_within_seconds,
            lease_seconds,
        )
        return noted == 1

    async def settle(self, effect: Effect, outcome: Outcome) -> bool:
        """Keep what became of this taking. False when the effect is in other hands: then keep nothing of it."""
        settled = await self._session.execute(
            """
            UPDATE effects SET state = $4, changed_at = now(), lease_until = NULL,
              attempts = CASE WHEN ($4 = 'unknown') <> (state = 'unknown') THEN 0
                WHEN $10 THEN greatest(0, attempts - 1) ELSE attempts END,
              due_at = now() + $5::float8 * interval '1 second',
              result = coalesce($6::jsonb, result), evidence = coalesce($7, evidence), error_code = $8, error = $9
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND due_at IS NOT NULL
            """,
            self._session.org_id,
            effect.id,
            effect.takes,
            outcome.state.value,
            outcome.due_in_seconds,
            None if outcome.result is None else orjson.dumps(outcome.result).decode(),
            outcome.evidence,
            outcome.error_code,
            outcome.error,
            outcome.free,
        )
        return settled == 1

    async def left_by_its_holder(self, effect: Effect, *, read_back_after_seconds: float) -> float:
        """How many seconds it takes until a look at an effect means something whose holder may have written until its
        deadline, and nobody knows when."""
        found = await self._session.fetchval(
            """
            SELECT greatest(0, extract(epoch FROM deadline + $3 * interval '1 second' - now()))::float8
            FROM effects WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            effect.id,
            read_back_after_seconds,
        )
        return float(found or 0.0)


async def orgs_with_due_effects(transaction: Transaction, most: int) -> list[OrgId]:
    """Orgs that have calls to make and are served, in random order; their ids and nothing else."""
    await transaction.as_service()
    rows = await transaction.driver.fetch("SELECT org_id FROM orgs_with_due_effects_v1($1) AS org_id", most)
    return [OrgId(row["org_id"]) for row in rows]


def _effect(row: asyncpg.Record) -> Effect:
    return Effect(
        id=row["id"],
        operation_id=row["operation_id"],
        account_id=row["account_id"],
        company_id=row["company_id"],
        kind=row["kind"],
        target=row["target"],
        arguments=orjson.loads(row["arguments_text"]),
        state=EffectState(row["state"]),
        takes=row["takes"],
        sends=row["sends"],
        attempts=row["attempts"],
        sent_at=row["sent_at"],
    )
