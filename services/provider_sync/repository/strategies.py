"""What our rows tell of how an account's messages came to us."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.database.engine import TenantSession
from libs.providers.sightings import CampaignStatus, Source
from services.provider_sync.domain.merging import bit
from services.provider_sync.domain.strategy import Evidence


class StrategyRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def evidence(self, account_id: UUID, since: datetime) -> Evidence:
        """Of messages, those that happened since then; what is only referred to counts for nothing."""
        row = await self._session.fetchrow(
            """
            SELECT count(*) FILTER (WHERE m.sources & $5 = $3) AS by_webhook_only,
              count(*) FILTER (WHERE m.sources & $5 = $4) AS by_pull_only,
              count(*) FILTER (WHERE m.sources & $5 = $5) AS by_both,
              count(*) FILTER (WHERE m.sources & $5 = $4 AND m.occurred_at > a.created_at) AS missed_by_webhooks,
              count(*) FILTER (WHERE m.campaign_id IS NULL) AS without_campaign,
              count(*) FILTER (WHERE m.step_number IS NULL) AS without_step
            FROM messages m JOIN accounts a ON a.org_id = m.org_id AND a.id = m.account_id
            WHERE m.org_id = $1 AND m.account_id = $2 AND m.occurred_at >= $6 AND m.direction IS NOT NULL
              AND m.sources & $5 <> 0
            """,
            self._session.org_id,
            account_id,
            bit(Source.WEBHOOK),
            bit(Source.PULL),
            bit(Source.WEBHOOK) | bit(Source.PULL),
            since,
        )
        beside = await self._session.fetchrow(
            """
            SELECT
              (SELECT count(*) FROM engagements g JOIN campaigns c ON c.org_id = g.org_id AND c.id = g.campaign_id
               WHERE g.org_id = $1 AND c.account_id = $2 AND g.occurred_at >= $3) AS engagements,
              (SELECT count(*) FROM campaigns c WHERE c.org_id = $1 AND c.account_id = $2 AND c.status = $4)
                AS running_campaigns,
              e.status AS endpoint_status, e.last_webhook_at AS heard_at, e.token_made_at AS registered_at
            FROM (SELECT) one LEFT JOIN endpoints e ON e.org_id = $1 AND e.account_id = $2
            """,
            self._session.org_id,
            account_id,
            since,
            CampaignStatus.ACTIVE.value,
        )
        assert row is not None
        assert beside is not None
        return Evidence(**dict(row), **dict(beside))
