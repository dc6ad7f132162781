"""What we hold of a campaign, to be compared with its provider."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from libs.database.engine import TenantSession
from libs.ids import CompanyId
from services.provider_sync.domain.comparing import OurMessage


class HeldMessages:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def of_campaign(self, campaign_id: UUID) -> list[OurMessage]:
        """Its messages by natural key. Outbound ones with other keys than these are of a kind that no provider lists."""
        rows = await self._session.fetch(
            """
            SELECT m.key, m.direction, m.occurred_at, l.key AS lead_key,
              (m.versions -> 'direction' ->> 0)::timestamptz AS seen_at
            FROM messages m JOIN leads l ON l.org_id = m.org_id AND l.id = m.lead_id
            WHERE m.org_id = $1 AND m.campaign_id = $2
              AND (m.direction = 'inbound' OR (m.direction = 'outbound' AND (m.key LIKE 'sent:%' OR m.key LIKE 'manual:%')))
            """,
            self._session.org_id,
            campaign_id,
        )
        return [
            OurMessage(
                key=row["key"],
                kind="sent" if row["direction"] == "outbound" else "reply",
                lead_key=row["lead_key"],
                occurred_at=row["occurred_at"],
                seen_at=row["seen_at"],
            )
            for row in rows
        ]

    async def sent_by_sequences(self, conversation_ids: Iterable[UUID], message_ids: Iterable[str]) -> set[str]:
        """Which of these Message-IDs are those of mails that a sequence sent in these conversations."""
        rows = await self._session.fetch(
            """
            SELECT DISTINCT internet_message_id FROM messages WHERE org_id = $1 AND conversation_id = ANY($2::uuid[])
              AND internet_message_id = ANY($3::text[]) AND direction = 'outbound' AND manual IS NOT TRUE
            """,
            self._session.org_id,
            sorted(conversation_ids),
            sorted(message_ids),
        )
        return {row["internet_message_id"] for row in rows}

    async def campaigns_of_threads(self, conversation_ids: Iterable[UUID]) -> dict[UUID, tuple[str, datetime]]:
        """Of conversations in which one campaign alone is known to have written: its external id, and since when."""
        rows = await self._session.fetch(
            """
            SELECT m.conversation_id, min(c.external_id) AS external_id, min(m.occurred_at) AS since
            FROM messages m JOIN campaigns c ON c.org_id = m.org_id AND c.id = m.campaign_id
            WHERE m.org_id = $1 AND m.conversation_id = ANY($2::uuid[]) AND m.direction = 'outbound'
              AND m.manual IS NOT TRUE AND m.occurred_at IS NOT NULL
            GROUP BY m.conversation_id HAVING count(DISTINCT m.campaign_id) = 1
            """,
            self._session.org_id,
            sorted(conversation_ids),
        )
        return {row["conversation_id"]: (row["external_id"], row["since"]) for row in rows}

    async def companies(self, campaign_ids: Iterable[UUID]) -> dict[UUID, CompanyId]:
        """The companies of those campaigns that we know."""
        rows = await self._session.fetch(
            "SELECT id, company_id FROM campaigns WHERE org_id = $1 AND id = ANY($2::uuid[])",
            self._session.org_id,
            sorted(set(campaign_ids)),
        )
        return {row["id"]: row["company_id"] for row in rows}

    async def external_id(self, campaign_id: UUID, account_id: UUID) -> str | None:
        """The provider's id of one of the account's campaigns."""
        found = await self._session.fetchval(
            "SELECT external_id FROM campaigns WHERE org_id = $1 AND id = $2 AND account_id = $3",
            self._session.org_id,
            campaign_id,
            account_id,
        )
        return found if isinstance(found, str) else None
