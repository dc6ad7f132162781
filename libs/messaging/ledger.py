"""The ledger: nothing is unaccounted for.

Per org and hop, `sent = done + due + dead + discarded + parked + on the way`, over distinct event ids. Whoever changes a
count inserts the change in the same transaction; a job folds the changes and publishes them. Each count carries the XOR of
its event ids, so one event lost and another counted twice does not balance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.events import LedgerCount, LedgerCountedV1
from libs.crash import crash_point
from libs.database.engine import Database
from libs.ids import OrgId
from libs.messaging import outbox

SENT = "sent"
UNCOUNTED = LedgerCountedV1.routing_key  # it tells of the counts: counting it would never end
_MINUTE_MS = 60_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MINUTE = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds()) // 60  # 48 bits of ms reach year 10889
_FOLDED_AT_ONCE = 20_000
_COUNTS_PER_EVENT = 500


def bucket_of(event_id: UUID) -> datetime:
    """The minute in which a UUIDv7 was minted: sender and listener compute the same one from the id alone.

    An id that tells no time (of unreadable bytes, or a stranger's) counts into 1970: it must not stop its consumer.
    """
    return _EPOCH + timedelta(minutes=_minute_of(event_id))


def _minute_of(event_id: UUID) -> int:
    minute = (event_id.int >> 80) // _MINUTE_MS
    return minute if event_id.int >> 76 & 0xF == 7 and minute < _LAST_MINUTE else 0


class Changes:
    """Changes of counts, gathered during a transaction and written with it."""

    def __init__(self) -> None:
        self._counts: dict[tuple[OrgId, str, str, int, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, org_id: OrgId, hop: str, event_type: str, event_id: UUID, state: str, count: int = 1) -> None:
        """`count` is +1 when an event enters the state, -1 when it leaves; the XOR flips either way."""
        if event_type == UNCOUNTED:
            return
        entry = self._counts[org_id, hop, event_type, _minute_of(event_id), state]
        entry[0] += count
        entry[1] ^= event_id.int

    def __bool__(self) -> bool:
        return bool(self._counts)

    def sent(self, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            self.add(envelope.org_id, envelope.type, envelope.type, envelope.id, SENT)

    async def write(self, driver: asyncpg.Connection, schema: str) -> None:
        """Insert what was gathered; the transaction must be in the dispatch role."""
        if not self._counts:
            return
        rows = [
            (org, hop, kind, _EPOCH + timedelta(minutes=minute), state, count, xor.to_bytes(16, "big"))
            for (org, hop, kind, minute, state), (count, xor) in self._counts.items()
        ]
        self._counts.clear()
        await driver.execute(
            f"INSERT INTO {schema}.ledger (org_id, hop, event_type, bucket, state, count, ids_xor) "
            "SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::int[], $7::bytea[])",
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def fold(database: Database, source: str) -> int:
    """Turn the changes written so far into `ledger.counted` events; answers how many changes were folded."""
    async with database.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch(
            f"DELETE FROM {database.schema}.ledger WHERE ctid = ANY(ARRAY(SELECT ctid FROM {database.schema}.ledger "
            f"LIMIT {_FOLDED_AT_ONCE} FOR UPDATE SKIP LOCKED)) RETURNING org_id, hop, event_type, bucket, state, count, ids_xor, "
            f"EXISTS (SELECT FROM {database.schema}.org_states s WHERE s.org_id = ledger.org_id AND s.state = 'erased') AS erased"
        )
        folded: dict[OrgId, dict[tuple[Any, ...], list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        for row in rows:
            if row["erased"]:  # there is nobody left to tell it of
                continue
            entry = folded[OrgId(row["org_id"])][row["hop"], row["event_type"], row["bucket"], row["state"]]
            entry[0] += row["count"]
            entry[1] ^= int.from_bytes(row["ids_xor"], "big")
        envelopes = []
        for org, counts in folded.items():
            told = [
                LedgerCount(hop=hop, event_type=kind, bucket=bucket, state=state, count=count, ids_xor=f"{xor:032x}")
                for (hop, kind, bucket, state), (count, xor) in sorted(counts.items())
                if count or xor
            ]
            for start in range(0, len(told), _COUNTS_PER_EVENT):
                event = LedgerCountedV1(service=source, counts=tuple(told[start : start + _COUNTS_PER_EVENT]))
                envelopes.append(contract.seal(event, source=source, org_id=org))
        await outbox.insert(transaction.driver, database.schema, envelopes)
        if envelopes:
            crash_point("ledger.folded")
        return len(rows)
