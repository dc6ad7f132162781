"""Organizations and their companies."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.database.engine import TenantSession
from libs.ids import CompanyId


class Organizations:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(self, name: str, time_zone: str) -> asyncpg.Record:
        row = await self._session.fetchrow(
            "INSERT INTO organizations (org_id, name, time_zone, created_at) VALUES ($1, $2, $3, $4) RETURNING *",
            self._session.org_id,
            name,
            time_zone,
            now(),
        )
        assert row is not None
        return row

    async def page(self, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Oldest first. In the platform org that is every organization, elsewhere the one."""
        return await self._session.fetch(
            "SELECT * FROM organizations WHERE $1::uuid IS NULL OR org_id > $1 ORDER BY org_id LIMIT $2", after, limit
        )

    async def find(self) -> asyncpg.Record | None:
        return await self._session.fetchrow("SELECT * FROM organizations WHERE org_id = $1", self._session.org_id)

    async def locked(self) -> asyncpg.Record | None:
        """The org, which nobody else can change until this transaction is over."""
        return await self._session.fetchrow(
            "SELECT * FROM organizations WHERE org_id = $1 FOR UPDATE", self._session.org_id
        )

    async def change(self, status: str, reason: str | None) -> asyncpg.Record:
        """A new revision. `reason` is why it is suspended, None when it is not."""
        row = await self._session.fetchrow(
            """
            UPDATE organizations SET status = $2, revision = revision + 1, suspended_reason = $3,
              suspended_at = CASE WHEN $2 = 'suspended' THEN coalesce(suspended_at, $4) END
            WHERE org_id = $1 RETURNING *
            """,
            self._session.org_id, status, reason, now(),
        )  # fmt: skip
        assert row is not None
        return row

    async def exists(self) -> bool:
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM organizations WHERE org_id = $1)", self._session.org_id
            )
        )


class Companies:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(self, company_id: CompanyId, name: str) -> asyncpg.Record:
        row = await self._session.fetchrow(
            "INSERT INTO companies (org_id, company_id, name, created_at) VALUES ($1, $2, $3, $4) RETURNING *",
            self._session.org_id,
            company_id,
            name,
            now(),
        )
        assert row is not None
        return row

    async def page(self, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Oldest first, within the caller's companies (row-level security sees to that)."""
        return await self._session.fetch(
            "SELECT * FROM companies WHERE org_id = $1 AND ($2::uuid IS NULL OR company_id > $2) "
            "ORDER BY company_id LIMIT $3",
            self._session.org_id,
            after,
            limit,
        )

    async def locked(self, company_id: CompanyId) -> asyncpg.Record | None:
        """The company, which nobody else can change until this transaction is over."""
        return await self._session.fetchrow(
            "SELECT * FROM companies WHERE org_id = $1 AND company_id = $2 FOR UPDATE", self._session.org_id, company_id
        )

    async def archive(self, company_id: CompanyId) -> asyncpg.Record:
        row = await self._session.fetchrow(
            "UPDATE companies SET status = 'archived' WHERE org_id = $1 AND company_id = $2 RETURNING *",
            self._session.org_id,
            company_id,
        )
        assert row is not None
        return row

    async def all_exist(self, companies: Sequence[CompanyId], *, active: bool = False) -> bool:
        """With `active` archived ones do not count."""
        found = await self._session.fetchval(
            "SELECT count(*) FROM companies WHERE org_id = $1 AND company_id = ANY($2::uuid[]) "
            "AND (NOT $3 OR status = 'active')",
            self._session.org_id,
            list(companies),
            active,
        )
        return bool(found == len(set(companies)))
