"""The counts that every service told, and what they say of each hop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.contracts.events import LedgerCountedV1
from libs.database.engine import TenantSession
from libs.ids import OrgId
from services.analytics.domain.ledger import DOOR, HEARD, Bucket, Hop

_SHOWN_BUCKETS = 20
_NO_IDS = f"{0:032x}"


class LedgerRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def add(self, events: Sequence[LedgerCountedV1]) -> None:
        """Add changes of counts. Addition and XOR commute; that each is added once is the inbox's promise."""
        changes: dict[tuple[str, str, datetime, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for event in events:
            for told in event.counts:
                entry = changes[told.event_type, told.hop, told.bucket, told.state, event.service]
                entry[0] += told.count
                entry[1] ^= int(told.ids_xor or _NO_IDS, 16)
        keys = sorted(changes)  # one order for all: crossing batches cannot deadlock
        await self._session.execute(
            """
            INSERT INTO ledger_counts (org_id, event_type, hop, bucket, state, service, count, ids_xor)
            SELECT $1, event_type, hop, bucket, state, service, count, ('x' || ids)::bit(128)
            FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::bigint[], $8::text[])
              AS e(event_type, hop, bucket, state, service, count, ids)
            ON CONFLICT (org_id, event_type, hop, bucket, state, service) DO UPDATE
            SET count = ledger_counts.count + excluded.count, ids_xor = ledger_counts.ids_xor # excluded.ids_xor
            """,
            self._org,
            [key[0] for key in keys],
            [key[1] for key in keys],
            [key[2] for key in keys],
            [key[3] for key in keys],
            [key[4] for key in keys],
            [changes[key][0] for key in keys],
            [f"{changes[key][1]:032x}" for key in keys],
        )

    async def hops(self, listeners: Sequence[tuple[str, str]], settle_seconds: float) -> list[Hop]:
        """Every (event type, queue): its sums, and what is unaccounted for in buckets older than `settle_seconds`."""
        rows = await self._session.fetch(
            """
            WITH pairs AS (SELECT * FROM unnest($2::text[], $3::text[]) AS p(event_type, queue)),
            buckets AS (
              SELECT p.event_type, p.queue, l.bucket,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.event_type), 0)::bigint AS entered,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.queue AND l.state = 'done'), 0)::bigint AS done,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.queue AND l.state = 'due'), 0)::bigint AS due,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.queue AND l.state = 'dead'), 0)::bigint AS dead,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.queue AND l.state = 'parked'), 0)::bigint AS parked,
                coalesce(sum(l.count) FILTER (WHERE l.hop = p.queue AND l.state = 'discarded'), 0)::bigint AS discarded,
                sum(l.count * CASE WHEN l.hop = p.event_type THEN 1 ELSE -1 END)::bigint AS on_the_way,
                bit_xor(l.ids_xor) <> 0::bit(128) AS ids_differ
              FROM pairs p JOIN ledger_counts l ON l.org_id = $1 AND l.event_type = p.event_type
                AND l.hop IN (p.event_type, p.queue)
              GROUP BY 1, 2, 3
            ), judged AS (
              SELECT *, bucket <= now() - $4::float8 * interval '1 second' AND (on_the_way <> 0 OR ids_differ) AS wrong
              FROM buckets
            )
            SELECT p.event_type, p.queue, coalesce(sum(entered), 0)::bigint AS entered,
              coalesce(sum(done), 0)::bigint AS done, coalesce(sum(due), 0)::bigint AS due,
              coalesce(sum(dead), 0)::bigint AS dead, coalesce(sum(parked), 0)::bigint AS parked,
              coalesce(sum(discarded), 0)::bigint AS discarded,
              coalesce(sum(greatest(abs(on_the_way), 1)) FILTER (WHERE wrong), 0)::bigint AS unaccounted,
              (array_agg(bucket ORDER BY bucket) FILTER (WHERE wrong))[:$5] AS buckets,
              (array_agg(on_the_way ORDER BY bucket) FILTER (WHERE wrong))[:$5] AS ways
            FROM pairs p LEFT JOIN judged j ON j.event_type = p.event_type AND j.queue = p.queue
            GROUP BY 1, 2 ORDER BY 1, 2
            """,
            self._org,
            [event_type for event_type, _ in listeners],
            [queue for _, queue in listeners],
            settle_seconds,
            _SHOWN_BUCKETS,
        )
        return [_hop(row, row["event_type"], row["queue"], HEARD) for row in rows]

    async def door(self, settle_seconds: float) -> Hop:
        """What came to the door: accepted = published + duplicate + quarantined + not yet told."""
        row = await self._session.fetchrow(
            """
            WITH buckets AS (
              SELECT bucket, coalesce(sum(count) FILTER (WHERE state = 'accepted'), 0)::bigint AS entered,
                coalesce(sum(count) FILTER (WHERE state = 'published'), 0)::bigint AS published,
                coalesce(sum(count) FILTER (WHERE state = 'duplicate'), 0)::bigint AS duplicate,
                coalesce(sum(count) FILTER (WHERE state = 'quarantined'), 0)::bigint AS quarantined,
                sum(count * CASE WHEN state = 'accepted' THEN 1 ELSE -1 END)::bigint AS on_the_way,
                bit_xor(ids_xor) <> 0::bit(128) AS ids_differ
              FROM ledger_counts WHERE org_id = $1 AND hop = 'door' GROUP BY 1
            ), judged AS (
              SELECT *, bucket <= now() - $2::float8 * interval '1 second' AND (on_the_way <> 0 OR ids_differ) AS wrong
              FROM buckets
            )
            SELECT coalesce(sum(entered), 0)::bigint AS entered, coalesce(sum(published), 0)::bigint AS published,
              coalesce(sum(duplicate), 0)::bigint AS duplicate, coalesce(sum(quarantined), 0)::bigint AS quarantined,
              coalesce(sum(greatest(abs(on_the_way), 1)) FILTER (WHERE wrong), 0)::bigint AS unaccounted,
              (array_agg(bucket ORDER BY bucket) FILTER (WHERE wrong))[:$3] AS buckets,
              (array_agg(on_the_way ORDER BY bucket) FILTER (WHERE wrong))[:$3] AS ways
            FROM judged
            """,
            self._org,
            settle_seconds,
            _SHOWN_BUCKETS,
        )
        assert row is not None
        return _hop(row, "", "door", DOOR)

    async def fold(self, listeners: Sequence[tuple[str, str]], older_than: timedelta) -> int:
        """Add up into its (UTC) day every minute older than this that balances, with all listeners and at the door.

        Answers how many rows went. Sums and XORs stay the same; a count that comes later begins the minute anew and is added
        to the day in its turn. Who adds to a minute meanwhile is waited for, and what they added goes along.
        """
        return await self._session.execute(
            """
            WITH pairs AS (
              SELECT * FROM unnest($2::text[], $3::text[]) AS p(event_type, queue)
            ), old AS (
              SELECT * FROM ledger_counts
              WHERE org_id = $1 AND bucket < now() - $4::interval AND bucket <> date_trunc('day', bucket, 'UTC')
            ), open AS (
              SELECT o.event_type, o.bucket FROM pairs p JOIN old o ON o.event_type = p.event_type
                AND o.hop IN (p.event_type, p.queue)
              GROUP BY o.event_type, o.bucket, p.queue
              HAVING sum(o.count * CASE WHEN o.hop = p.event_type THEN 1 ELSE -1 END) <> 0
                OR bit_xor(o.ids_xor) <> 0::bit(128)
              UNION
              SELECT event_type, bucket FROM old WHERE hop = 'door' GROUP BY event_type, bucket
              HAVING sum(count * CASE WHEN state = 'accepted' THEN 1 ELSE -1 END) <> 0 OR bit_xor(ids_xor) <> 0::bit(128)
            ), gone AS (
              DELETE FROM ledger_counts c WHERE c.org_id = $1 AND c.bucket < now() - $4::interval
                AND c.bucket <> date_trunc('day', c.bucket, 'UTC')
                AND NOT EXISTS (SELECT FROM open WHERE open.event_type = c.event_type AND open.bucket = c.bucket)
              RETURNING c.*
            ), kept AS (
              INSERT INTO ledger_counts (org_id, event_type, hop, bucket, state, service, count, ids_xor)
              SELECT org_id, event_type, hop, date_trunc('day', bucket, 'UTC'), state, service, sum(count), bit_xor(ids_xor)
              FROM gone GROUP BY 1, 2, 3, 4, 5, 6
              ON CONFLICT (org_id, event_type, hop, bucket, state, service) DO UPDATE
              SET count = ledger_counts.count + excluded.count, ids_xor = ledger_counts.ids_xor # excluded.ids_xor
            )
            SELECT FROM gone
            """,
            self._org,
            [event_type for event_type, _ in listeners],
            [queue for _, queue in listeners],
            older_than,
        )


async def orgs_with_counts(session: TenantSession, past: UUID | None, most: int) -> list[OrgId]:
    """Organizations that have counts, by id, after `past`; whichever tenant's the session is, it sees ids of all."""
    rows = await session.fetch("SELECT org_id FROM orgs_with_counts_v1($1, $2)", past, most)
    return [OrgId(row["org_id"]) for row in rows]


def _hop(row: asyncpg.Record, event_type: str, queue: str, states: Sequence[str]) -> Hop:
    return Hop(
        event_type=event_type,
        queue=queue,
        entered=row["entered"],
        states={state: row[state] for state in states},
        unaccounted=row["unaccounted"],
        worst=tuple(
            Bucket(bucket=bucket, on_the_way=way, ids_differ=way == 0)
            for bucket, way in zip(row["buckets"] or (), row["ways"] or (), strict=True)
        ),
    )
