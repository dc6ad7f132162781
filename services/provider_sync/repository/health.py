"""How far each campaign is known: when webhooks told of it, and up to when it was read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession


class CampaignWebhooks:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def note(self, heard: Mapping[UUID, datetime]) -> None:
        """Webhooks told of these campaigns then. To ten seconds: a campaign's webhooks all meet in its row."""
        if not heard:
            return
        ids = sorted(heard)
        await self._session.execute(
            """
            INSERT INTO campaign_webhooks AS known (org_id, campaign_id, first_at, last_at)
            SELECT $1, r.id, r.at, r.at FROM unnest($2::uuid[], $3::timestamptz[]) AS r (id, at)
            ON CONFLICT (org_id, campaign_id) DO UPDATE SET last_at = excluded.last_at
              WHERE known.last_at < excluded.last_at - interval '10 seconds'
            """,
            self._session.org_id,
            ids,
            [heard[one] for one in ids],
        )


class HealthRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def account(self, account_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT status FROM accounts WHERE org_id = $1 AND id = $2", self._session.org_id, account_id
        )

    async def read(self, account_id: UUID, campaign_external_id: str) -> asyncpg.Record | None:
        """Of the campaign's lists and the account's own: when all of them had been read, and what kept one from it."""
        return await self._session.fetchrow(
            """
            SELECT count(*) FILTER (WHERE read_at IS NULL) AS unread, count(*) AS lists, min(read_at) AS read_at,
              min(full_at) AS full_at, min(bookmark) AS bookmark, (array_agg(error) FILTER (WHERE error IS NOT NULL))[1] AS error
            FROM sync_cursors WHERE org_id = $1 AND account_id = $2 AND campaign_external_id IN ($3, '')
            """,
            self._session.org_id,
            account_id,
            campaign_external_id,
        )

    async def last_runs(self, account_id: UUID) -> asyncpg.Record | None:
        """When the account was last read to its end, and why the last reading failed, if it did."""
        return await self._session.fetchrow(
            """
            SELECT (SELECT max(ended_at) FROM sync_runs WHERE org_id = $1 AND account_id = $2 AND state = 'succeeded'
                    AND campaign_id IS NULL) AS ended_at,
              (SELECT CASE WHEN state = 'failed' THEN error END FROM sync_runs WHERE org_id = $1 AND account_id = $2
               AND state IN ('succeeded', 'failed') ORDER BY created_at DESC, id DESC LIMIT 1) AS error
            """,
            self._session.org_id,
            account_id,
        )

    async def heard(self, campaign_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT first_at, last_at FROM campaign_webhooks WHERE org_id = $1 AND campaign_id = $2",
            self._session.org_id,
            campaign_id,
        )

    async def counted(
        self, campaign_id: UUID, *, webhook: int, pull: int, since: datetime | None, until: datetime | None
    ) -> asyncpg.Record:
        """Messages by who told them; `listed` and `told` are of the time from `since` to `until`, as far as both are known."""
        row = await self._session.fetchrow(
            """
            SELECT count(*) AS messages, count(*) FILTER (WHERE sources & $3 > 0) AS by_webhook,
              count(*) FILTER (WHERE sources & $4 > 0) AS by_pull,
              count(*) FILTER (WHERE sources & $4 > 0 AND occurred_at >= $5 AND occurred_at < $6) AS listed,
              count(*) FILTER (WHERE sources & $3 > 0 AND sources & $4 > 0 AND occurred_at >= $5 AND occurred_at < $6) AS told
            FROM messages WHERE org_id = $1 AND campaign_id = $2 AND direction IS NOT NULL
            """,
            self._session.org_id,
            campaign_id,
            webhook,
            pull,
            since,
            until,
        )
        assert row is not None
        return row
