"""Budgets of accounts, by the database's clock: replicas may not agree on the time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession
from services.provider_sync.domain import budgets
from services.provider_sync.domain.budgets import Budget


class BudgetRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def lock(self, account_id: UUID, calls_per_minute: int) -> tuple[Budget, datetime] | None:
        """The account's budget, which nobody else can change until this transaction is over, and the time now; None
        when the org has no such account."""
        row = await self._read(account_id)
        if row is None:
            await self._session.execute(
                """
                INSERT INTO account_budgets (org_id, account_id, calls_left, counted_at)
                SELECT org_id, id, $3, clock_timestamp() FROM accounts WHERE org_id = $1 AND id = $2
                ON CONFLICT (org_id, account_id) DO NOTHING
                """,
                self._session.org_id,
                account_id,
                budgets.capacity(calls_per_minute),
            )
            row = await self._read(account_id)
        return None if row is None else (_budget(row), row["at"])

    async def keep(self, account_id: UUID, budget: Budget) -> None:
        await self._session.execute(
            """
            UPDATE account_budgets SET calls_left = $3, counted_at = $4, paused_until = $5, pause_reason = $6,
              failures = $7, probing_until = $8
            WHERE org_id = $1 AND account_id = $2
            """,
            self._session.org_id,
            account_id,
            budget.calls_left,
            budget.counted_at,
            budget.paused_until,
            budget.pause_reason,
            budget.failures,
            budget.probing_until,
        )

    async def change(
        self, account_id: UUID, calls_per_minute: int, change: Callable[[Budget, datetime], Budget]
    ) -> Budget | None:
        """The budget as it is kept now, after `change(budget, now)`; None when the org has no such account."""
        locked = await self.lock(account_id, calls_per_minute)
        if locked is None:
            return None
        changed = change(*locked)
        if changed != locked[0]:
            await self.keep(account_id, changed)
        return changed

    async def _read(self, account_id: UUID) -> asyncpg.Record | None:
        # clock_timestamp, not now(): this transaction may have waited for the row while others spent.
        return await self._session.fetchrow(
            "SELECT *, clock_timestamp() AS at FROM account_budgets WHERE org_id = $1 AND account_id = $2 FOR UPDATE",
            self._session.org_id,
            account_id,
        )


def _budget(row: asyncpg.Record) -> Budget:
    return Budget(
        calls_left=row["calls_left"],
        counted_at=row["counted_at"],
        paused_until=row["paused_until"],
        pause_reason=row["pause_reason"],
        failures=row["failures"],
        probing_until=row["probing_until"],
    )
