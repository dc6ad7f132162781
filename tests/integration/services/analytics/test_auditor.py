"""The auditor: what is lost or doubled behind everybody's back is found, and by the command too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from uuid import UUID

import asyncpg
import pytest
import structlog
from typer.testing import CliRunner, Result

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.events import LedgerCount, LedgerCountedV1
from libs.database.engine import Database
from libs.ids import OrgId, public_id
from libs.messaging import ledger
from libs.messaging.work import Units
from libs.observability import metrics
from services.analytics.auditor import Auditor
from services.cli.main import app
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.analytics.conftest import Agency, Analytics

FACTS, LEDGER = "analytics.facts", "analytics.ledger"
LONG_AGO = UUID("01900000-0000-7000-8000-000000000000")  # minted in 2024: its minute is settled, and old


class House:
    """provider_sync tells messages, analytics hears them; each hop by hand, so that something can go wrong between two."""

    def __init__(self, analytics: Analytics, sender: Units, admin: asyncpg.Connection) -> None:
        self.analytics = analytics
        self.sender = sender
        self.admin = admin
        self.auditor = Auditor(analytics.database, settle_seconds=0, every_seconds=60)

    async def tell(self, agency: Agency, *keys: str) -> list[UUID]:
        async with self.sender.begin(agency.org_id) as work:
            work.published += [agency.message(key) for key in keys]
        return [envelope.id for envelope in work.published]

    async def carry(self, database: Database, queue: str, kind: str) -> None:
        """All of this kind that the outbox holds, into analytics' queue."""
        rows = await self.admin.fetch(f"DELETE FROM {database.schema}.outbox WHERE type = $1 RETURNING envelope", kind)
        await self.analytics.hears(*_read(rows), queue=queue)

    async def settle(self) -> int | None:
        """Carry messages, then both sides' counts; answers what the auditor finds."""
        await self.carry(self.sender.database, FACTS, "message.recorded.v1")
        for database in (self.sender.database, self.analytics.database):
            await ledger.fold(database, database.service.replace("_", "-"))
            await self.carry(database, LEDGER, LedgerCountedV1.routing_key)
        return await self.auditor.judge_all()


def _read(rows: Sequence[asyncpg.Record]) -> list[Envelope]:
    return [envelopes.read(row["envelope"]) for row in rows]


@pytest.fixture
async def house(analytics: Analytics, units: Callable[[str], Units], migrated: MigratedDatabase):
    admin = await asyncpg.connect(migrated.admin_url)
    yield House(analytics, units("provider_sync"), admin)
    await admin.close()
    metrics.forget(metrics.UNACCOUNTED)


@pytest.fixture
def audit(migrated: MigratedDatabase, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", migrated.url("analytics"))

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, ["audit", "ledger", *words]))

    return run


async def test_one_event_lost_and_another_doubled_behind_our_back_are_caught(
    house: House, audit, agency: Agency, stranger: Agency
) -> None:
    first, second, _ = await house.tell(agency, "m1", "m2", "m3")
    await house.tell(stranger, "m1", "m2")
    (doubled,) = await house.admin.fetch("SELECT envelope FROM provider_sync.outbox WHERE id = $1", first)
    assert await house.admin.execute("DELETE FROM provider_sync.outbox WHERE id = $1", second) == "DELETE 1"
    await house.carry(house.sender.database, FACTS, "message.recorded.v1")
    assert await house.admin.execute("DELETE FROM analytics.inbox WHERE event_id = $1", first) == "DELETE 1"
    await house.analytics.hears(*_read([doubled]))

    with structlog.testing.capture_logs() as logs:
        assert await house.settle() == 1
        assert await house.settle() == 1

    assert metrics.value(metrics.UNACCOUNTED) == 1
    (said,) = [entry for entry in logs if entry["event"] == "ledger_unbalanced"]  # once, not at every look
    assert (said["org_id"], said["queue"], said["ids_differ"]) == (str(agency.org_id), FACTS, True)

    told = await audit("--json", "--settle-seconds", "0")
    assert told.exit_code == 1, told.output
    document = json.loads(told.stdout)
    assert (document["balanced"], document["unaccounted"]) == (False, 1)
    found = {one["organization"]: one for one in document["organizations"]}
    assert found[public_id("org", stranger.org_id)]["unaccounted"] == 0
    (hop,) = [one for one in found[public_id("org", agency.org_id)]["hops"] if one["unaccounted"]]
    assert (hop["queue"], hop["sent"], hop["states"]["done"], hop["on_the_way"]) == (FACTS, 3, 3, 0)
    assert "not the same ones" in hop["advice"]

    shown = await audit("--settle-seconds", "0")
    assert shown.exit_code == 1
    assert f"{public_id('org', stranger.org_id)}  balances" in shown.stdout
    assert f"{public_id('org', agency.org_id)}  1 unaccounted for" in shown.stdout
    assert "message.recorded.v1 → analytics.facts, minutes" in shown.stderr


