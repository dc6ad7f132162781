"""Accounts, their companies and endpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.database.engine import TenantSession
from libs.ids import AccountId, CompanyId
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.endpoints import Judging


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`token` is its newest one, sealed; the first has the endpoint's id."""

    id: UUID
    account_id: AccountId
    status: str
    token: bytes
    token_id: UUID


@dataclass(frozen=True, slots=True)
class Heard:
    """One webhook. Without `token_id` and `at` it was only judged, and not applied."""

    endpoint_id: UUID
    token_id: UUID | None
    at: datetime | None
    verdict: str | None = None
    listed: bool | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """`overlap_is_due`: the newest token is registered, and those before it go on without an end."""

    endpoint_id: UUID
    newest_token_id: UUID
    overlap_is_due: bool


class AccountRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def find_all(self, ids: Collection[AccountId]) -> dict[AccountId, Account]:
        """Those of the org's accounts that are among `ids`."""
        return (await self.find_all_judged(ids))[0]

    async def find_all_judged(self, ids: Collection[AccountId]) -> tuple[dict[AccountId, Account], dict[UUID, Judging]]:
        """Also how deliveries to their endpoints are judged, as far as they are: one query, for every batch of webhooks."""
        rows = await self._session.fetch(
            """
            SELECT a.id, a.provider, a.channel, a.company_id, a.base_url, a.workspace_external_id, a.sync_mode,
              array_agg(c.client_external_id) FILTER (WHERE c.company_id IS NOT NULL) AS clients,
              array_agg(c.company_id) FILTER (WHERE c.company_id IS NOT NULL) AS companies,
              (SELECT jsonb_object_agg(e.id, jsonb_build_object('mode', e.signature_mode, 'secrets', (
                 SELECT coalesce(jsonb_object_agg(s.id, encode(s.secret, 'hex')), '{}') FROM signing_secrets s
                 WHERE s.org_id = e.org_id AND s.endpoint_id = e.id)))::text
               FROM endpoints e WHERE e.org_id = a.org_id AND e.account_id = a.id AND e.signature_mode <> 'off') AS judged
            FROM accounts a LEFT JOIN client_companies c ON c.org_id = a.org_id AND c.account_id = a.id
            WHERE a.org_id = $1 AND a.id = ANY($2::uuid[]) GROUP BY a.org_id, a.id
            """,
            self._session.org_id,
            sorted(ids),
        )
        accounts = {
            row["id"]: Account(
                id=row["id"],
                provider=row["provider"],
                channel=row["channel"],
                company_id=row["company_id"],
                base_url=row["base_url"],
                workspace_external_id=row["workspace_external_id"],
                clients=dict(zip(row["clients"] or (), row["companies"] or (), strict=True)),
                chosen_sync_mode=row["sync_mode"],
            )
            for row in rows
        }
        judged = {
            UUID(endpoint_id): Judging(
                one["mode"], {UUID(secret_id): bytes.fromhex(sealed) for secret_id, sealed in one["secrets"].items()}
            )
            for row in rows
            if row["judged"] is not None
            for endpoint_id, one in orjson.loads(row["judged"]).items()
        }
        return accounts, judged

    async def insert(self, account: Account, *, name: str, credentials: bytes) -> None:
        """Keep a new account with its sealed credentials and its mapping of sub-accounts."""
        await self._session.execute(
            """
            INSERT INTO accounts (org_id, id, provider, channel, name, base_url, company_id, status, credentials, revision)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'active', $8, 1)
            """,
            self._session.org_id,
            account.id,
            account.provider,
            account.channel,
            name,
            account.base_url,
            account.company_id,
            credentials,
        )
        await self._session.execute(
            """
            INSERT INTO client_companies (org_id, account_id, client_external_id, company_id)
            SELECT $1, $2, * FROM unnest($3::text[], $4::uuid[])
            """,
            self._session.org_id,
            account.id,
            list(account.clients),
            list(account.clients.values()),
        )

    async def lock(self, account_id: UUID) -> asyncpg.Record | None:
        """The account, which nobody else can change until this transaction is over; without its credentials."""
        return await self._session.fetchrow(
            f"SELECT {_KEPT} FROM accounts WHERE org_id = $1 AND id = $2 FOR UPDATE",  # noqa: S608 - a constant
            self._session.org_id,
            account_id,
        )

    async def change(
        self, account_id: UUID, *, name: str, status: str, status_reason: str | None, sync_mode: str | None
    ) -> asyncpg.Record:
        """Write the next revision of a locked account; answers it."""
        row = await self._session.fetchrow(
            f"""
            UPDATE accounts SET name = $3, status = $4, status_reason = $5, sync_mode = $6, revision = revision + 1
            WHERE org_id = $1 AND id = $2 RETURNING {_KEPT}
            """,  # noqa: S608 - a constant
            self._session.org_id,
            account_id,
            name,
            status,
            status_reason,
            sync_mode,
        )
        assert row is not None
        return row

    async def replace_credentials(self, account_id: UUID, sealed: bytes) -> None:
        await self._session.execute(
            "UPDATE accounts SET credentials = $3 WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            account_id,
            sealed,
        )

    async def learn_workspace(self, account_id: AccountId, external_id: str) -> str:
        """Keep the account's workspace, once; answers the one that is kept."""
        found = await self._session.fetchval(
            """
            UPDATE accounts SET workspace_external_id = coalesce(workspace_external_id, $3)
            WHERE org_id = $1 AND id = $2 RETURNING workspace_external_id
            """,
            self._session.org_id,
            account_id,
            external_id,
        )
        return str(found)

    async def sealed_credentials(self, account_id: AccountId) -> bytes | None:
        found = await self._session.fetchval(
            "SELECT credentials FROM accounts WHERE org_id = $1 AND id = $2", self._session.org_id, account_id
        )
        return found if found is None else bytes(found)

    async def page(self, after: Sequence[Any] | None, limit: int) -> list[asyncpg.Record]:
        """Newest first; one row more than `limit` when there is more."""
        return await self._session.fetch(
            f"{_SHOWN} WHERE a.org_id = $1 AND ($2::uuid IS NULL OR a.id < $2) ORDER BY a.id DESC LIMIT $3",
            self._session.org_id,
            None if after is None else UUID(after[0]),
            limit + 1,
        )

    async def find_shown(self, account_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            f"{_SHOWN} WHERE a.org_id = $1 AND a.id = $2", self._session.org_id, account_id
        )


