"""Webhook endpoints as they are configured, their earlier tokens and their secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession
from libs.ids import AccountId, CompanyId
from services.provider_sync.domain.endpoints import EarlierToken, SignatureMode, SourceMode


@dataclass(frozen=True, slots=True)
class Configured:
    """An endpoint, locked. `token` is its newest, sealed; `company_id` its account's default."""

    id: UUID
    account_id: AccountId
    company_id: CompanyId
    provider: str
    revision: int
    status: str
    token_id: UUID
    token: bytes
    token_sha256: str
    overlap_seconds: int | None
    signature_mode: SignatureMode
    source_mode: SourceMode
    allowed_sources: tuple[str, ...]
    verified: int


class ConfiguredRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def lock(self, endpoint_id: UUID) -> Configured | None:
        """None also when its account is of a company that the caller does not see."""
        row = await self._session.fetchrow(
            """
            SELECT e.id, e.account_id, a.company_id, a.provider, e.revision, e.status, coalesce(e.token_id, e.id) AS token_id,
              e.token, e.token_sha256, e.overlap_seconds, e.signature_mode, e.source_mode, e.allowed_sources, e.verified
            FROM endpoints e JOIN accounts a ON a.org_id = e.org_id AND a.id = e.account_id
            WHERE e.org_id = $1 AND e.id = $2 FOR UPDATE OF e
            """,
            self._session.org_id,
            endpoint_id,
        )
        if row is None:
            return None
        return Configured(
            **dict(row) | {"allowed_sources": tuple(row["allowed_sources"]), "token": bytes(row["token"])}
        )

    async def next_revision(self, endpoint_id: UUID) -> int:
        return int(
            await self._session.fetchval(
                "UPDATE endpoints SET revision = revision + 1 WHERE org_id = $1 AND id = $2 RETURNING revision",
                self._session.org_id,
                endpoint_id,
            )
        )

    async def replace_token(
        self,
        endpoint: Configured,
        *,
        token_id: UUID,
        token: bytes,
        token_sha256: str,
        last4: str,
        overlap_seconds: int,
        moment: datetime,
    ) -> None:
        """From now on this (sealed) token is the newest; it is not registered anywhere yet."""
        await self._session.execute(
            """
            UPDATE endpoints SET token_id = $3, token = $4, token_sha256 = $5, token_last4 = $6, token_made_at = $7,
              overlap_seconds = $8, status = 'pending', provider_webhook_id = NULL, error = NULL, verification = NULL,
              verification_error = NULL, repair_sent_at = NULL
            WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            endpoint.id,
            token_id,
            token,
            token_sha256,
            last4,
            moment,
            overlap_seconds,
        )

    async def configure(
        self,
        endpoint_id: UUID,
        *,
        signature_mode: SignatureMode,
        source_mode: SourceMode,
        allowed_sources: Sequence[str],
        moment: datetime,
    ) -> None:
        """The counts begin anew: they are about what was configured."""
        await self._session.execute(
            """
            UPDATE endpoints SET signature_mode = $3, source_mode = $4, allowed_sources = $5, counted_since = $6,
              verified = 0, unsigned = 0, mismatched = 0, listed = 0, unlisted = 0
            WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            endpoint_id,
            signature_mode,
            source_mode,
            list(allowed_sources),
            moment,
        )

    async def page(self, before: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Newest first; one row more than `limit` when there is more."""
        return await self._session.fetch(
            f"{_SHOWN} WHERE e.org_id = $1 AND ($2::uuid IS NULL OR e.id < $2) ORDER BY e.id DESC LIMIT $3",
            self._session.org_id,
            before,
            limit + 1,
        )

    async def find_shown(self, endpoint_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            f"{_SHOWN} WHERE e.org_id = $1 AND e.id = $2", self._session.org_id, endpoint_id
        )


_SHOWN = """
    SELECT e.id, e.account_id, a.company_id, a.provider, e.revision, e.status, e.error, e.provider_webhook_id,
      coalesce(e.token_id, e.id) AS token_id, e.token_last4, e.token_made_at, e.last_webhook_at, e.signature_mode,
      e.verification, e.verified_at, e.checked_at, e.verification_error, e.repaired_at,
      CASE WHEN e.status = 'registered' AND a.status = 'active'
             AND greatest(e.last_webhook_at, e.token_made_at, a.created_at) < now() - interval '24 hours'
             AND EXISTS (SELECT FROM campaigns c WHERE c.org_id = e.org_id AND c.account_id = a.id AND c.status = 'active')
        THEN greatest(e.last_webhook_at, e.token_made_at, a.created_at) END AS silent_since,
      e.source_mode, e.allowed_sources, e.counted_since, e.verified, e.unsigned, e.mismatched, e.listed, e.unlisted,
      EXISTS (SELECT FROM signing_secrets s WHERE s.org_id = e.org_id AND s.endpoint_id = e.id) AS has_secrets
    FROM endpoints e JOIN accounts a ON a.org_id = e.org_id AND a.id = e.account_id
"""


class EarlierTokenRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def insert(self, endpoint: Configured, *, token: bytes, moment: datetime, never_registered: bool) -> None:
        """Keep the endpoint's newest token (sealed for its new place) as an earlier one; nobody can use one that was never
        registered, so that has ended."""
        await self._session.execute(
            """
            INSERT INTO earlier_tokens (org_id, id, endpoint_id, token, token_sha256, last4, provider_webhook_id, made_at,
                                        last_used_at, replaced_at, ended_at, removal_error)
            SELECT org_id, $3, id, $4, token_sha256, token_last4, provider_webhook_id, token_made_at, last_webhook_at, $5,
              CASE WHEN $6 THEN $5::timestamptz END, CASE WHEN NOT $6 AND provider_webhook_id IS NULL THEN $7 END
            FROM endpoints WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            endpoint.id,
            endpoint.token_id,
            token,
            moment,
            never_registered,
            _REMOVE_BY_HAND,
        )

    async def end_all(self, endpoint_id: UUID, moment: datetime) -> None:
        await self._session.execute(
            """
            UPDATE earlier_tokens SET ended_at = $3
            WHERE org_id = $1 AND endpoint_id = $2 AND ended_at IS NULL AND (ends_at IS NULL OR ends_at > $3)
            """,
            self._session.org_id,
            endpoint_id,
            moment,
        )

    async def of_endpoint(self, endpoint_id: UUID) -> list[EarlierToken]:
        """Newest first."""
        rows = await self._session.fetch(
            f"{_TOKENS} WHERE org_id = $1 AND endpoint_id = $2 ORDER BY replaced_at DESC, id DESC",
            self._session.org_id,
            endpoint_id,
        )
        return [EarlierToken(**dict(row)) for row in rows]

    async def find(self, token_id: UUID) -> EarlierToken | None:
        row = await self._session.fetchrow(f"{_TOKENS} WHERE org_id = $1 AND id = $2", self._session.org_id, token_id)
        return None if row is None else EarlierToken(**dict(row))

    async def shown(self, endpoint_id: UUID) -> list[asyncpg.Record]:
        return await self._session.fetch(
            """
            SELECT id, last4, made_at, replaced_at, overlap_ends_at, ends_at, ended_at, last_used_at, removed_at, removal_error,
              token_sha256 AS sha256
            FROM earlier_tokens WHERE org_id = $1 AND endpoint_id = $2 ORDER BY replaced_at DESC, id DESC
            """,
            self._session.org_id,
            endpoint_id,
        )

    async def begin_overlap(self, endpoint_id: UUID, overlap_ends_at: datetime, ends_at: datetime) -> list[UUID]:
        """The successor is registered; answers the tokens whose overlap began by this call."""
        rows = await self._session.fetch(
            """
            UPDATE earlier_tokens SET overlap_ends_at = $3, ends_at = $4
            WHERE org_id = $1 AND endpoint_id = $2 AND ended_at IS NULL AND overlap_ends_at IS NULL RETURNING id
            """,
            self._session.org_id,
            endpoint_id,
            overlap_ends_at,
            ends_at,
        )
        return [row["id"] for row in rows]

    async def end(self, token_id: UUID, moment: datetime) -> None:
        await self._session.execute(
            "UPDATE earlier_tokens SET ended_at = $3 WHERE org_id = $1 AND id = $2 AND ended_at IS NULL",
            self._session.org_id,
            token_id,
            moment,
        )

    async def note_uses(self, newest: Mapping[UUID, datetime]) -> None:
        """Kept to a minute: what it decides is counted in days."""
        await self._session.execute(
            """
            UPDATE earlier_tokens t SET last_used_at = used.at
            FROM unnest($2::uuid[], $3::timestamptz[]) AS used (id, at)
            WHERE t.org_id = $1 AND t.id = used.id
              AND (t.last_used_at IS NULL OR t.last_used_at < used.at - interval '1 minute')
            """,
            self._session.org_id,
            sorted(newest),
            [newest[one] for one in sorted(newest)],
        )

    async def registered(self, endpoint_id: UUID) -> list[UUID]:
        """Those that the provider was told of and was not told to forget."""
        rows = await self._session.fetch(
            """
            SELECT id FROM earlier_tokens
            WHERE org_id = $1 AND endpoint_id = $2 AND provider_webhook_id IS NOT NULL AND removed_at IS NULL
            """,
            self._session.org_id,
            endpoint_id,
        )
        return [row["id"] for row in rows]

    async def webhook_to_remove(self, token_id: UUID) -> str | None:
        """The provider's id of its registration; None when there is none (any more)."""
        found = await self._session.fetchval(
            "SELECT provider_webhook_id FROM earlier_tokens WHERE org_id = $1 AND id = $2 AND removed_at IS NULL",
            self._session.org_id,
            token_id,
        )
        return found if found is None else str(found)

    async def note_removal(self, token_id: UUID, *, moment: datetime | None, error: str | None) -> None:
        await self._session.execute(
            "UPDATE earlier_tokens SET removed_at = $3, removal_error = $4 WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            token_id,
            moment,
            error,
        )

    async def note_registration(self, token_id: UUID, provider_webhook_id: str) -> None:
        """A registration that was under way when its token was replaced has succeeded all the same."""
        await self._session.execute(
            "UPDATE earlier_tokens SET provider_webhook_id = $3, removal_error = NULL WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            token_id,
            provider_webhook_id,
        )


