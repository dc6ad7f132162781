"""What is to be changed at a provider, as its provider names it. Row-level security decides which rows there are."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession


class TargetRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def campaign(self, channel: str, campaign_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT id, account_id, company_id, external_id FROM campaigns WHERE org_id = $1 AND id = $2 AND channel = $3",
            self._session.org_id,
            campaign_id,
            channel,
        )

    async def newest_campaign(self, account_id: UUID) -> str | None:
        """The external id of the campaign that was heard of last, of those that are not archived."""
        found = await self._session.fetchval(
            """
            SELECT external_id FROM campaigns WHERE org_id = $1 AND account_id = $2 AND status IS DISTINCT FROM 'archived'
            ORDER BY updated_at DESC, id LIMIT 1
            """,
            self._session.org_id,
            account_id,
        )
        return None if found is None else str(found)

    async def lead(self, account_id: UUID, lead_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT key, external_id FROM leads WHERE org_id = $1 AND id = $2 AND account_id = $3",
            self._session.org_id,
            lead_id,
            account_id,
        )

    async def conversation(self, conversation_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            """
            SELECT c.id, c.account_id, c.company_id, c.key, c.external_id, c.sender_external_id, l.key AS lead_key,
              l.external_id AS lead_external_id, m.external_id AS campaign_external_id
            FROM conversations c LEFT JOIN leads l ON l.org_id = c.org_id AND l.id = c.lead_id
              LEFT JOIN campaigns m ON m.org_id = c.org_id AND m.id = c.campaign_id
            WHERE c.org_id = $1 AND c.id = $2
            """,
            self._session.org_id,
            conversation_id,
        )

    async def message_key(self, conversation_id: UUID, message_id: UUID) -> str | None:
        found = await self._session.fetchval(
            "SELECT key FROM messages WHERE org_id = $1 AND id = $2 AND conversation_id = $3 AND direction IS NOT NULL",
            self._session.org_id,
            message_id,
            conversation_id,
        )
        return None if found is None else str(found)
