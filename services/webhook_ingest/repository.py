"""All SQL of the service. Everything but the look-up of endpoints sees one org."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.database.engine import TenantSession, Transaction
from libs.errors import TransientError
from libs.ids import AccountId, OrgId
from services.webhook_ingest.domain import Arrival, Endpoint, First, Judged, Occurrence

# Raised at commit, so whoever listens reads rows that are there.
ENDPOINTS_CHANNEL = "webhook_ingest_endpoints"


class FirstVanished(TransientError):
    """The delivery that came first was deleted while this one was judged: judge again."""

    code = "first_vanished"


class DeliveryRepository:
    """Deliveries and what tells a first one from a repeated one.

    Both claims are an INSERT .. DO NOTHING, which waits for whoever holds the same key: if that transaction commits we are
    not the first and read who is, in a statement of its own for its newer snapshot; if it rolls back we are the first.
    """

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def claim(self, claims: Sequence[Arrival]) -> dict[Occurrence, First]:
        """The first delivery of each occurrence in `claims` (one each, sorted), these included."""
        if not claims:
            return {}
        rows = await self._session.fetch(
            """
            INSERT INTO occurrences (org_id, endpoint_id, dedupe_key, body_sha256, delivery_id)
            SELECT $1, * FROM unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::uuid[])
            ON CONFLICT (org_id, endpoint_id, dedupe_key) DO NOTHING RETURNING delivery_id
            """,
            *self._columns(claims),
        )
        ours = {row["delivery_id"] for row in rows}
        firsts = {one.occurrence: First(one.id, one.body_sha256) for one in claims if one.id in ours}
        lost = [one for one in claims if one.id not in ours]
        if lost:
            rows = await self._session.fetch(
                """
                SELECT endpoint_id, dedupe_key, body_sha256, delivery_id FROM occurrences
                JOIN unnest($2::uuid[], $3::bytea[]) AS wanted (endpoint_id, dedupe_key) USING (endpoint_id, dedupe_key)
                WHERE org_id = $1
                """,
                *self._columns(lost)[:3],
            )
            for row in rows:
                firsts[row["endpoint_id"], row["dedupe_key"]] = First(row["delivery_id"], row["body_sha256"])
            if len(rows) < len(lost):
                raise FirstVanished("an occurrence was deleted while a delivery of it was judged")
        return firsts

    async def claim_variants(self, claims: Sequence[Arrival]) -> dict[tuple[Occurrence, bytes], UUID]:
        """The first delivery of each other body in `claims` (one each, sorted), these included."""
        if not claims:
            return {}
        rows = await self._session.fetch(
            """
            INSERT INTO occurrence_variants (org_id, endpoint_id, dedupe_key, body_sha256, delivery_id)
            SELECT $1, * FROM unnest($2::uuid[], $3::bytea[], $4::bytea[], $5::uuid[])
            ON CONFLICT (org_id, endpoint_id, dedupe_key, body_sha256) DO NOTHING RETURNING delivery_id
            """,
            *self._columns(claims),
        )
        ours = {row["delivery_id"] for row in rows}
        firsts = {(one.occurrence, one.body_sha256): one.id for one in claims if one.id in ours}
        lost = [one for one in claims if one.id not in ours]
        if lost:
            rows = await self._session.fetch(
                """
                SELECT endpoint_id, dedupe_key, body_sha256, delivery_id FROM occurrence_variants
                JOIN unnest($2::uuid[], $3::bytea[], $4::bytea[]) AS wanted (endpoint_id, dedupe_key, body_sha256)
                  USING (endpoint_id, dedupe_key, body_sha256)
                WHERE org_id = $1
                """,
                *self._columns(lost)[:4],
            )
            for row in rows:
                firsts[(row["endpoint_id"], row["dedupe_key"]), row["body_sha256"]] = row["delivery_id"]
            if len(rows) < len(lost):
                raise FirstVanished("an occurrence was deleted while a delivery of it was judged")
        return firsts

    def _columns(self, arrivals: Sequence[Arrival]) -> tuple[Any, ...]:
        return (
            self._session.org_id,
            [one.endpoint.id for one in arrivals],
            [one.dedupe_key for one in arrivals],
            [one.body_sha256 for one in arrivals],
            [one.id for one in arrivals],
        )

    async def save(self, judged: Sequence[Judged]) -> None:
        rows = [
            (
                one.arrival.id,
                one.arrival.endpoint.id,
                one.arrival.endpoint.account_id,
                one.arrival.endpoint.provider,
                one.arrival.received_at,
                one.arrival.dedupe_key,
                one.arrival.body_sha256,
                one.arrival.body,
                one.arrival.event_type,
                one.verdict,
                one.duplicate_of,
                one.arrival.quarantine_reason,
                one.arrival.headers,
            )
            for one in judged
        ]
        await self._session.execute(
            """
            INSERT INTO deliveries (org_id, id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                                    body, event_type, verdict, duplicate_of, quarantine_reason, headers)
            SELECT $1, id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                   body, event_type, verdict, duplicate_of, quarantine_reason, headers::jsonb
            FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bytea[],
                        $9::bytea[], $10::text[], $11::text[], $12::uuid[], $13::text[], $14::text[])
              AS d (id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                    body, event_type, verdict, duplicate_of, quarantine_reason, headers)
            """,
            self._session.org_id,
            *(list(column) for column in zip(*rows, strict=True)),
        )

    async def page(self, *, verdict: str | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Newest first, without bodies."""
        rows = await self._session.fetch(
            """
            SELECT id, endpoint_id, account_id, provider, received_at, event_type, verdict, duplicate_of,
                   quarantine_reason, octet_length(body) AS size_bytes, body_sha256
            FROM deliveries
            WHERE org_id = $1 AND ($2::text IS NULL OR verdict = $2) AND ($3::uuid IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4
            """,
            self._session.org_id,
            verdict,
            before,
            limit,
        )
        return [dict(row) for row in rows]

    async def find(self, delivery_id: UUID) -> dict[str, Any] | None:
        """With `body` (bytes) and `headers` (JSON text)."""
        row = await self._session.fetchrow(
            """
            SELECT id, endpoint_id, account_id, provider, received_at, event_type, verdict, duplicate_of,
                   quarantine_reason, octet_length(body) AS size_bytes, body_sha256, body, headers::text AS headers
            FROM deliveries WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            delivery_id,
        )
        return None if row is None else dict(row)


class EndpointRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def save_all(self, endpoints: Iterable[Endpoint]) -> set[UUID]:
        """Keep each endpoint unless a newer revision of it is known; answers those that are open now.

        `endpoints` holds each id once. Replicas are woken when the transaction commits.
        """
        ordered = sorted(endpoints, key=lambda endpoint: endpoint.id)
        await self._session.execute(
            """
            INSERT INTO endpoints (org_id, id, account_id, provider, token_sha256, status, revision)
            SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::bigint[])
            ON CONFLICT (org_id, id) DO UPDATE SET account_id = excluded.account_id, provider = excluded.provider,
              token_sha256 = excluded.token_sha256, status = excluded.status, revision = excluded.revision,
              changed_at = clock_timestamp()
            WHERE endpoints.revision < excluded.revision
            """,
            self._session.org_id,
            [endpoint.id for endpoint in ordered],
            [endpoint.account_id for endpoint in ordered],
            [endpoint.provider for endpoint in ordered],
            [endpoint.token_sha256 for endpoint in ordered],
            ["open" if endpoint.is_open else "closed" for endpoint in ordered],
            [endpoint.revision for endpoint in ordered],
        )
        await self._session.execute("SELECT pg_notify($1, '')", ENDPOINTS_CHANNEL)
        rows = await self._session.fetch(
            "SELECT id FROM endpoints WHERE org_id = $1 AND id = ANY($2::uuid[]) AND status = 'open'",
            self._session.org_id,
            [endpoint.id for endpoint in ordered],
        )
        return {row["id"] for row in rows}


async def known_endpoints(transaction: Transaction, changed_after: datetime | None) -> tuple[datetime, list[Endpoint]]:
    """The database's time and the endpoints of all orgs that changed after a moment of that clock (None: all)."""
    now = await transaction.driver.fetchval("SELECT now()")
    rows = await transaction.driver.fetch(
        "SELECT * FROM door_endpoints(coalesce($1::timestamptz, '-infinity'::timestamptz))", changed_after
    )
    return now, [
        Endpoint(
            id=row["endpoint_id"],
            org_id=OrgId(row["org_id"]),
            account_id=AccountId(row["account_id"]),
            provider=row["provider"],
            token_sha256=row["token_sha256"],
            is_open=row["status"] == "open",
            revision=row["revision"],
        )
        for row in rows
    ]