_KEPT = "id, provider, channel, name, company_id, status, status_reason, sync_mode, revision"

# Ids are UUIDv7, so they sort by age.
_SHOWN = """
    SELECT a.id, a.provider, a.channel, a.name, a.base_url, a.company_id, a.workspace_external_id, a.status,
      a.status_reason, a.revision, a.created_at,
      b.pause_reason, CASE WHEN b.paused_until > now() THEN b.paused_until END AS paused_until,
      e.id AS endpoint_id, e.status AS endpoint_status, e.error AS endpoint_error, e.last_webhook_at,
      ARRAY(SELECT c.client_external_id FROM client_companies c WHERE c.org_id = a.org_id AND c.account_id = a.id
            ORDER BY c.client_external_id) AS clients,
      ARRAY(SELECT c.company_id FROM client_companies c WHERE c.org_id = a.org_id AND c.account_id = a.id
            ORDER BY c.client_external_id) AS companies
    FROM accounts a LEFT JOIN endpoints e ON e.org_id = a.org_id AND e.account_id = a.id
      LEFT JOIN account_budgets b ON b.org_id = a.org_id AND b.account_id = a.id
"""


class CompanyRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def keep(self, names: Mapping[CompanyId, str]) -> None:
        await self._session.execute(
            """
            INSERT INTO companies (org_id, company_id, name) SELECT $1, * FROM unnest($2::uuid[], $3::text[])
            ON CONFLICT (org_id, company_id) DO NOTHING
            """,
            self._session.org_id,
            sorted(names),
            [names[one] for one in sorted(names)],
        )

    async def archive(self, names: Mapping[CompanyId, str]) -> None:
        """Also of one that was not heard of before: what tells that it came to be is then too late to matter."""
        await self._session.execute(
            """
            INSERT INTO companies (org_id, company_id, name, archived) SELECT $1, *, true FROM unnest($2::uuid[], $3::text[])
            ON CONFLICT (org_id, company_id) DO UPDATE SET archived = true
            """,
            self._session.org_id,
            sorted(names),
            [names[one] for one in sorted(names)],
        )

    async def is_archived(self, company_id: CompanyId) -> bool:
        """It stays so until commit; False also of one that was not heard of yet."""
        archived = await self._session.fetchval(
            "SELECT archived FROM companies WHERE org_id = $1 AND company_id = $2 FOR SHARE",
            self._session.org_id,
            company_id,
        )
        return archived is True

    async def open(self, ids: Iterable[CompanyId]) -> set[CompanyId]:
        """Those among `ids` that are companies of this org, not archived, and may be seen by the caller."""
        rows = await self._session.fetch(
            "SELECT company_id FROM companies WHERE org_id = $1 AND company_id = ANY($2::uuid[]) AND NOT archived",
            self._session.org_id,
            sorted(set(ids)),
        )
        return {row["company_id"] for row in rows}


class EndpointRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def insert(self, endpoint: Endpoint, *, token_sha256: str, last4: str) -> None:
        await self._session.execute(
            """
            INSERT INTO endpoints (org_id, id, account_id, token, token_sha256, status, revision, token_id, token_last4,
                                   token_made_at)
            VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $8, now())
            """,
            self._session.org_id,
            endpoint.id,
            endpoint.account_id,
            endpoint.token,
            token_sha256,
            endpoint.status,
            endpoint.token_id,
            last4,
        )

    async def make_ready(self, known: Collection[tuple[UUID, UUID]]) -> dict[UUID, AccountId]:
        """Note that the door knows these tokens, as (endpoint, token); answers endpoint -> account of those that exist."""
        rows = await self._session.fetch(
            """
            UPDATE endpoints e
            SET status = CASE WHEN status = 'pending' AND coalesce(e.token_id, e.id) = ANY(known.tokens) THEN 'ready'
                              ELSE status END
            FROM (SELECT id, array_agg(token_id) AS tokens FROM unnest($2::uuid[], $3::uuid[]) AS k (id, token_id) GROUP BY id)
              AS known
            WHERE e.org_id = $1 AND e.id = known.id RETURNING e.id, e.account_id
            """,
            self._session.org_id,
            [endpoint_id for endpoint_id, _ in sorted(known)],
            [token_id for _, token_id in sorted(known)],
        )
        return {row["id"]: row["account_id"] for row in rows}

    async def lock(self, endpoint_id: UUID) -> Endpoint | None:
        row = await self._session.fetchrow(
            """
            SELECT id, account_id, status, token, coalesce(token_id, id) AS token_id FROM endpoints
            WHERE org_id = $1 AND id = $2 FOR UPDATE
            """,
            self._session.org_id,
            endpoint_id,
        )
        if row is None:
            return None
        return Endpoint(row["id"], row["account_id"], row["status"], bytes(row["token"]), row["token_id"])

    async def settle(
        self, endpoint_id: UUID, status: str, *, provider_webhook_id: str | None = None, error: str | None = None
    ) -> None:
        """Write how far the registration at the provider is. A webhook that came meanwhile has proven it already."""
        await self._session.execute(
            """
            UPDATE endpoints SET status = $3, provider_webhook_id = coalesce($4, provider_webhook_id), error = $5
            WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            endpoint_id,
            status,
            provider_webhook_id,
            error,
        )

    async def note_webhooks(self, heard: Sequence[Heard]) -> list[Noted]:
        """Note what came in by these endpoints; a post proves a registration of which no answer came."""
        rows = await self._session.fetch(
            """
            UPDATE endpoints e SET last_webhook_at = greatest(e.last_webhook_at, new.at),
              status = CASE WHEN e.status = 'unknown' AND coalesce(e.token_id, e.id) = ANY(new.tokens) THEN 'registered'
                            ELSE e.status END,
              error = CASE WHEN e.status = 'unknown' AND coalesce(e.token_id, e.id) = ANY(new.tokens) THEN NULL
                           ELSE e.error END,
              verified = e.verified + new.verified, unsigned = e.unsigned + new.unsigned,
              mismatched = e.mismatched + new.mismatched, listed = e.listed + new.listed,
              unlisted = e.unlisted + new.unlisted
            FROM (
              SELECT id, max(at) AS at, array_agg(token_id) AS tokens,
                count(*) FILTER (WHERE verdict = 'verified') AS verified,
                count(*) FILTER (WHERE verdict = 'unsigned') AS unsigned,
                count(*) FILTER (WHERE verdict = 'mismatched') AS mismatched,
                count(*) FILTER (WHERE listed) AS listed, count(*) FILTER (WHERE NOT listed) AS unlisted
              FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::boolean[])
                AS heard (id, token_id, at, verdict, listed)
              GROUP BY id
            ) AS new
            WHERE e.org_id = $1 AND e.id = new.id
            RETURNING e.id, coalesce(e.token_id, e.id) AS newest_token_id,
              e.status = 'registered' AND EXISTS (
                SELECT FROM earlier_tokens t WHERE t.org_id = e.org_id AND t.endpoint_id = e.id
                  AND t.ended_at IS NULL AND t.overlap_ends_at IS NULL) AS overlap_is_due
            """,
            self._session.org_id,
            [one.endpoint_id for one in heard],
            [one.token_id for one in heard],
            [one.at for one in heard],
            [one.verdict for one in heard],
            [one.listed for one in heard],
        )
        return [Noted(row["id"], row["newest_token_id"], row["overlap_is_due"]) for row in rows]
