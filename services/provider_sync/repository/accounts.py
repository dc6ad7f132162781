"""Accounts, their companies and endpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession
from libs.ids import AccountId, CompanyId
from services.provider_sync.domain.accounts import Account


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`token` is sealed."""

    id: UUID
    account_id: AccountId
    status: str
    token: bytes


class AccountRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def find_all(self, ids: Collection[AccountId]) -> dict[AccountId, Account]:
        """Those of the org's accounts that are among `ids`."""
        rows = await self._session.fetch(
            """
            SELECT a.id, a.provider, a.channel, a.company_id, a.base_url, a.workspace_external_id,
              array_agg(c.client_external_id) FILTER (WHERE c.company_id IS NOT NULL) AS clients,
              array_agg(c.company_id) FILTER (WHERE c.company_id IS NOT NULL) AS companies
            FROM accounts a LEFT JOIN client_companies c ON c.org_id = a.org_id AND c.account_id = a.id
            WHERE a.org_id = $1 AND a.id = ANY($2::uuid[]) GROUP BY a.org_id, a.id
            """,
            self._session.org_id,
            sorted(ids),
        )
        return {
            row["id"]: Account(
                id=row["id"],
                provider=row["provider"],
                channel=row["channel"],
                company_id=row["company_id"],
                base_url=row["base_url"],
                workspace_external_id=row["workspace_external_id"],
                clients=dict(zip(row["clients"] or (), row["companies"] or (), strict=True)),
            )
            for row in rows
        }

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


# Ids are UUIDv7, so they sort by age.
_SHOWN = """
    SELECT a.id, a.provider, a.channel, a.name, a.base_url, a.company_id, a.workspace_external_id, a.status, a.created_at,
      e.status AS endpoint_status, e.error AS endpoint_error, e.last_webhook_at,
      ARRAY(SELECT c.client_external_id FROM client_companies c WHERE c.org_id = a.org_id AND c.account_id = a.id
            ORDER BY c.client_external_id) AS clients,
      ARRAY(SELECT c.company_id FROM client_companies c WHERE c.org_id = a.org_id AND c.account_id = a.id
            ORDER BY c.client_external_id) AS companies
    FROM accounts a LEFT JOIN endpoints e ON e.org_id = a.org_id AND e.account_id = a.id
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

    async def known(self, ids: Iterable[CompanyId]) -> set[CompanyId]:
        """Those among `ids` that are companies of this org, and may be seen by the caller."""
        rows = await self._session.fetch(
            "SELECT company_id FROM companies WHERE org_id = $1 AND company_id = ANY($2::uuid[])",
            self._session.org_id,
            sorted(set(ids)),
        )
        return {row["company_id"] for row in rows}


class EndpointRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def insert(self, endpoint: Endpoint, *, token_sha256: str) -> None:
        await self._session.execute(
            """
            INSERT INTO endpoints (org_id, id, account_id, token, token_sha256, status, revision)
            VALUES ($1, $2, $3, $4, $5, $6, 1)
            """,
            self._session.org_id,
            endpoint.id,
            endpoint.account_id,
            endpoint.token,
            token_sha256,
            endpoint.status,
        )

    async def make_ready(self, ids: Collection[UUID]) -> dict[UUID, AccountId]:
        """Note that the door knows these endpoints; answers endpoint -> account of those that exist in this org."""
        rows = await self._session.fetch(
            """
            UPDATE endpoints SET status = CASE WHEN status = 'pending' THEN 'ready' ELSE status END
            WHERE org_id = $1 AND id = ANY($2::uuid[]) RETURNING id, account_id
            """,
            self._session.org_id,
            sorted(ids),
        )
        return {row["id"]: row["account_id"] for row in rows}

    async def lock(self, endpoint_id: UUID) -> Endpoint | None:
        row = await self._session.fetchrow(
            "SELECT id, account_id, status, token FROM endpoints WHERE org_id = $1 AND id = $2 FOR UPDATE",
            self._session.org_id,
            endpoint_id,
        )
        if row is None:
            return None
        return Endpoint(row["id"], row["account_id"], row["status"], bytes(row["token"]))

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

    async def note_webhooks(self, newest: Mapping[UUID, datetime]) -> None:
        """Note when the newest webhook came in; one that comes proves a registration of which no answer came."""
        ids = sorted(newest)
        await self._session.execute(
            """
            UPDATE endpoints e SET last_webhook_at = greatest(e.last_webhook_at, new.at),
              status = CASE WHEN e.status = 'unknown' THEN 'registered' ELSE e.status END,
              error = CASE WHEN e.status = 'unknown' THEN NULL ELSE e.error END
            FROM unnest($2::uuid[], $3::timestamptz[]) AS new (id, at) WHERE e.org_id = $1 AND e.id = new.id
            """,
            self._session.org_id,
            ids,
            [newest[one] for one in ids],
        )
