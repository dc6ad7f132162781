"""Accounts that can be reconciled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.contracts.events import ProviderAccountChangedV1
from libs.database.engine import TenantSession
from libs.ids import CompanyId


@dataclass(frozen=True, slots=True)
class Account:
    account_id: UUID
    company_id: CompanyId | None
    provider: str


class ArchivedCompanies:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(self, companies: Iterable[UUID]) -> None:
        await self._session.execute(
            "INSERT INTO archived_companies (org_id, company_id) SELECT $1, unnest($2::uuid[]) ON CONFLICT DO NOTHING",
            self._session.org_id,
            sorted(companies),
        )

    async def has(self, company_id: UUID | None) -> bool:
        """Whether there is this one among them."""
        found = await self._session.fetchval(
            "SELECT true FROM archived_companies WHERE org_id = $1 AND company_id = $2",
            self._session.org_id,
            company_id,
        )
        return found is True


class AccountRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def find(self, account_id: UUID) -> Account | None:
        row = await self._session.fetchrow(
            "SELECT account_id, company_id, provider FROM accounts WHERE org_id = $1 AND account_id = $2",
            self._session.org_id,
            account_id,
        )
        return None if row is None else Account(row["account_id"], row["company_id"], row["provider"])

    async def save_all(self, events: Sequence[ProviderAccountChangedV1]) -> None:
        """Of each account the highest revision stays."""
        newest: dict[UUID, ProviderAccountChangedV1] = {}
        for event in events:
            known = newest.get(event.account_id)
            if known is None or event.revision > known.revision:
                newest[event.account_id] = event
        rows = [newest[account] for account in sorted(newest)]
        await self._session.execute(
            """
            INSERT INTO accounts (org_id, account_id, revision, company_id, provider, channel, name, status)
            SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[])
            ON CONFLICT (org_id, account_id) DO UPDATE SET revision = excluded.revision, company_id = excluded.company_id,
              provider = excluded.provider, channel = excluded.channel, name = excluded.name, status = excluded.status
            WHERE excluded.revision > accounts.revision
            """,
            self._session.org_id,
            [row.account_id for row in rows],
            [row.revision for row in rows],
            [row.envelope.company_id for row in rows],
            [row.provider for row in rows],
            [row.channel for row in rows],
            [row.name for row in rows],
            [row.status for row in rows],
        )