async def test_what_is_lost_is_caught_and_found_again_when_it_comes_late(
    house: House, audit, agency: Agency, stranger: Agency
) -> None:
    (lost,) = await house.tell(agency, "m1")
    await house.tell(stranger, "m1")
    held = await house.admin.fetch("DELETE FROM provider_sync.outbox WHERE id = $1 RETURNING envelope", lost)
    assert await house.settle() == 1

    assert (await audit("--settle-seconds", "0", "--org", public_id("org", agency.org_id))).exit_code == 1
    assert (await audit("--settle-seconds", "0", "--org", public_id("org", stranger.org_id))).exit_code == 0
    assert (await audit("--org", public_id("org", agency.org_id))).exit_code == 0, "its minute has not settled yet"

    await house.analytics.hears(*_read(held))
    with structlog.testing.capture_logs() as logs:
        assert await house.settle() == 0
    assert [entry["org_id"] for entry in logs if entry["event"] == "ledger_balances_again"] == [str(agency.org_id)]
    assert metrics.value(metrics.UNACCOUNTED) == 0
    assert (await audit("--settle-seconds", "0")).exit_code == 0


async def test_an_unknown_organization_has_no_ledger(audit, agency: Agency) -> None:
    told = await audit("--org", public_id("org", agency.org_id))
    assert told.exit_code == 1
    assert "no event" in str(told.exception)


async def test_old_minutes_that_balance_become_days_and_the_others_stay(
    house: House, agency: Agency, stranger: Agency
) -> None:
    """Two minutes of two days that balance, one that does not; the sums and the verdict stay the same."""
    day, minute = 24 * 60 * 60_000, 60_000
    well = [_id(0), _id(minute), _id(2 * minute), _id(day)]
    odd = _id(3 * minute)
    told = [_count("sent", one) for one in [*well, odd]] + [_count("done", one) for one in well]
    await house.analytics.hears(*(_counted(agency, one) for one in told), queue=LEDGER)
    await house.analytics.hears(*(_counted(stranger, one) for one in told[:1]), queue=LEDGER)

    before = await _sums(house, agency.org_id)
    assert await house.auditor.judge_all() == 2
    rows = await _rows(house, agency.org_id)
    assert await house.auditor.judge_all() == 2

    assert [(row["bucket"].hour, row["bucket"].minute, row["state"], row["count"]) for row in rows] == [
        (0, 0, "done", 3), (0, 0, "sent", 3), (*_clock(odd), "sent", 1), (0, 0, "done", 1), (0, 0, "sent", 1),
    ]  # fmt: skip
    assert await _sums(house, agency.org_id) == before
    assert await _rows(house, agency.org_id) == rows

    # A dead letter of a folded minute that is replayed begins the minute anew, and is folded in its turn.
    late = [_count("done", well[0], -1), _count("dead", well[0])]
    await house.analytics.hears(*(_counted(agency, one) for one in [*late, _count("done", odd)]), queue=LEDGER)
    assert await house.auditor.judge_all() == 1
    assert [row["count"] for row in await _rows(house, agency.org_id)] == [1, 3, 4, 1, 1]


def _clock(id_: UUID) -> tuple[int, int]:
    bucket = ledger.bucket_of(id_)
    return bucket.hour, bucket.minute


def _id(later_ms: int) -> UUID:
    return UUID(int=LONG_AGO.int + (later_ms << 80) + later_ms + 1)


def _count(state: str, id_: UUID, count: int = 1) -> LedgerCount:
    kind = "message.recorded.v1"
    return LedgerCount(
        hop=kind if state == "sent" else FACTS, event_type=kind, bucket=ledger.bucket_of(id_), state=state, count=count,
        ids_xor=f"{id_.int:032x}",
    )  # fmt: skip


def _counted(agency: Agency, count: LedgerCount) -> Envelope:
    service = "provider-sync" if count.state == "sent" else "analytics"
    return agency.seal(LedgerCountedV1(service=service, counts=(count,)), source=service)


async def _rows(house: House, org_id: OrgId) -> list[asyncpg.Record]:
    return list(
        await house.admin.fetch(
            "SELECT bucket, state, count, ids_xor FROM analytics.ledger_counts WHERE org_id = $1 AND event_type = "
            "'message.recorded.v1' ORDER BY bucket, state",
            org_id,
        )
    )


async def _sums(house: House, org_id: OrgId) -> list[tuple[object, ...]]:
    rows = await house.admin.fetch(
        "SELECT hop, state, sum(count), bit_xor(ids_xor) FROM analytics.ledger_counts WHERE org_id = $1 GROUP BY 1, 2 "
        "ORDER BY 1, 2",
        org_id,
    )
    return [tuple(row) for row in rows]
