"""Whose facts they are and how complete: organizations, companies, accounts, drift, syncs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from libs.contracts.events import (
    CompanyCreatedV1,
    DriftDetectedV1,
    OrganizationCreatedV1,
    ProviderAccountChangedV1,
    ReconciliationCompletedV1,
    SyncCompletedV1,
)
from libs.database.engine import TenantSession


class SurroundingsRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def knows_time_zone(self, name: str) -> bool:
        """Whether the database can reckon in it: it is what finds a day's bounds."""
        return bool(await self._session.fetchval("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1)", name))

    async def save_organization(self, event: OrganizationCreatedV1) -> None:
        await self._session.execute(
            "INSERT INTO organizations (org_id, name, time_zone) VALUES ($1, $2, $3) ON CONFLICT (org_id) DO NOTHING",
            self._org,
            event.name,
            event.time_zone,
        )

    async def save_companies(self, events: Sequence[CompanyCreatedV1]) -> None:
        companies = sorted({event.company_id: event.name for event in events}.items())
        await self._session.execute(
            """
            INSERT INTO companies (org_id, company_id, name)
            SELECT $1, * FROM unnest($2::uuid[], $3::text[]) ON CONFLICT (org_id, company_id) DO NOTHING
            """,
            self._org,
            [company for company, _ in companies],
            [name for _, name in companies],
        )

    async def save_accounts(self, events: Sequence[ProviderAccountChangedV1]) -> None:
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
            self._org,
            [row.account_id for row in rows],
            [row.revision for row in rows],
            [row.envelope.company_id for row in rows],
            [row.provider for row in rows],
            [row.channel for row in rows],
            [row.name for row in rows],
            [row.status for row in rows],
        )

    async def save_drifts(self, events: Sequence[DriftDetectedV1]) -> None:
        """Of each (campaign, kind) the one told last."""
        newest: dict[tuple[UUID, str], DriftDetectedV1] = {}
        for event in sorted(events, key=lambda event: (event.envelope.time, event.envelope.id)):
            newest[event.campaign_id, event.kind] = event
        rows = [newest[key] for key in sorted(newest)]
        await self._session.execute(
            """
            INSERT INTO drifts (org_id, campaign_id, kind, account_id, run_id, missing, surplus, told_at, event_id)
            SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::int[], $7::int[],
                                     $8::timestamptz[], $9::uuid[])
            ON CONFLICT (org_id, campaign_id, kind) DO UPDATE SET account_id = excluded.account_id, run_id = excluded.run_id,
              missing = excluded.missing, surplus = excluded.surplus, told_at = excluded.told_at, event_id = excluded.event_id
            WHERE (excluded.told_at, excluded.event_id) > (drifts.told_at, drifts.event_id)
            """,
            self._org,
            [row.campaign_id for row in rows],
            [row.kind for row in rows],
            [row.account_id for row in rows],
            [row.run_id for row in rows],
            [row.missing for row in rows],
            [row.surplus for row in rows],
            [row.envelope.time for row in rows],
            [row.envelope.id for row in rows],
        )

    async def save_reconciled(self, events: Sequence[ReconciliationCompletedV1]) -> None:
        """Of each compared campaign the run that was told last."""
        newest: dict[UUID, ReconciliationCompletedV1] = {}
        for event in sorted(events, key=lambda event: (event.envelope.time, event.envelope.id)):
            newest |= dict.fromkeys(event.campaign_ids, event)
        campaigns = sorted(newest)
        rows = [newest[campaign] for campaign in campaigns]
        await self._session.execute(
            """
            INSERT INTO reconciled (org_id, campaign_id, account_id, run_id, told_at, event_id)
            SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[], $6::uuid[])
            ON CONFLICT (org_id, campaign_id) DO UPDATE SET account_id = excluded.account_id, run_id = excluded.run_id,
              told_at = excluded.told_at, event_id = excluded.event_id
            WHERE (excluded.told_at, excluded.event_id) > (reconciled.told_at, reconciled.event_id)
            """,
            self._org,
            campaigns,
            [row.account_id for row in rows],
            [row.run_id for row in rows],
            [row.envelope.time for row in rows],
            [row.envelope.id for row in rows],
        )

    async def count_syncs(self, events: Sequence[SyncCompletedV1]) -> None:
        """Add to the counts; that each sync is counted once is the inbox's promise."""
        by_key: dict[tuple[UUID, str, str], list[SyncCompletedV1]] = defaultdict(list)
        for event in events:
            by_key[event.account_id, event.kind, event.outcome].append(event)
        keys = sorted(by_key)
        await self._session.execute(
            """
            INSERT INTO syncs (org_id, account_id, kind, outcome, count, objects, last_at)
            SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[])
            ON CONFLICT (org_id, account_id, kind, outcome) DO UPDATE SET count = syncs.count + excluded.count,
              objects = syncs.objects + excluded.objects, last_at = greatest(syncs.last_at, excluded.last_at)
            """,
            self._org,
            [key[0] for key in keys],
            [key[1] for key in keys],
            [key[2] for key in keys],
            [len(by_key[key]) for key in keys],
            [sum(event.objects for event in by_key[key]) for key in keys],
            [max(event.envelope.time for event in by_key[key]) for key in keys],
        )