_REMOVE_BY_HAND = "the provider never told its id of this registration: remove the webhook there whose address ends so"

_TOKENS = """
    SELECT id, token_sha256 AS sha256, replaced_at, overlap_ends_at, ends_at, ended_at, last_used_at FROM earlier_tokens
"""


class SecretsRepository:
    """Signing secrets; they are written and used, and never shown."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def insert(self, secret_id: UUID, endpoint_id: UUID, *, secret: bytes, moment: datetime) -> None:
        await self._session.execute(
            "INSERT INTO signing_secrets (org_id, id, endpoint_id, secret, made_at) VALUES ($1, $2, $3, $4, $5)",
            self._session.org_id,
            secret_id,
            endpoint_id,
            secret,
            moment,
        )

    async def delete(self, endpoint_id: UUID, ids: Collection[UUID]) -> int:
        return await self._session.execute(
            "DELETE FROM signing_secrets WHERE org_id = $1 AND endpoint_id = $2 AND id = ANY($3::uuid[])",
            self._session.org_id,
            endpoint_id,
            sorted(ids),
        )

    async def shown(self, endpoint_id: UUID) -> list[dict[str, Any]]:
        """Ids and ages, newest first."""
        rows = await self._session.fetch(
            "SELECT id, made_at FROM signing_secrets WHERE org_id = $1 AND endpoint_id = $2 ORDER BY made_at DESC, id DESC",
            self._session.org_id,
            endpoint_id,
        )
        return [dict(row) for row in rows]


class VerificationRepository:
    """What was found when the provider was asked for its registration of an endpoint."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def find(self, endpoint_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            """
            SELECT id, status, token, coalesce(token_id, id) AS token_id, provider_webhook_id, repair_sent_at
            FROM endpoints WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            endpoint_id,
        )

    async def note_repair_sent(self, endpoint_id: UUID) -> None:
        await self._session.execute(
            "UPDATE endpoints SET repair_sent_at = now() WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            endpoint_id,
        )

    async def keep(
        self, endpoint_id: UUID, token_id: UUID, *, state: str, webhook_id: str | None, error: str | None
    ) -> None:
        """Of this token only. A repair whose answer was lost stays noted until a look finds all well, or a new token."""
        await self._session.execute(
            """
            UPDATE endpoints SET verification = $4, verification_error = CASE WHEN $4 = 'whole' THEN NULL ELSE $6 END,
              provider_webhook_id = coalesce($5, provider_webhook_id), checked_at = now(),
              verified_at = CASE WHEN $4 IN ('whole', 'repaired') THEN now() ELSE verified_at END,
              repaired_at = CASE WHEN $4 = 'repaired' THEN now() ELSE repaired_at END,
              repair_sent_at = CASE WHEN $4 = 'unknown' THEN repair_sent_at END,
              status = CASE WHEN $4 IN ('whole', 'repaired') THEN 'registered' ELSE status END,
              error = CASE WHEN $4 IN ('whole', 'repaired') THEN NULL ELSE error END
            WHERE org_id = $1 AND id = $2 AND coalesce(token_id, id) = $3
            """,
            self._session.org_id,
            endpoint_id,
            token_id,
            state,
            webhook_id,
            error,
        )

    async def note_failure(self, endpoint_id: UUID, reason: str) -> None:
        await self._session.execute(
            "UPDATE endpoints SET checked_at = now(), verification_error = $3 WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            endpoint_id,
            reason,
        )
