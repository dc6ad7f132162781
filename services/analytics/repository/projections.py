"""The present state, folded from facts: campaigns, steps, messages, engagements at their highest revision.

A child's company is its campaign's. Whoever writes children holds their campaigns FOR SHARE, whoever writes campaigns holds
them FOR UPDATE, so that no child slips past a relabelling; a campaign nobody knows yet gets a row (revision 0) to hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.contracts.events import (
    CampaignRecordedV1,
    EngagementRecordedV1,
    MessageRecordedV1,
    SequenceStepRecordedV1,
)
from libs.database.engine import TenantSession
from libs.ids import CompanyId
from services.analytics.domain.facts import KnownCampaign


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows, and a hash over what stands in them, whatever their order."""

    count: int
    hash: str


# Each with the column that is its key within an organization. `rebuilt_<name>` has the same columns in the same order.
PROJECTIONS = {
    "campaigns": "campaign_id", "steps": "step_id", "messages": "message_id", "engagements": "engagement_id"
}  # fmt: skip
_BESIDE = "rebuilt_"


class ProjectionRepository:
    """What stands; or, `beside` it, tables in which it is made anew. Those are empty but within such a transaction."""

    def __init__(self, session: TenantSession, *, beside: bool = False) -> None:
        self._session = session
        self._org = session.org_id
        self._in = _BESIDE if beside else ""

    async def hold_campaigns(self, mentioned: Mapping[UUID, UUID], *, to_change: bool) -> dict[UUID, KnownCampaign]:
        """Lock campaigns (id -> account) until commit, adding those that are missing; answers what is known of each."""
        held = await self._lock(mentioned, to_change)
        missing = sorted(mentioned.keys() - held.keys())
        if missing:
            await self._session.execute(
                f"""
                INSERT INTO {self._in}campaigns AS known (org_id, campaign_id, account_id, revision)
                SELECT $1, campaign_id, account_id, 0 FROM unnest($2::uuid[], $3::uuid[]) AS e(campaign_id, account_id)
                ON CONFLICT (org_id, campaign_id) DO NOTHING
                """,
                self._org,
                missing,
                [mentioned[campaign] for campaign in missing],
            )
            held = await self._lock(mentioned, to_change)
        return held

    async def _lock(self, campaigns: Mapping[UUID, UUID], to_change: bool) -> dict[UUID, KnownCampaign]:
        # In the order of ids: whoever locks several does so in one order.
        if to_change:
            rows = await self._session.fetch(
                f"SELECT campaign_id, revision, company_id FROM {self._in}campaigns "
                "WHERE org_id = $1 AND campaign_id = ANY($2::uuid[]) ORDER BY campaign_id FOR UPDATE",
                self._org,
                list(campaigns),
            )
        else:
            rows = await self._session.fetch(
                f"SELECT campaign_id, revision, company_id FROM {self._in}campaigns "
                "WHERE org_id = $1 AND campaign_id = ANY($2::uuid[]) ORDER BY campaign_id FOR SHARE",
                self._org,
                list(campaigns),
            )
        return {row["campaign_id"]: KnownCampaign(row["revision"], row["company_id"]) for row in rows}

    async def save_campaigns(self, campaigns: Sequence[CampaignRecordedV1]) -> None:
        if campaigns:
            await self._session.execute(
                f"""
                INSERT INTO {self._in}campaigns AS known
                  (org_id, campaign_id, revision, account_id, company_id, provider, channel, external_id,
                                       name, status, source)
                SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
                                         $8::text[], $9::text[], $10::text[], $11::text[])
                ON CONFLICT (org_id, campaign_id) DO UPDATE SET revision = excluded.revision,
                  account_id = excluded.account_id, company_id = excluded.company_id, provider = excluded.provider,
                  channel = excluded.channel, external_id = excluded.external_id, name = excluded.name,
                  status = excluded.status, source = excluded.source
                WHERE excluded.revision > known.revision
                """,
                self._org,
                [campaign.campaign_id for campaign in campaigns],
                [campaign.revision for campaign in campaigns],
                [campaign.account_id for campaign in campaigns],
                [campaign.envelope.company_id for campaign in campaigns],
                [campaign.provider for campaign in campaigns],
                [campaign.channel for campaign in campaigns],
                [campaign.external_id for campaign in campaigns],
                [campaign.name for campaign in campaigns],
                [campaign.status for campaign in campaigns],
                [campaign.source for campaign in campaigns],
            )

    async def relabel_children(self, moved: Sequence[tuple[UUID, CompanyId | None]]) -> None:
        """Give all children of campaigns (id, new company) that company."""
        if not moved:
            return
        campaigns, companies = [campaign for campaign, _ in moved], [company for _, company in moved]
        for table in ("steps", "messages", "engagements"):
            await self._session.execute(
                f"""
                UPDATE {self._in}{table} c SET company_id = e.company_id
                FROM unnest($2::uuid[], $3::uuid[]) AS e(campaign_id, company_id)
                WHERE c.org_id = $1 AND c.campaign_id = e.campaign_id AND c.company_id IS DISTINCT FROM e.company_id
                """,
                self._org,
                campaigns,
                companies,
            )

    async def save_steps(self, rows: Sequence[tuple[SequenceStepRecordedV1, CompanyId | None]]) -> None:
        if rows:
            await self._session.execute(
                f"""
                INSERT INTO {self._in}steps AS known
                  (org_id, step_id, revision, account_id, company_id, campaign_id, number, name, delay_days,
                                   source)
                SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::int[], $8::text[],
                                         $9::int[], $10::text[])
                ON CONFLICT (org_id, step_id) DO UPDATE SET revision = excluded.revision, account_id = excluded.account_id,
                  company_id = excluded.company_id, campaign_id = excluded.campaign_id, number = excluded.number,
                  name = excluded.name, delay_days = excluded.delay_days, source = excluded.source
                WHERE excluded.revision > known.revision
                """,
                self._org,
                [step.step_id for step, _ in rows],
                [step.revision for step, _ in rows],
                [step.account_id for step, _ in rows],
                [company for _, company in rows],
                [step.campaign_id for step, _ in rows],
                [step.number for step, _ in rows],
                [step.name for step, _ in rows],
                [step.delay_days for step, _ in rows],
                [step.source for step, _ in rows],
            )

    async def save_messages(self, rows: Sequence[tuple[MessageRecordedV1, CompanyId | None]]) -> None:
        if rows:
            await self._session.execute(
                f"""
                INSERT INTO {self._in}messages AS known
                  (org_id, message_id, revision, account_id, company_id, campaign_id, lead_id, direction,
                                      step_number, occurred_at, source, channel, manual, inmail)
                SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[],
                                         $8::text[], $9::int[], $10::timestamptz[], $11::text[], $12::text[],
                                         $13::boolean[], $14::boolean[])
                ON CONFLICT (org_id, message_id) DO UPDATE SET revision = excluded.revision,
                  account_id = excluded.account_id, company_id = excluded.company_id, campaign_id = excluded.campaign_id,
                  lead_id = excluded.lead_id, direction = excluded.direction, step_number = excluded.step_number,
                  occurred_at = excluded.occurred_at, source = excluded.source, channel = excluded.channel,
                  manual = excluded.manual, inmail = excluded.inmail
                WHERE excluded.revision > known.revision
                """,
                self._org,
                [message.message_id for message, _ in rows],
                [message.revision for message, _ in rows],
                [message.account_id for message, _ in rows],
                [company for _, company in rows],
                [message.campaign_id for message, _ in rows],
                [message.lead_id for message, _ in rows],
                [message.direction for message, _ in rows],
                [message.sequence_step_number for message, _ in rows],
                [message.occurred_at for message, _ in rows],
                [message.source for message, _ in rows],
                [message.channel for message, _ in rows],
                [message.manual for message, _ in rows],
                [message.inmail for message, _ in rows],
            )

    async def save_engagements(self, rows: Sequence[tuple[EngagementRecordedV1, CompanyId | None]]) -> None:
        if rows:
            await self._session.execute(
                f"""
                INSERT INTO {self._in}engagements AS known
                  (org_id, engagement_id, revision, account_id, company_id, campaign_id, lead_id,
                                         message_id, kind, step_number, occurred_at, source, channel)
                SELECT $1, * FROM unnest($2::uuid[], $3::bigint[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[],
                                         $9::text[], $10::int[], $11::timestamptz[], $12::text[], $13::text[])
                ON CONFLICT (org_id, engagement_id) DO UPDATE SET revision = excluded.revision,
                  account_id = excluded.account_id, company_id = excluded.company_id, campaign_id = excluded.campaign_id,
                  lead_id = excluded.lead_id, message_id = excluded.message_id, kind = excluded.kind,
                  step_number = excluded.step_number, occurred_at = excluded.occurred_at, source = excluded.source,
                  channel = excluded.channel
                WHERE excluded.revision > known.revision
                """,
                self._org,
                [engagement.engagement_id for engagement, _ in rows],
                [engagement.revision for engagement, _ in rows],
                [engagement.account_id for engagement, _ in rows],
                [company for _, company in rows],
                [engagement.campaign_id for engagement, _ in rows],
                [engagement.lead_id for engagement, _ in rows],
                [engagement.message_id for engagement, _ in rows],
                [engagement.kind for engagement, _ in rows],
                [engagement.sequence_step_number for engagement, _ in rows],
                [engagement.occurred_at for engagement, _ in rows],
                [engagement.source for engagement, _ in rows],
                [engagement.channel for engagement, _ in rows],
            )

    async def clear_beside(self) -> None:
        for table in PROJECTIONS:
            await self._session.execute(f"DELETE FROM {_BESIDE}{table} WHERE org_id = $1", self._org)

    async def take_over(self) -> None:
        """What stands becomes what was made beside it: rows that are the same are not touched."""
        for table, key in PROJECTIONS.items():
            await self._session.execute(
                f"DELETE FROM {table} t WHERE org_id = $1 AND NOT EXISTS "
                f"(SELECT FROM {_BESIDE}{table} b WHERE b.org_id = $1 AND b.{key} = t.{key} AND b::text = t::text)",
                self._org,
            )
            await self._session.execute(
                f"INSERT INTO {table} SELECT b.* FROM {_BESIDE}{table} b WHERE b.org_id = $1 AND NOT EXISTS "
                f"(SELECT FROM {table} t WHERE t.org_id = $1 AND t.{key} = b.{key})",
                self._org,
            )

    async def hashes(self) -> dict[str, Rows]:
        """Projection -> its rows; the sum of rows' hashes tells two sets apart but for chance."""
        found = {}
        for table in PROJECTIONS:
            row = await self._session.fetchrow(
                f"SELECT count(*) AS n, sum(hashtextextended(t::text, 0)) AS h FROM {self._in}{table} t WHERE org_id = $1",
                self._org,
            )
            assert row is not None
            found[table] = Rows(row["n"], f"{int(row['h'] or 0) & (2**64 - 1):016x}")
        return found
