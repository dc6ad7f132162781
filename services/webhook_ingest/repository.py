"""All SQL of the service. Everything but the look-up of endpoints sees one org."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.database.engine import TenantSession, Transaction
from libs.errors import TransientError
from libs.ids import AccountId, OrgId
from services.webhook_ingest.domain import Arrival, Endpoint, First, Judged, Occurrence, Token

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
                one.arrival.token_id,
                one.arrival.source,
                one.arrival.source_listed,
            )
            for one in judged
        ]
        await self._session.execute(
            """
            INSERT INTO deliveries (org_id, id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                                    body, event_type, verdict, duplicate_of, quarantine_reason, headers,
                                    token_id, source_address, source_listed)
            SELECT $1, id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                   body, event_type, verdict, duplicate_of, quarantine_reason, headers::jsonb,
                   token_id, source_address::inet, source_listed
            FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bytea[],
                        $9::bytea[], $10::text[], $11::text[], $12::uuid[], $13::text[], $14::text[],
                        $15::uuid[], $16::text[], $17::boolean[])
              AS d (id, endpoint_id, account_id, provider, received_at, dedupe_key, body_sha256,
                    body, event_type, verdict, duplicate_of, quarantine_reason, headers,
                    token_id, source_address, source_listed)
            """,
            self._session.org_id,
            *(list(column) for column in zip(*rows, strict=True)),
        )

    async def lock_quarantined(self, ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """Those of `ids` that are quarantined, with their bytes, until the transaction ends; in the order of their ids."""
        rows = await self._session.fetch(
            """
            SELECT id, endpoint_id, account_id, provider, received_at, body, body_sha256, headers::text AS headers, token_id,
                   host(source_address) AS source_address, source_listed
            FROM deliveries WHERE org_id = $1 AND id = ANY($2::uuid[]) AND verdict = 'quarantined' ORDER BY id FOR UPDATE
            """,
            self._session.org_id,
            ids,
        )
        return [dict(row) for row in rows]

    async def release(self, judged: Sequence[Judged]) -> None:
        """Give quarantined deliveries the verdict that they would have had."""
        await self._session.execute(
            """
            UPDATE deliveries d SET verdict = r.verdict, duplicate_of = r.duplicate_of, dedupe_key = r.dedupe_key,
              event_type = r.event_type, released_at = now(), released_from = d.quarantine_reason, quarantine_reason = NULL
            FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::bytea[], $6::text[])
              AS r (id, verdict, duplicate_of, dedupe_key, event_type)
            WHERE d.org_id = $1 AND d.id = r.id
            """,
            self._session.org_id,
            [one.arrival.id for one in judged],
            [one.verdict for one in judged],
            [one.duplicate_of for one in judged],
            [one.arrival.dedupe_key for one in judged],
            [one.arrival.event_type for one in judged],
        )

    async def with_bodies(self, ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """Those of `ids` that were published, with their bytes, oldest first."""
        rows = await self._session.fetch(
            f"{_WHOLE} WHERE org_id = $1 AND id = ANY($2::uuid[]) AND verdict IN ('accepted', 'conflict') ORDER BY id",
            self._session.org_id,
            ids,
        )
        return [dict(row) for row in rows]

    async def published(
        self,
        *,
        account_id: UUID | None,
        endpoint_id: UUID | None,
        received_from: datetime | None,
        received_until: datetime | None,
        after: UUID | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """What was published of an account, an endpoint, a span of time, with its bytes; oldest first."""
        rows = await self._session.fetch(
            f"""
            {_WHOLE} WHERE org_id = $1 AND verdict IN ('accepted', 'conflict')
              AND ($2::uuid IS NULL OR account_id = $2) AND ($3::uuid IS NULL OR endpoint_id = $3)
              AND ($4::timestamptz IS NULL OR received_at >= $4) AND ($5::timestamptz IS NULL OR received_at < $5)
              AND ($6::uuid IS NULL OR id > $6)
            ORDER BY id LIMIT $7
            """,
            self._session.org_id,
            account_id,
            endpoint_id,
            received_from,
            received_until,
            after,
            limit,
        )
        return [dict(row) for row in rows]

    async def find_all(self, ids: Sequence[UUID]) -> list[dict[str, Any]]:
        """Without bodies, in no order."""
        rows = await self._session.fetch(
            f"{_SHOWN} FROM deliveries WHERE org_id = $1 AND id = ANY($2::uuid[])", self._session.org_id, ids
        )
        return [dict(row) for row in rows]

    async def page(self, *, verdict: str | None, before: UUID | None, limit: int) -> list[dict[str, Any]]:
        """Newest first, without bodies."""
        rows = await self._session.fetch(
            f"""
            {_SHOWN} FROM deliveries
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
            f"{_SHOWN}, body, headers::text AS headers FROM deliveries WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            delivery_id,
        )
        return None if row is None else dict(row)


