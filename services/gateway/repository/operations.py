"""The thin list of operations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts.events import OperationChangedV1
from libs.database.engine import TenantSession


class Operations:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def save_all(self, changes: Sequence[tuple[str, OperationChangedV1]]) -> None:
        """Keep each change with its public id unless a newer one is known. At most one per operation, in one order."""
        await self._session.executemany(
            """
            INSERT INTO operations AS o (org_id, id, company_id, account_id, kind, target, state, needs_decision, done, total,
              error_code, revision, created_at, changed_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            ON CONFLICT (org_id, id) DO UPDATE SET state = excluded.state, needs_decision = excluded.needs_decision,
              done = excluded.done, error_code = excluded.error_code, revision = excluded.revision,
              changed_at = excluded.changed_at
            WHERE excluded.revision > o.revision
            """,
            [
                (self._session.org_id, identifier, one.envelope.company_id, one.account_id, one.kind, one.target, one.state,
                 one.needs_decision, one.done, one.total, one.error_code, one.revision, one.created_at, one.changed_at)
                for identifier, one in changes
            ],
        )  # fmt: skip

    async def page(
        self, *, state: str | None, account_id: UUID | None, after: tuple[datetime, str] | None, limit: int
    ) -> list[asyncpg.Record]:
        """Newest first."""
        created_at, identifier = after or (None, None)
        return await self._session.fetch(
            """
            SELECT * FROM operations WHERE org_id = $1 AND ($2::text IS NULL OR state = $2)
              AND ($3::uuid IS NULL OR account_id = $3)
              AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::text))
            ORDER BY created_at DESC, id DESC LIMIT $6
            """,
            self._session.org_id, state, account_id, created_at, identifier, limit,
        )  # fmt: skip

    async def last_change(self) -> datetime | None:
        """When the newest change that we heard of was made; None when we never heard of any."""
        moment: datetime | None = await self._session.fetchval(
            "SELECT max(changed_at) FROM operations WHERE org_id = $1", self._session.org_id
        )
        return moment
