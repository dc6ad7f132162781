"""What a provider last said of a campaign, and what our rows count of it. Seen by whoever sees the campaign."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.database.engine import TenantSession


class CampaignSnapshotRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def keep(self, campaign_id: UUID, kind: str, content: Mapping[str, Any], as_of: datetime) -> None:
        """In place of the one before: an account's jobs are done one at a time, so what is kept last was read last."""
        await self._session.execute(
            """
            INSERT INTO campaign_snapshots (org_id, campaign_id, kind, content, as_of)
            SELECT org_id, id, $3, $4::jsonb, $5 FROM campaigns WHERE org_id = $1 AND id = $2
            ON CONFLICT (org_id, campaign_id, kind)
              DO UPDATE SET content = excluded.content, as_of = excluded.as_of, read_at = now()
            """,
            self._session.org_id,
            campaign_id,
            kind,
            orjson.dumps(content).decode(),
            as_of,
        )

    async def find(self, channel: str, campaign_id: UUID, kind: str) -> asyncpg.Record | None:
        """The campaign with its snapshot of `kind`, whose columns are NULL when it was never read; None: no such campaign."""
        return await self._session.fetchrow(
            """
            SELECT c.id, c.account_id, c.company_id, s.content::text AS content, s.as_of, s.read_at
            FROM campaigns c LEFT JOIN campaign_snapshots s ON s.org_id = c.org_id AND s.campaign_id = c.id AND s.kind = $4
            WHERE c.org_id = $1 AND c.id = $2 AND c.channel = $3
            """,
            self._session.org_id,
            campaign_id,
            channel,
            kind,
        )

    async def count_messages(self, campaign_id: UUID) -> asyncpg.Record:
        """By who wrote them: a sequence (`sent`; a message of which only an open or a reply is known was sent, too), InMails of
        it apart, or the lead."""
        row = await self._session.fetchrow(
            """
            SELECT count(*) FILTER (WHERE is_sent) AS sent,
              count(*) FILTER (WHERE is_sent AND inmail) AS inmails_sent,
              count(DISTINCT lead_id) FILTER (WHERE is_sent) AS leads_contacted,
              count(*) FILTER (WHERE direction = 'inbound') AS replied,
              count(DISTINCT lead_id) FILTER (WHERE direction = 'inbound' AND inmail) AS unique_inmail_replied,
              count(DISTINCT lead_id) FILTER (WHERE direction = 'inbound') AS unique_replied,
              count(DISTINCT lead_id) FILTER (WHERE direction = 'inbound' AND inmail IS NOT TRUE) AS unique_message_replied
            FROM (
              SELECT lead_id, direction, inmail,
                direction = 'outbound' AND NOT coalesce(manual, channel = 'email' AND step_number IS NULL
                                                                AND occurred_at IS NOT NULL) AS is_sent
              FROM messages WHERE org_id = $1 AND campaign_id = $2 AND direction IS NOT NULL
            ) AS m
            """,
            self._session.org_id,
            campaign_id,
        )
        assert row is not None
        return row

    async def count_engagements(self, campaign_id: UUID) -> list[asyncpg.Record]:
        """(kind, total, unique): occurrences, and the leads behind them."""
        return await self._session.fetch(
            """
            SELECT kind, count(*) AS total, count(DISTINCT lead_id) AS "unique"
            FROM engagements WHERE org_id = $1 AND campaign_id = $2 AND kind IS NOT NULL GROUP BY kind
            """,
            self._session.org_id,
            campaign_id,
        )

    async def count_leads(self, campaign_id: UUID) -> int:
        """Who is known to be in the campaign."""
        counted = await self._session.fetchval(
            "SELECT count(*) FROM enrolments WHERE org_id = $1 AND campaign_id = $2 AND state IS DISTINCT FROM 'removed'",
            self._session.org_id,
            campaign_id,
        )
        return int(counted)
