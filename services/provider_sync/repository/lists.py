"""What is shown: pages by keyset, newest first, and single rows. Row-level security decides which rows there are."""

# ruff: noqa: S608 - only the texts at the end are put into statements; every value is a parameter

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession


class ShownRepository:
    """Pages answer one row more than `limit` when there is more; `after` is the sort key of the last row shown."""

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def campaigns(self, channel: str, after: tuple[datetime, UUID] | None, limit: int) -> list[asyncpg.Record]:
        at, identifier = after or (None, None)
        return await self._session.fetch(
            """
            SELECT * FROM campaigns WHERE org_id = $1 AND channel = $2
              AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
            ORDER BY created_at DESC, id DESC LIMIT $5
            """,
            self._session.org_id,
            channel,
            at,
            identifier,
            limit + 1,
        )

    async def campaign(self, channel: str, campaign_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT * FROM campaigns WHERE org_id = $1 AND id = $2 AND channel = $3",
            self._session.org_id,
            campaign_id,
            channel,
        )

    async def leads(
        self,
        after: tuple[datetime, UUID] | None,
        limit: int,
        *,
        channel: str | None,
        campaign_id: UUID | None,
        email: str | None,
    ) -> list[asyncpg.Record]:
        """Newest first. Those of a campaign are those who were put into it, and those to whom or by whom anything
        happened in it."""
        at, identifier = after or (None, None)
        # In the text only when asked for: behind an OR the planner could not begin with it.
        of_campaign = _LEADS_OF_CAMPAIGN if campaign_id is not None else "$7::uuid IS NULL"
        return await self._session.fetch(
            f"""
            SELECT * FROM leads l WHERE l.org_id = $1
              AND ($2::timestamptz IS NULL OR (l.created_at, l.id) < ($2, $3::uuid))
              AND ($4::text IS NULL OR l.email = $4)
              AND ($5::text IS NULL OR l.channel = $5)
              AND {of_campaign}
            ORDER BY l.created_at DESC, l.id DESC LIMIT $6
            """,
            self._session.org_id,
            at,
            identifier,
            email,
            channel,
            limit + 1,
            campaign_id,
        )

    async def same_people(self, leads: Sequence[asyncpg.Record], most: int) -> list[asyncpg.Record]:
        """(lead_id, id, channel) of other leads with the address or the LinkedIn profile of one of these; per lead at most
        `most`. Empty texts say that there is none, and equal nothing."""
        return await self._session.fetch(
            """
            SELECT one.id AS lead_id, other.id, other.channel
            FROM unnest($2::uuid[], $3::text[], $4::text[]) AS one (id, email, profile),
            LATERAL (
              (SELECT o.id, o.channel FROM leads o
                WHERE o.org_id = $1 AND o.email = one.email AND one.email <> '' AND o.id <> one.id LIMIT $5)
              UNION
              (SELECT o.id, o.channel FROM leads o
                WHERE o.org_id = $1 AND o.profile = one.profile AND o.profile <> '' AND o.id <> one.id LIMIT $5)
              ORDER BY id LIMIT $5
            ) AS other
            ORDER BY lead_id, id
            """,
            self._session.org_id,
            [lead["id"] for lead in leads],
            [lead["email"] for lead in leads],
            [lead["profile"] for lead in leads],
            most,
        )

    async def enrolments(self, leads: Sequence[asyncpg.Record], most: int) -> list[asyncpg.Record]:
        """(lead_id, campaign_id, state, state_seen_at) of the campaigns that these leads are in, or anything happened to them
        in; per lead at most `most`."""
        return await self._session.fetch(
            """
            SELECT one.id AS lead_id, known.campaign_id, n.state, n.versions->'state'->>0 AS state_seen_at
            FROM unnest($2::uuid[]) AS one (id)
            CROSS JOIN LATERAL (
              (SELECT n.campaign_id FROM enrolments n WHERE n.org_id = $1 AND n.lead_id = one.id LIMIT $3)
              UNION
              (SELECT c.campaign_id FROM conversations c
                WHERE c.org_id = $1 AND c.lead_id = one.id AND c.campaign_id IS NOT NULL LIMIT $3)
              UNION
              (SELECT e.campaign_id FROM engagements e
                WHERE e.org_id = $1 AND e.lead_id = one.id AND e.campaign_id IS NOT NULL LIMIT $3)
              ORDER BY campaign_id LIMIT $3
            ) AS known
            LEFT JOIN enrolments n ON n.org_id = $1 AND n.lead_id = one.id AND n.campaign_id = known.campaign_id
            ORDER BY lead_id, campaign_id
            """,
            self._session.org_id,
            [lead["id"] for lead in leads],
            most,
        )

    async def lead(self, lead_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT * FROM leads WHERE org_id = $1 AND id = $2", self._session.org_id, lead_id
        )

    async def conversations(
        self,
        after: tuple[datetime | None, UUID] | None,
        limit: int,
        *,
        channel: str | None,
        campaign_id: UUID | None,
    ) -> list[asyncpg.Record]:
        """Newest activity first; those without any known time last.

        Those of a campaign are those with a message of it: a thread on LinkedIn outlives the campaign that began it.
        """
        at, identifier = after or (None, None)
        of_campaign = _CONVERSATIONS_OF_CAMPAIGN if campaign_id is not None else "$6::uuid IS NULL"
        return await self._session.fetch(
            f"""{_CONVERSATION} WHERE c.org_id = $1
              AND ($2::uuid IS NULL OR (coalesce(c.last_activity_at, '-infinity'), c.id)
                < (coalesce($3::timestamptz, '-infinity'), $2))
              AND ($4::text IS NULL OR c.channel = $4)
              AND {of_campaign}
            ORDER BY coalesce(c.last_activity_at, '-infinity') DESC, c.id DESC LIMIT $5
            """,
            self._session.org_id,
            identifier,
            at,
            channel,
            limit + 1,
            campaign_id,
        )

    async def conversation(self, conversation_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            f"{_CONVERSATION} WHERE c.org_id = $1 AND c.id = $2", self._session.org_id, conversation_id
        )

    async def messages(
        self, conversation_id: UUID, after: tuple[datetime | None, UUID] | None, limit: int
    ) -> list[asyncpg.Record]:
        """Oldest first; those without a known time last. What is only referred to is no message to be shown."""
        at, identifier = after or (None, None)
        return await self._session.fetch(
            """
            SELECT * FROM messages WHERE org_id = $1 AND conversation_id = $2 AND direction IS NOT NULL
              AND ($3::uuid IS NULL OR (coalesce(occurred_at, 'infinity'), id) > (coalesce($4::timestamptz, 'infinity'), $3))
            ORDER BY coalesce(occurred_at, 'infinity'), id LIMIT $5
            """,
            self._session.org_id,
            conversation_id,
            identifier,
            at,
            limit + 1,
        )

    async def last_webhook_at(self, account_id: UUID | None = None, *, channel: str | None = None) -> datetime | None:
        """When the account (None: any of which the caller sees a campaign, on this channel) was last heard of."""
        found = await self._session.fetchval(
            """
            SELECT max(e.last_webhook_at) FROM endpoints e WHERE e.org_id = $1
              AND CASE WHEN $2::uuid IS NULL
                THEN EXISTS (SELECT 1 FROM campaigns c WHERE c.org_id = e.org_id AND c.account_id = e.account_id
                  AND ($3::text IS NULL OR c.channel = $3))
                ELSE e.account_id = $2 END
            """,
            self._session.org_id,
            account_id,
            channel,
        )
        return found if isinstance(found, datetime) else None


_CONVERSATION = """
    SELECT c.*, l.email AS lead_email, l.profile_url AS lead_profile_url
    FROM conversations c LEFT JOIN leads l ON l.org_id = c.org_id AND l.id = c.lead_id
"""

_LEADS_OF_CAMPAIGN = """l.id IN (
    SELECT c.lead_id FROM conversations c WHERE c.org_id = $1 AND c.campaign_id = $7
    UNION SELECT m.lead_id FROM messages m WHERE m.org_id = $1 AND m.campaign_id = $7
    UNION SELECT e.lead_id FROM engagements e WHERE e.org_id = $1 AND e.campaign_id = $7
    UNION SELECT n.lead_id FROM enrolments n WHERE n.org_id = $1 AND n.campaign_id = $7)"""

_CONVERSATIONS_OF_CAMPAIGN = """c.id IN (
    SELECT o.id FROM conversations o WHERE o.org_id = $1 AND o.campaign_id = $6
    UNION SELECT m.conversation_id FROM messages m WHERE m.org_id = $1 AND m.campaign_id = $6)"""