_WHOLE = """
    SELECT id, endpoint_id, account_id, provider, received_at, body, body_sha256, headers::text AS headers, token_id,
    host(source_address) AS source_address, source_listed, verdict FROM deliveries
"""
_SHOWN = """
    SELECT id, endpoint_id, account_id, provider, received_at, event_type, verdict, duplicate_of, quarantine_reason,
    octet_length(body) AS size_bytes, body_sha256, host(source_address) AS source_address, source_listed, released_at,
    released_from
"""


class EndpointRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def save_all(self, endpoints: Iterable[Endpoint]) -> dict[UUID, UUID]:
        """Keep each endpoint unless a newer revision of it is known; answers the newest token of those that are open now.

        `endpoints` holds each id once. Replicas are woken when the transaction commits.
        """
        ordered = sorted(endpoints, key=lambda endpoint: endpoint.id)
        await self._session.execute(
            """
            INSERT INTO endpoints (org_id, id, account_id, provider, token_sha256, status, revision, token_id, source_mode,
                                   earlier_tokens, allowed_sources)
            SELECT $1, id, account_id, provider, token_sha256, status, revision, token_id, source_mode, earlier::jsonb,
                   coalesce(string_to_array(nullif(sources, ''), ',')::cidr[], '{}')
            FROM unnest($2::uuid[], $3::uuid[], $4::text[], $5::bytea[], $6::text[], $7::bigint[], $8::uuid[], $9::text[],
                        $10::text[], $11::text[])
              AS e (id, account_id, provider, token_sha256, status, revision, token_id, source_mode, earlier, sources)
            ON CONFLICT (org_id, id) DO UPDATE SET account_id = excluded.account_id, provider = excluded.provider,
              token_sha256 = excluded.token_sha256, status = excluded.status, revision = excluded.revision,
              token_id = excluded.token_id, source_mode = excluded.source_mode, earlier_tokens = excluded.earlier_tokens,
              allowed_sources = excluded.allowed_sources, changed_at = clock_timestamp()
            WHERE endpoints.revision < excluded.revision
            """,
            self._session.org_id,
            [endpoint.id for endpoint in ordered],
            [endpoint.account_id for endpoint in ordered],
            [endpoint.provider for endpoint in ordered],
            [endpoint.tokens[0].sha256 for endpoint in ordered],
            ["open" if endpoint.is_open else "closed" for endpoint in ordered],
            [endpoint.revision for endpoint in ordered],
            [endpoint.tokens[0].id for endpoint in ordered],
            ["enforce" if endpoint.enforces_sources else "observe" for endpoint in ordered],
            [_as_json(endpoint.tokens[1:]) for endpoint in ordered],
            [",".join(str(block) for block in endpoint.allowed_sources) for endpoint in ordered],
        )
        await self._session.execute("SELECT pg_notify($1, '')", ENDPOINTS_CHANNEL)
        rows = await self._session.fetch(
            """
            SELECT id, coalesce(token_id, id) AS token_id FROM endpoints
            WHERE org_id = $1 AND id = ANY($2::uuid[]) AND status = 'open'
            """,
            self._session.org_id,
            [endpoint.id for endpoint in ordered],
        )
        return {row["id"]: row["token_id"] for row in rows}


def _as_json(tokens: Sequence[Token]) -> str:
    rows = [
        {"id": token.id, "sha256": token.sha256.hex(), "ends_at": token.ends_at, "dead_at": token.dead_at}
        for token in tokens
    ]
    return orjson.dumps(rows).decode()


def _from_json(text: str) -> tuple[Token, ...]:
    return tuple(
        Token(
            id=UUID(row["id"]),
            sha256=bytes.fromhex(row["sha256"]),
            ends_at=row["ends_at"] and datetime.fromisoformat(row["ends_at"]),
            dead_at=row["dead_at"] and datetime.fromisoformat(row["dead_at"]),
        )
        for row in orjson.loads(text)
    )


async def known_endpoints(transaction: Transaction, changed_after: datetime | None) -> tuple[datetime, list[Endpoint]]:
    """The database's time and the endpoints of all orgs that changed after a moment of that clock (None: all)."""
    await transaction.as_service()
    now = await transaction.driver.fetchval("SELECT now()")
    rows = await transaction.driver.fetch(
        """
        SELECT endpoint_id, org_id, account_id, provider, token_id, token_sha256, earlier_tokens::text AS earlier_tokens,
               allowed_sources, source_mode, status, revision
        FROM door_endpoints_v2(coalesce($1::timestamptz, '-infinity'::timestamptz))
        """,
        changed_after,
    )
    return now, [
        Endpoint(
            id=row["endpoint_id"],
            org_id=OrgId(row["org_id"]),
            account_id=AccountId(row["account_id"]),
            provider=row["provider"],
            tokens=(Token(row["token_id"], row["token_sha256"]), *_from_json(row["earlier_tokens"])),
            is_open=row["status"] == "open",
            revision=row["revision"],
            allowed_sources=tuple(row["allowed_sources"]),
            enforces_sources=row["source_mode"] == "enforce",
        )
        for row in rows
    ]
