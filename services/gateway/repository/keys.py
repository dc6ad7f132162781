"""API keys. The look-up comes before a tenant is known, so it goes through a function of the schema."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.database.engine import Database, TenantSession
from libs.ids import CompanyId, OrgId
from libs.tenancy.roles import Role
from services.gateway.domain import Principal


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """What a secret must hash to, under which pepper, until when (None: as long as its key)."""

    hmac: bytes
    pepper_version: int
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as stored: who it is, and its secrets, the newest first; at most two."""

    principal: Principal
    secrets: tuple[StoredSecret, ...]
    revoked: bool
    suspended: bool


async def look_up_key(database: Database, key_id: UUID) -> KnownKey | None:
    """The key with this id, of whatever org."""
    async with database.transaction() as transaction:
        await transaction.as_service()
        row = await transaction.driver.fetchrow("SELECT * FROM api_key_v4($1)", key_id)
    if row is None:
        return None
    principal = Principal(
        id=key_id,
        role=Role(row["role"]),
        home=OrgId(row["org_id"]),
        companies=frozenset(CompanyId(company) for company in row["company_ids"]),
        expires_at=row["expires_at"],
        scopes=None if row["scopes"] is None else frozenset(row["scopes"]),
    )
    stored = [StoredSecret(row["secret_hmac"], row["pepper_version"])]
    if row["previous_hmac"] is not None:
        stored.append(StoredSecret(row["previous_hmac"], row["previous_pepper_version"], row["previous_ends_at"]))
    return KnownKey(principal, tuple(stored), row["revoked"], row["suspended"])


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
        scopes: Collection[str] | None,
        secret_hmac: bytes,
        pepper_version: int,
        last4: str,
        expires_at: datetime | None,
    ) -> asyncpg.Record:
        row = await self._session.fetchrow(
            "INSERT INTO api_keys (org_id, id, name, role, company_ids, secret_hmac, pepper_version, last4, created_at, "
            "expires_at, scopes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
            "RETURNING *",
            self._session.org_id, key_id, name, role.value, list(companies), secret_hmac, pepper_version, last4, now(),
            expires_at, None if scopes is None else sorted(scopes),
        )  # fmt: skip
        assert row is not None
        return row

    async def page(self, *, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Oldest first, revoked ones too."""
        return await self._session.fetch(
            "SELECT * FROM api_keys WHERE org_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
            self._session.org_id,
            after,
            limit,
        )

    async def locked(self, key_id: UUID) -> asyncpg.Record | None:
        """The key, which nobody else can change until this transaction is over."""
        return await self._session.fetchrow(
            "SELECT * FROM api_keys WHERE org_id = $1 AND id = $2 FOR UPDATE", self._session.org_id, key_id
        )

    async def rotate(
        self, key_id: UUID, *, secret_hmac: bytes, pepper_version: int, last4: str, made_at: datetime, ends_at: datetime
    ) -> asyncpg.Record:
        """Put a new secret in front; the one that was newest ends at `ends_at`, one before it ends now."""
        row = await self._session.fetchrow(
            """
            UPDATE api_keys SET previous_hmac = secret_hmac, previous_pepper_version = pepper_version,
              previous_last4 = last4, previous_made_at = coalesce(secret_made_at, created_at), previous_ends_at = $7,
              secret_hmac = $3, pepper_version = $4, last4 = $5, secret_made_at = $6
            WHERE org_id = $1 AND id = $2 RETURNING *
            """,
            self._session.org_id, key_id, secret_hmac, pepper_version, last4, made_at, ends_at,
        )  # fmt: skip
        assert row is not None
        return row

    async def note_uses(self, uses: Mapping[UUID, datetime]) -> None:
        """Keep when each key was last used; an earlier moment never replaces a later one."""
        ordered = sorted(uses)
        await self._session.execute(
            "UPDATE api_keys k SET last_used_at = u.at FROM unnest($2::uuid[], $3::timestamptz[]) AS u(id, at) "
            "WHERE k.org_id = $1 AND k.id = u.id AND coalesce(k.last_used_at, '-infinity') < u.at",
            self._session.org_id,
            ordered,
            [uses[key_id] for key_id in ordered],
        )

    async def revoke(self, key_id: UUID) -> None:
        await self._session.execute(
            "UPDATE api_keys SET revoked_at = $3 WHERE org_id = $1 AND id = $2", self._session.org_id, key_id, now()
        )

    async def has_usable(self, role: Role) -> bool:
        """Whether a live key of this role exists that can make keys.

        Whoever asks at the same time waits until this transaction is over.
        """
        await self._session.execute("SELECT pg_advisory_xact_lock(hashtext('gateway first key'))")
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM api_keys WHERE org_id = $1 AND role = $2 AND revoked_at IS NULL "
                "AND (expires_at IS NULL OR expires_at > $3) AND (scopes IS NULL OR 'keys:write' = ANY(scopes)))",
                self._session.org_id,
                role.value,
                now(),
            )
        )
