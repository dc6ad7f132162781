"""Which organizations platform staff have assumed. The rows are the platform's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.database.engine import TenantSession
from libs.ids import OrgId
from services.gateway.domain import Assumption


class Assumptions:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def live(self, principal: str, organization_id: OrgId) -> Assumption | None:
        row = await self._session.fetchrow(
            "SELECT id, ends_at, may_write FROM assumptions WHERE org_id = $1 AND principal = $2 "
            "AND organization_id = $3 AND ended_at IS NULL AND ends_at > $4 ORDER BY id DESC LIMIT 1",
            self._session.org_id,
            principal,
            organization_id,
            now(),
        )
        return None if row is None else Assumption(row["id"], row["ends_at"], row["may_write"])

    async def begin(
        self,
        assumption_id: UUID,
        *,
        principal: str,
        organization_id: OrgId,
        reason: str,
        minutes: int,
        may_write: bool,
    ) -> asyncpg.Record:
        """One that this principal has there already ends with it: there is one at a time."""
        moment = now()
        # Two of one principal at once would both find nothing to end.
        await self._session.execute("SELECT pg_advisory_xact_lock(hashtext('assumption ' || $1))", principal)
        await self._session.execute(
            "UPDATE assumptions SET ended_at = $4 WHERE org_id = $1 AND principal = $2 AND organization_id = $3 "
            "AND ended_at IS NULL AND ends_at > $4",
            self._session.org_id,
            principal,
            organization_id,
            moment,
        )
        row = await self._session.fetchrow(
            "INSERT INTO assumptions (org_id, id, principal, organization_id, reason, may_write, begun_at, ends_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *",
            self._session.org_id, assumption_id, principal, organization_id, reason, may_write, moment,
            moment + timedelta(minutes=minutes),
        )  # fmt: skip
        assert row is not None
        return row

    async def locked(self, assumption_id: UUID) -> asyncpg.Record | None:
        """The assumption, which nobody else can end until this transaction is over."""
        return await self._session.fetchrow(
            "SELECT * FROM assumptions WHERE org_id = $1 AND id = $2 FOR UPDATE", self._session.org_id, assumption_id
        )

    async def end(self, assumption_id: UUID, moment: datetime) -> None:
        await self._session.execute(
            "UPDATE assumptions SET ended_at = $3 WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            assumption_id,
            moment,
        )

    async def page(self, *, organization_id: OrgId | None, before: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Newest first, ended ones too."""
        return await self._session.fetch(
            "SELECT * FROM assumptions WHERE org_id = $1 AND ($2::uuid IS NULL OR organization_id = $2) "
            "AND ($3::uuid IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
            self._session.org_id,
            organization_id,
            before,
            limit,
        )
