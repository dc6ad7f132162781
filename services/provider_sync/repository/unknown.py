"""Webhooks that stated nothing we can read: counted, so that a new type of a provider is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from libs.database.engine import TenantSession
from libs.ids import AccountId


@dataclass(slots=True)
class Count:
    count: int
    first_seen: datetime
    last_seen: datetime

    def add(self, at: datetime) -> None:
        self.count += 1
        self.first_seen, self.last_seen = min(self.first_seen, at), max(self.last_seen, at)


class UnknownWebhookRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def add(self, counts: Mapping[tuple[AccountId, str], Count]) -> None:
        """Add to the counts by (account, event type)."""
        keys = sorted(counts)
        await self._session.execute(
            """
            INSERT INTO unknown_webhooks AS known (org_id, account_id, event_type, count, first_seen, last_seen)
            SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[])
            ON CONFLICT (org_id, account_id, event_type) DO UPDATE SET count = known.count + excluded.count,
              first_seen = least(known.first_seen, excluded.first_seen),
              last_seen = greatest(known.last_seen, excluded.last_seen)
            """,
            self._session.org_id,
            [account for account, _ in keys],
            [event_type for _, event_type in keys],
            [counts[key].count for key in keys],
            [counts[key].first_seen for key in keys],
            [counts[key].last_seen for key in keys],
        )
