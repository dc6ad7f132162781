"""Users and their memberships: one of each per person and org."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.database.engine import Database, TenantSession
from libs.ids import CompanyId, OrgId
from libs.tenancy.roles import Role
from services.gateway.domain import Principal


@dataclass(frozen=True, slots=True)
class KnownMember:
    """One of a person's memberships, as stored."""

    principal: Principal
    active: bool
    suspended: bool  # the organization


async def look_up_members(database: Database, subject: str) -> tuple[KnownMember, ...]:
    """What the person with this subject is, in whatever org; oldest org first."""
    async with database.transaction() as transaction:
        await transaction.as_service()
        rows = await transaction.driver.fetch("SELECT * FROM memberships_v2($1) ORDER BY org_id", subject)
    return tuple(
        KnownMember(
            Principal(
                id=row["user_id"],
                role=Role(row["role"]),
                home=OrgId(row["org_id"]),
                companies=frozenset(CompanyId(company) for company in row["company_ids"]),
                kind="user",
            ),
            row["active"],
            row["suspended"],
        )
        for row in rows
    )


class Users:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(
        self, user_id: UUID, *, subject: str, email: str, name: str, role: Role, companies: Sequence[CompanyId]
    ) -> bool:
        """False when the org has a user with this subject; then nothing was written."""
        moment = now()
        added = await self._session.execute(
            "INSERT INTO users (org_id, id, subject, email, name, created_at) VALUES ($1, $2, $3, $4, $5, $6) "
            "ON CONFLICT (org_id, subject) DO NOTHING",
            self._session.org_id, user_id, subject, email, name, moment,
        )  # fmt: skip
        if not added:
            return False
        await self._session.execute(
            "INSERT INTO memberships (org_id, user_id, role, company_ids, changed_at) VALUES ($1, $2, $3, $4, $5)",
            self._session.org_id, user_id, role.value, list(companies), moment,
        )  # fmt: skip
        return True

    async def has_active(self, role: Role) -> bool:
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM users u JOIN memberships m ON (m.org_id, m.user_id) = (u.org_id, u.id) "
                "WHERE u.org_id = $1 AND u.status = 'active' AND m.role = $2)",
                self._session.org_id,
                role.value,
            )
        )

    async def find(self, user_id: UUID) -> asyncpg.Record | None:
        rows = await self.page(after=None, limit=1, only=user_id)
        return rows[0] if rows else None

    async def locked(self, user_id: UUID) -> asyncpg.Record | None:
        """The user, whom nobody else can change until this transaction is over."""
        await self._session.execute(
            "SELECT FROM users WHERE org_id = $1 AND id = $2 FOR UPDATE", self._session.org_id, user_id
        )
        return await self.find(user_id)

    async def page(self, *, after: UUID | None, limit: int, only: UUID | None = None) -> list[asyncpg.Record]:
        """Oldest first, with their memberships."""
        return await self._session.fetch(
            """
            SELECT u.id, u.subject, u.email, u.name, u.status, u.created_at, m.role, m.company_ids, m.changed_at
            FROM users u JOIN memberships m ON (m.org_id, m.user_id) = (u.org_id, u.id)
            WHERE u.org_id = $1 AND ($2::uuid IS NULL OR u.id > $2) AND ($3::uuid IS NULL OR u.id = $3)
            ORDER BY u.id LIMIT $4
            """,
            self._session.org_id, after, only, limit,
        )  # fmt: skip

    async def change(
        self, user_id: UUID, *, email: str, name: str, status: str, role: Role, companies: Sequence[CompanyId]
    ) -> None:
        await self._session.execute(
            "UPDATE users SET email = $3, name = $4, status = $5 WHERE org_id = $1 AND id = $2",
            self._session.org_id, user_id, email, name, status,
        )  # fmt: skip
        await self._session.execute(
            "UPDATE memberships SET role = $3, company_ids = $4, changed_at = $5 WHERE org_id = $1 AND user_id = $2",
            self._session.org_id, user_id, role.value, list(companies), now(),
        )  # fmt: skip

    async def remove(self, user_id: UUID) -> None:
        await self._session.execute(
            "DELETE FROM memberships WHERE org_id = $1 AND user_id = $2", self._session.org_id, user_id
        )
        await self._session.execute("DELETE FROM users WHERE org_id = $1 AND id = $2", self._session.org_id, user_id)
