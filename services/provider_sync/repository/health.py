"""How far each campaign is known: when webhooks told of it, and up to when it was read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

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
