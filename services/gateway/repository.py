"""All SQL of the gateway. Look-ups that come before a tenant is known go through a function of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.contracts.events import DeadLetterChangedV1
from libs.database.engine import Database, TenantSession
from libs.ids import CompanyId, OrgId
from libs.tenancy.roles import Role
from services.gateway.domain import Principal


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as stored: who it is, and what its secret must hash to."""

    principal: Principal
    secret_hmac: bytes
    pepper_version: int
    revoked: bool
    suspended: bool


async def look_up_key(database: Database, key_id: UUID) -> KnownKey | None:
    """The key with this id, of whatever org."""
    async with database.transaction() as transaction:
        row = await transaction.driver.fetchrow("SELECT * FROM api_key_v1($1)", key_id)
    if row is None:
        return None
    principal = Principal(
        key_id=key_id,
        role=Role(row["role"]),
        home=OrgId(row["org_id"]),
        companies=frozenset(CompanyId(company) for company in row["company_ids"]),
        expires_at=row["expires_at"],
    )
    return KnownKey(principal, row["secret_hmac"], row["pepper_version"], row["revoked"], row["suspended"])


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

    async def all_exist(self, companies: Sequence[CompanyId]) -> bool:
        found = await self._session.fetchval(
            "SELECT count(*) FROM companies WHERE org_id = $1 AND company_id = ANY($2::uuid[])",
            self._session.org_id,
            list(companies),
        )
        return bool(found == len(set(companies)))


class Keys:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(
        self,
        key_id: UUID,
        *,
        name: str,
        role: Role,
        companies: Sequence[CompanyId],
        secret_hmac: bytes,
        pepper_version: int,
        last4: str,
        expires_at: datetime | None,
    ) -> asyncpg.Record:
        row = await self._session.fetchrow(
            "INSERT INTO api_keys (org_id, id, name, role, company_ids, secret_hmac, pepper_version, last4, created_at, "
            "expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) "
            "RETURNING id, name, role, company_ids, last4, created_at, expires_at, revoked_at",
            self._session.org_id, key_id, name, role.value, list(companies), secret_hmac, pepper_version, last4, now(),
            expires_at,
        )  # fmt: skip
        assert row is not None
        return row

    async def page(self, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Oldest first, revoked ones too; without anything that helps to guess a secret."""
        return await self._session.fetch(
            "SELECT id, name, role, company_ids, last4, created_at, expires_at, revoked_at FROM api_keys "
            "WHERE org_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
            self._session.org_id,
            after,
            limit,
        )

    async def revoke(self, key_id: UUID) -> bool:
        """False when there is no such key; one that was revoked before keeps its time."""
        touched = await self._session.execute(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, $3) WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            key_id,
            now(),
        )
        return touched == 1

    async def has_usable(self, role: Role) -> bool:
        """Whether a live key of this role exists; whoever asks at the same time waits until this transaction is over."""
        await self._session.execute("SELECT pg_advisory_xact_lock(hashtext('gateway first key'))")
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM api_keys WHERE org_id = $1 AND role = $2 AND revoked_at IS NULL "
                "AND (expires_at IS NULL OR expires_at > $3))",
                self._session.org_id,
                role.value,
                now(),
            )
        )


class DeadLetters:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def save_all(self, changes: Sequence[DeadLetterChangedV1]) -> None:
        """Keep each change unless a newer one is known. At most one per (consumer, event), in one order for all."""
        columns: list[list[Any]] = [
            [change.consumer for change in changes],
            [change.event_id for change in changes],
            [change.service for change in changes],
            [change.event_type for change in changes],
            [change.event_subject for change in changes],
            [change.state for change in changes],
            [change.error_class for change in changes],
            [change.reason for change in changes],
            [change.fingerprint for change in changes],
            [change.attempts for change in changes],
            [change.changed_at for change in changes],
        ]
        await self._session.execute(
            """
            INSERT INTO dead_letters AS d (org_id, consumer, event_id, service, type, subject, state, error_class, reason,
              fingerprint, attempts, changed_at)
            SELECT $1, * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::int[], $12::timestamptz[])
            ON CONFLICT (org_id, consumer, event_id) DO UPDATE SET service = excluded.service, type = excluded.type,
              subject = excluded.subject, state = excluded.state, error_class = excluded.error_class,
              reason = excluded.reason, fingerprint = excluded.fingerprint, attempts = excluded.attempts,
              changed_at = excluded.changed_at
            WHERE (excluded.changed_at, excluded.attempts, excluded.state COLLATE "C")
              > (d.changed_at, d.attempts, d.state COLLATE "C")
            """,
            self._session.org_id,
            *columns,
        )

    async def page(
        self, *, states: Sequence[str], after: tuple[datetime, str, UUID] | None, limit: int
    ) -> list[asyncpg.Record]:
        """Last changed first."""
        changed_at, consumer, event_id = after or (None, None, None)
        return await self._session.fetch(
            """
            SELECT * FROM dead_letters WHERE org_id = $1 AND state = ANY($2::text[])
              AND ($3::timestamptz IS NULL OR (changed_at, consumer, event_id) < ($3, $4, $5))
            ORDER BY changed_at DESC, consumer DESC, event_id DESC LIMIT $6
            """,
            self._session.org_id, list(states), changed_at, consumer, event_id, limit,
        )  # fmt: skip

    async def last_change(self) -> datetime | None:
        """When the newest change that we heard of was made; None when we never heard of any."""
        moment: datetime | None = await self._session.fetchval(
            "SELECT max(changed_at) FROM dead_letters WHERE org_id = $1", self._session.org_id
        )
        return moment
