"""The outbox: events that were decided and must still be told, in the transaction of what they tell.

Rows are taken by state under SKIP LOCKED, round-robin over orgs, and never by `id > last`: ids commit out of order, and such
a reader skips the late ones for ever. A row goes only when every listener's broker queue or inbox has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from libs.contracts.envelope import Envelope

# An event that nobody can take is tried again this often: it waits for a person, who binds a queue.
RETURNED_RETRY_SECONDS = 10


@dataclass(frozen=True, slots=True)
class OutboxRow:
    id: UUID
    org_id: UUID
    type: str
    envelope: bytes


def channel(schema: str) -> str:
    """The NOTIFY channel that wakes the schema's relay."""
    return f"outbox_{schema}"


async def insert(driver: asyncpg.Connection, schema: str, envelopes: Sequence[Envelope]) -> None:
    """Add events and wake the relay (once, at commit). The transaction must be in the dispatch role."""
    if not envelopes:
        return
    await driver.execute(
        f"WITH told AS (INSERT INTO {schema}.outbox (id, org_id, type, envelope) "
        "SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[])) SELECT pg_notify($5, '')",
        [envelope.id for envelope in envelopes],
        [envelope.org_id for envelope in envelopes],
        [envelope.type for envelope in envelopes],
        [envelope.raw for envelope in envelopes],
        channel(schema),
    )


async def take(driver: asyncpg.Connection, schema: str, limit: int) -> list[OutboxRow]:
    """Lock up to about `limit` unsent rows, an equal share for each org that has some; returned ones last.

    The recursive part hops over the index from org to org, so a flood of one org is not read to find the others.
    """
    rows = await driver.fetch(
        f"""
        WITH RECURSIVE orgs AS (
          (SELECT org_id FROM {schema}.outbox WHERE returned_at IS NULL ORDER BY org_id LIMIT 1)
          UNION ALL
          SELECT (SELECT o.org_id FROM {schema}.outbox o WHERE o.returned_at IS NULL AND o.org_id > orgs.org_id
                  ORDER BY o.org_id LIMIT 1)
          FROM orgs WHERE orgs.org_id IS NOT NULL
        ), known AS (SELECT org_id FROM orgs WHERE org_id IS NOT NULL)
        SELECT picked.* FROM known CROSS JOIN LATERAL (
          SELECT id, org_id, type, envelope FROM {schema}.outbox o
          WHERE o.org_id = known.org_id AND o.returned_at IS NULL
          ORDER BY id LIMIT greatest(1, $1 / (SELECT count(*) FROM known)) FOR UPDATE SKIP LOCKED
        ) picked
        """,
        limit,
    )
    if len(rows) < limit:
        rows += await driver.fetch(
            f"SELECT id, org_id, type, envelope FROM {schema}.outbox WHERE returned_at < now() - $1 * interval '1 second' "
            "ORDER BY returned_at LIMIT $2 FOR UPDATE SKIP LOCKED",
            RETURNED_RETRY_SECONDS,
            limit - len(rows),
        )
    return [OutboxRow(row["id"], row["org_id"], row["type"], row["envelope"]) for row in rows]


async def delete(driver: asyncpg.Connection, schema: str, ids: Sequence[UUID]) -> None:
    """Forget what every listener has."""
    if ids:
        await driver.execute(f"DELETE FROM {schema}.outbox WHERE id = ANY($1::uuid[])", list(ids))


async def mark_returned(driver: asyncpg.Connection, schema: str, ids: Sequence[UUID]) -> None:
    """Keep what no queue took; it is tried again last."""
    if ids:
        await driver.execute(
            f"UPDATE {schema}.outbox SET returned_at = now(), returns = returns + 1 WHERE id = ANY($1::uuid[])",
            list(ids),
        )
