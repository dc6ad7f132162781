"""Reading the projections: which campaigns or steps a page shows, and what is counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession
from services.analytics.domain.figures import Completeness, Count, Window
from services.analytics.metrics import ENGAGEMENTS, WITHOUT_STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    campaign_id: UUID | None = None
    account_id: UUID | None = None
    channel: str | None = None


class FigureRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def time_zone(self) -> str:
        """The org's; UTC until its organization was heard of."""
        found = await self._session.fetchval("SELECT time_zone FROM organizations WHERE org_id = $1", self._org)
        return str(found or "UTC")

    async def has_campaign(self, campaign_id: UUID) -> bool:
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM campaigns WHERE org_id = $1 AND campaign_id = $2)", self._org, campaign_id
            )
        )

    async def has_account(self, account_id: UUID) -> bool:
        return bool(
            await self._session.fetchval(
                "SELECT EXISTS (SELECT FROM accounts WHERE org_id = $1 AND account_id = $2) "
                "OR EXISTS (SELECT FROM campaigns WHERE org_id = $1 AND account_id = $2)",
                self._org,
                account_id,
            )
        )

    async def campaigns(self, filters: Filters, after: UUID | None, limit: int) -> list[asyncpg.Record]:
        """Campaigns by id. The channel of one that is known by its children alone is theirs."""
        return await self._session.fetch(
            """
            SELECT * FROM (
              SELECT c.org_id, c.campaign_id, c.account_id, c.company_id, c.provider, c.name, c.status, coalesce(c.channel,
                (SELECT m.channel FROM messages m WHERE m.org_id = c.org_id AND m.campaign_id = c.campaign_id LIMIT 1),
                (SELECT e.channel FROM engagements e WHERE e.org_id = c.org_id AND e.campaign_id = c.campaign_id LIMIT 1)
              ) AS channel FROM campaigns c) AS known
            WHERE org_id = $1 AND ($2::uuid IS NULL OR campaign_id = $2) AND ($3::uuid IS NULL OR account_id = $3)
              AND ($4::text IS NULL OR channel = $4) AND ($5::uuid IS NULL OR campaign_id > $5)
            ORDER BY campaign_id LIMIT $6
            """,
            self._org,
            filters.campaign_id,
            filters.account_id,
            filters.channel,
            after,
            limit,
        )

    async def steps(self, filters: Filters, after: tuple[UUID, int] | None, limit: int) -> list[asyncpg.Record]:
        """Steps by (campaign, number): those told of, and those known only by what they sent or what was done with it.

        Not of channels whose providers tell no steps: what is known of some would look like all.
        """
        return await self._session.fetch(
            """
            WITH known AS (
              (SELECT campaign_id, number FROM steps
               WHERE org_id = $1 AND ($2::uuid IS NULL OR campaign_id = $2) AND ($3::uuid IS NULL OR account_id = $3)
                 AND ($5::uuid IS NULL OR (campaign_id, number) > ($5, $6)))
              UNION
              (SELECT campaign_id, step_number FROM messages
               WHERE org_id = $1 AND campaign_id IS NOT NULL AND step_number IS NOT NULL
                 AND ($2::uuid IS NULL OR campaign_id = $2) AND ($3::uuid IS NULL OR account_id = $3)
                 AND ($5::uuid IS NULL OR (campaign_id, step_number) > ($5, $6)) GROUP BY 1, 2)
              UNION
              (SELECT campaign_id, step_number FROM engagements
               WHERE org_id = $1 AND campaign_id IS NOT NULL AND step_number IS NOT NULL
                 AND ($2::uuid IS NULL OR campaign_id = $2) AND ($3::uuid IS NULL OR account_id = $3)
                 AND ($5::uuid IS NULL OR (campaign_id, step_number) > ($5, $6)) GROUP BY 1, 2)
            ), labelled AS (
              SELECT k.campaign_id, k.number, c.account_id, c.company_id, c.name AS campaign_name, coalesce(c.channel,
                (SELECT m.channel FROM messages m WHERE m.org_id = $1 AND m.campaign_id = k.campaign_id LIMIT 1),
                (SELECT e.channel FROM engagements e WHERE e.org_id = $1 AND e.campaign_id = k.campaign_id LIMIT 1)
              ) AS channel
              FROM known k JOIN campaigns c ON c.org_id = $1 AND c.campaign_id = k.campaign_id
            ), page AS (
              SELECT * FROM labelled
              WHERE ($4::text IS NULL OR channel = $4) AND coalesce(channel, '') <> ALL ($8::text[])
              ORDER BY campaign_id, number LIMIT $7
            )
            SELECT p.*, s.step_id, s.name, s.delay_days FROM page p LEFT JOIN LATERAL (
              SELECT step_id, name, delay_days FROM steps s
              WHERE s.org_id = $1 AND s.campaign_id = p.campaign_id AND s.number = p.number ORDER BY s.step_id LIMIT 1
            ) s ON true ORDER BY p.campaign_id, p.number
            """,
            self._org,
            filters.campaign_id,
            filters.account_id,
            filters.channel,
            after and after[0],
            after and after[1],
            limit,
            list(WITHOUT_STEPS),
        )

    async def channels_without_steps(self, filters: Filters) -> list[str]:
        """Of the campaigns meant, the channels that tell no steps."""
        return [
            row["channel"]
            for row in await self._session.fetch(
                """
                SELECT channel FROM unnest($5::text[]) AS without(channel)
                WHERE ($4::text IS NULL OR channel = $4) AND EXISTS (
                  SELECT FROM campaigns c WHERE c.org_id = $1 AND ($2::uuid IS NULL OR c.campaign_id = $2)
                    AND ($3::uuid IS NULL OR c.account_id = $3) AND coalesce(c.channel,
                      (SELECT m.channel FROM messages m WHERE m.org_id = $1 AND m.campaign_id = c.campaign_id LIMIT 1),
                      (SELECT e.channel FROM engagements e WHERE e.org_id = $1 AND e.campaign_id = c.campaign_id LIMIT 1)
                    ) = without.channel)
                ORDER BY channel
                """,
                self._org,
                filters.campaign_id,
                filters.account_id,
                filters.channel,
                list(WITHOUT_STEPS),
            )
        ]

    async def counts(self, campaigns: Sequence[UUID], *, by_step: bool, by_day: bool, window: Window) -> list[Count]:
        """What is counted of these campaigns, per metric, and per step and per day of the org where asked for.

        Without a window also what has no known time; within one only what surely falls into it.
        """
        rows = await self._session.fetch(
            """
            WITH bounced AS (
              SELECT DISTINCT message_id FROM engagements
              WHERE org_id = $1 AND campaign_id = ANY($2::uuid[]) AND kind = 'bounced' AND message_id IS NOT NULL
            ), told AS (
              SELECT m.campaign_id, m.step_number, m.lead_id, m.occurred_at, m.source, m.inmail,
                b.message_id IS NULL AS arrived,
                CASE WHEN m.direction = 'inbound' THEN 'replied'
                     WHEN coalesce(m.manual, m.channel = 'email' AND m.step_number IS NULL AND m.occurred_at IS NOT NULL)
                       THEN 'manual'
                     WHEN m.channel = 'email' THEN 'sent'
                     WHEN m.inmail THEN 'inmails_sent' ELSE 'messages_sent' END AS metric
              FROM messages m LEFT JOIN bounced b ON b.message_id = m.message_id
              WHERE m.org_id = $1 AND m.campaign_id = ANY($2::uuid[])
            ), occurrences AS (
              SELECT metric, campaign_id, step_number, lead_id, occurred_at, source FROM told
              UNION ALL  -- the same messages once more: their source counts above
              SELECT CASE metric WHEN 'sent' THEN 'delivered' WHEN 'replied' THEN 'inmail_replies' ELSE 'sent' END,
                campaign_id, step_number, lead_id, occurred_at, NULL FROM told
              WHERE (metric = 'sent' AND arrived) OR (metric = 'replied' AND inmail)
                OR metric IN ('messages_sent', 'inmails_sent')
              UNION ALL
              SELECT k.metric, e.campaign_id, coalesce(e.step_number, m.step_number), e.lead_id, e.occurred_at, e.source
              FROM engagements e
              JOIN unnest($3::text[], $9::text[], $10::text[]) AS k(channel, kind, metric)
                ON k.channel = e.channel AND k.kind = e.kind
              LEFT JOIN messages m ON m.org_id = $1 AND m.message_id = e.message_id AND e.step_number IS NULL
              WHERE e.org_id = $1 AND e.campaign_id = ANY($2::uuid[])
            ), per_lead AS (  -- first by lead: counting DISTINCT leads would sort where this hashes
              SELECT metric, campaign_id, CASE WHEN $4 THEN step_number END AS step,
                CASE WHEN $5 THEN (occurred_at AT TIME ZONE $6::text)::date END AS day, lead_id,
                count(*) AS total, count(*) FILTER (WHERE occurred_at IS NULL) AS undated,
                count(*) FILTER (WHERE source = 'webhook') AS webhook, count(*) FILTER (WHERE source = 'pull') AS pull,
                count(*) FILTER (WHERE source = 'inferred') AS inferred
              FROM occurrences
              WHERE (NOT $4 OR step_number IS NOT NULL)
                AND ($7::date IS NULL OR occurred_at >= $7::date::timestamp AT TIME ZONE $6::text)
                AND ($8::date IS NULL OR occurred_at < ($8::date + 1)::timestamp AT TIME ZONE $6::text)
              GROUP BY 1, 2, 3, 4, 5
            )
            SELECT metric, campaign_id, step, day, sum(total)::bigint AS total, count(*) AS leads,
              sum(undated)::bigint AS undated, sum(webhook)::bigint AS webhook, sum(pull)::bigint AS pull,
              sum(inferred)::bigint AS inferred
            FROM per_lead GROUP BY 1, 2, 3, 4
            """,
            self._org,
            list(campaigns),
            [channel for channel, _, _ in ENGAGEMENTS],
            by_step,
            by_day,
            window.time_zone,
            window.first,
            window.last,
            [kind for _, kind, _ in ENGAGEMENTS],
            [metric for _, _, metric in ENGAGEMENTS],
        )
        return [Count(**dict(row)) for row in rows]

    async def undated(self, campaigns: Sequence[UUID], *, by_step: bool) -> dict[tuple[UUID, int | None], int]:
        """Messages whose time nobody knows: no window can hold them."""
        rows = await self._session.fetch(
            """
            SELECT campaign_id, CASE WHEN $3 THEN step_number END AS step, count(*) AS messages FROM messages
            WHERE org_id = $1 AND campaign_id = ANY($2::uuid[]) AND occurred_at IS NULL
              AND (NOT $3 OR step_number IS NOT NULL)
            GROUP BY 1, 2
            """,
            self._org,
            list(campaigns),
            by_step,
        )
        return {(row["campaign_id"], row["step"]): row["messages"] for row in rows}

    async def completeness(self, campaigns: Sequence[UUID]) -> dict[UUID, Completeness]:
        """Of each campaign: messages by which it is known to differ from its provider, and when last it was compared.

        A drift is open while it was told later than the last completed comparison.
        """
        rows = await self._session.fetch(
            """
            SELECT c.campaign_id, r.told_at AS last_reconciled_at,
              coalesce(sum(d.missing + d.surplus) FILTER (
                WHERE r.told_at IS NULL OR (d.told_at, d.event_id) > (r.told_at, r.event_id)), 0)::bigint AS open_drift
            FROM unnest($2::uuid[]) AS c(campaign_id)
            LEFT JOIN reconciled r ON r.org_id = $1 AND r.campaign_id = c.campaign_id
            LEFT JOIN drifts d ON d.org_id = $1 AND d.campaign_id = c.campaign_id
            GROUP BY c.campaign_id, r.told_at
            """,
            self._org,
            list(campaigns),
        )
        return {row["campaign_id"]: Completeness(row["open_drift"], row["last_reconciled_at"]) for row in rows}
