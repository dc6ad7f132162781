"""Tables cut into weeks: every id has one place, what is open outlives its week, and a part is reached through its table only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from libs.contracts.envelope import seal
from libs.database.engine import Database
from libs.database.names import SERVICES, dispatch_role, login_role
from libs.ids import EventId, OrgId, entity_id, new_id
from libs.messaging import inbox, retention
from libs.messaging.consumer import Consumer, RetryPolicy
from libs.messaging.retention import Retention, check_horizon
from libs.observability import metrics
from libs.settings import BadSetting
from tests.fixtures.database import MigratedDatabase

NOW = datetime.now(UTC)
KEEP = 30
CUT = {**{f"{service}.inbox": "event_id" for service in SERVICES}, "webhook_ingest.deliveries": "id"}


@pytest.fixture
async def admin(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated.admin_url)
    await connection.execute("SET search_path = analytics")
    yield connection
    await connection.close()


def minted(at: datetime, number: int = 0) -> UUID:
    """A UUIDv7 of that moment."""
    random = new_id().int & ((1 << 76) - 1) & ~(0xFFFF << 16) | number << 16
    return UUID(int=int(at.timestamp() * 1000) << 80 | 0x7 << 76 | random)


async def keep(admin: asyncpg.Connection, org_id: OrgId, event_id: UUID, state: str = "done") -> None:
    await admin.execute(
        "INSERT INTO analytics.inbox (consumer, event_id, org_id, type, subject, state) VALUES ('c', $1, $2, 't', 's', $3)",
        event_id, org_id, state,
    )  # fmt: skip


async def move(admin: asyncpg.Connection, at: datetime) -> tuple[int, int, int]:
    """What the service's function does, at another time."""
    row = await admin.fetchrow(
        "SELECT * FROM move_partitions_v1('inbox', 'event_id', $1, $2, $3)",
        "state NOT IN ('done', 'discarded')", at, KEEP,
    )  # fmt: skip
    assert row is not None
    return row["made"], row["dropped"], row["waiting"]


async def parts(admin: asyncpg.Connection) -> dict[str, int]:
    """Partition -> rows, those that hold any."""
    rows = await admin.fetch("SELECT tableoid::regclass::text AS part, count(*) AS n FROM inbox GROUP BY 1 ORDER BY 1")
    return {row["part"].removeprefix("inbox_"): row["n"] for row in rows}


async def test_every_id_has_a_place_and_only_one(admin: asyncpg.Connection, make_org: Callable[[], OrgId]) -> None:
    org = make_org()
    ids = [
        UUID(int=0), UUID(int=(1 << 128) - 1), entity_id(org, "unreadable", "x"),
        minted(NOW - timedelta(days=900)), minted(NOW), minted(NOW + timedelta(days=9)), minted(NOW + timedelta(days=4000)),
    ]  # fmt: skip
    for one in ids:
        await keep(admin, org, one)
    for one in ids:
        with pytest.raises(asyncpg.UniqueViolationError):
            await keep(admin, org, one)
    for weeks in range(1, 9):
        await move(admin, NOW + timedelta(weeks=weeks))
        for one in ids[4:6]:
            if await admin.fetchval("SELECT count(*) FROM inbox WHERE event_id = $1", one):
                with pytest.raises(asyncpg.UniqueViolationError):
                    await keep(admin, org, one)


async def test_a_week_is_dropped_with_what_is_done_and_what_is_open_stays(
    admin: asyncpg.Connection, make_org: Callable[[], OrgId]
) -> None:
    org, other = make_org(), make_org()
    states = ("done", "discarded", "due", "parked", "dead")
    for owner in (org, other):
        for number, state in enumerate(states):
            await keep(admin, owner, minted(NOW, number), state)
    young = minted(NOW + timedelta(days=14))
    await keep(admin, org, young)
    before = await admin.fetch("SELECT * FROM inbox WHERE state NOT IN ('done', 'discarded') ORDER BY org_id, event_id")

    assert (await move(admin, NOW + timedelta(days=KEEP - 1)))[1] == 0
    assert (await admin.fetchval("SELECT count(*) FROM inbox")) == 11
    late = NOW + timedelta(days=KEEP + 7)
    while (await move(admin, late))[1]:
        pass

    left = await admin.fetch("SELECT * FROM inbox WHERE event_id <> $1 ORDER BY org_id, event_id", young)
    assert left == before
    assert await admin.fetchval("SELECT count(*) FROM inbox_old") == 6
    assert await admin.fetchval("SELECT count(*) FROM inbox WHERE event_id = $1", young) == 1
    # It can be settled where it is now.
    await admin.execute("UPDATE inbox SET state = 'done' WHERE state = 'dead'")
    assert await admin.fetchval("SELECT count(*) FROM inbox WHERE state = 'done'") == 3


async def test_what_came_from_the_future_moves_into_its_week(
    admin: asyncpg.Connection, make_org: Callable[[], OrgId]
) -> None:
    org = make_org()
    ahead, never = minted(NOW + timedelta(days=60)), entity_id(org, "unreadable", "y")
    await keep(admin, org, ahead, "due")
    await keep(admin, org, never, "dead")
    assert await parts(admin) == {"later": 2}

    made, _, _ = await move(admin, NOW + timedelta(days=50))

    assert made > 0
    assert (await parts(admin))["later"] == 1
    assert (
        await admin.fetchval("SELECT tableoid::regclass::text FROM inbox WHERE event_id = $1", never) == "inbox_later"
    )


async def test_a_week_full_of_dead_letters_waits(admin: asyncpg.Connection, make_org: Callable[[], OrgId]) -> None:
    await admin.execute(
        "INSERT INTO inbox (consumer, event_id, org_id, type, subject, state) "
        "SELECT 'c', id_at_v1($2::bigint + n), $1, 't', 's', 'dead' FROM generate_series(1, 5001) AS n",
        make_org(),
        int(NOW.timestamp() * 1000),
    )
    late = NOW + timedelta(days=KEEP + 7)
    await move(admin, late)

    assert (await move(admin, late))[1:] == (0, 5001)
    assert await admin.fetchval("SELECT count(*) FROM inbox") == 5001

    await admin.execute(
        "UPDATE inbox SET state = 'discarded' WHERE event_id = (SELECT min(event_id::text)::uuid FROM inbox)"
    )
    assert (await move(admin, late))[1:] == (1, 0)
    assert await admin.fetchval("SELECT count(*) FROM inbox_old") == 5000


async def test_weeks_are_moved_while_events_are_claimed(
    admin: asyncpg.Connection, database: Callable[[str], Database], make_org: Callable[[], OrgId]
) -> None:
    """Four claim new ids and claim them again, of now and of weeks ahead, while border after border is moved."""
    analytics, org = database("analytics"), make_org()
    won: list[UUID] = []
    moved = asyncio.Event()

    async def claim(number: int) -> None:
        while not moved.is_set():
            some = [
                seal(type="t.v1", source="s", subject="s", org_id=org, data={},
                     event_id=EventId(minted(NOW + timedelta(days=days), number))) for days in (0, 27, 34, 41)
            ]  # fmt: skip
            for _ in range(2):
                async with analytics.transaction() as transaction:
                    await transaction.as_dispatch()
                    new, forgotten = await inbox.claim(transaction.driver, "analytics", "c", some)
                assert not forgotten
                won.extend(new)

    async def move_all() -> None:
        try:
            for days in range(28):
                await move(admin, NOW + timedelta(days=days))
        finally:
            moved.set()

    await asyncio.gather(move_all(), *(claim(number) for number in range(4)))

    rows = await admin.fetch("SELECT event_id FROM inbox")
    assert len(won) == len(set(won)) > 0
    assert {row["event_id"] for row in rows} == set(won)
    assert len(await parts(admin)) >= 4


async def test_who_holds_the_table_is_not_waited_for_long(
    admin: asyncpg.Connection, migrated: MigratedDatabase, database: Callable[[str], Database]
) -> None:
    """A transaction that reads the inbox goes on; the border is moved after it."""
    keeper = Retention(database("analytics"), {"inbox": KEEP})
    await take_newest_week(admin)
    weeks = await take_newest_week(admin)
    reader = await asyncpg.connect(migrated.admin_url)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT count(*) FROM analytics.inbox")
            assert await keeper.run_once() is False
            assert await count_parts(admin) == weeks
        assert await keeper.run_once() is True
        assert await count_parts(admin) > weeks
    finally:
        await reader.close()


async def take_newest_week(admin: asyncpg.Connection) -> int:
    """As if nobody had made it yet; answers how many parts are left."""
    newest = await admin.fetchrow(
        "SELECT name, begins FROM partitions_of_v1('inbox') WHERE ends IS NOT NULL AND begins IS NOT NULL "
        "ORDER BY begins DESC LIMIT 1"
    )
    assert newest is not None
    await admin.execute(
        f"DROP TABLE {newest['name']}; ALTER TABLE inbox DETACH PARTITION inbox_later; "
        f"ALTER TABLE inbox ATTACH PARTITION inbox_later FOR VALUES FROM ('{newest['begins']}') TO (MAXVALUE)"
    )
    return await count_parts(admin)


async def count_parts(admin: asyncpg.Connection) -> int:
    return len(await admin.fetch("SELECT FROM partitions_of_v1('inbox')"))


async def test_a_service_keeps_its_own_tables_and_tells_how_far(
    database: Callable[[str], Database], admin: asyncpg.Connection, make_org: Callable[[], OrgId]
) -> None:
    ingest = database("webhook_ingest")
    keeper = Retention(ingest, {"inbox": 30, "deliveries": 90})
    assert await keeper.run_once()
    labels = {"service": "webhook_ingest", "table": "deliveries"}
    assert metrics.value(metrics.OLDEST_ROW, **labels) == 0
    assert metrics.value(metrics.OLDEST_ALLOWED, **labels) == 97 * 86400
    kept = await retention.kept_of(ingest, "deliveries", 90)
    assert kept.oldest is None
    assert kept.made_until > NOW + timedelta(weeks=3)
    assert not kept.is_short(NOW)
    assert kept.is_short(NOW + timedelta(weeks=6))

    for owner, days in ((make_org(), 100), (make_org(), 20)):
        await keep_delivery(admin, owner, minted(NOW - timedelta(days=days)))
    kept = await retention.kept_of(ingest, "deliveries", 90)
    assert kept.oldest is not None
    assert abs(kept.oldest - (NOW - timedelta(days=100))) < timedelta(seconds=1)
    assert kept.is_overdue(NOW)
    assert not (await retention.kept_of(ingest, "deliveries", 95)).is_overdue(NOW)


async def keep_delivery(admin: asyncpg.Connection, org_id: OrgId, delivery_id: UUID) -> None:
    await admin.execute(
        "INSERT INTO webhook_ingest.deliveries (org_id, id, endpoint_id, account_id, provider, received_at, body_sha256, body, "
        "event_type, verdict, headers) VALUES ($1, $2, $2, $2, 'smartlead', now(), '', '', '', 'accepted', '[]')",
        org_id, delivery_id,
    )  # fmt: skip


@pytest.mark.parametrize("days", [13, 0, -1])
async def test_a_service_cannot_forget_what_is_young(database: Callable[[str], Database], days: int) -> None:
    async with database("analytics").transaction() as transaction:
        await transaction.as_service()
        with pytest.raises(asyncpg.RaiseError):
            await transaction.driver.fetch("SELECT inbox_partitions_v1($1)", days)
        await transaction.driver.execute("ROLLBACK")
        transaction.begun = False


async def test_no_part_is_reached_but_through_its_table(admin: asyncpg.Connection, migrated: MigratedDatabase) -> None:
    """No right on it, and row-level security without a policy behind that."""
    found = await admin.fetch(
        "SELECT c.oid::regclass::text AS name, n.nspname AS schema, c.relrowsecurity, c.relacl::text, "
        "i.inhparent::regclass::text AS parent, (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_inherits i ON i.inhrelid = c.oid "
        "WHERE c.relispartition AND c.relkind = 'r' AND n.nspname = ANY($1)",
        list(SERVICES),
    )
    await admin.execute("SET search_path = pg_catalog")
    assert {f"{row['schema']}.{row['parent'].split('.')[-1]}" for row in found} == set(CUT)
    assert all(row["relrowsecurity"] and not row["policies"] for row in found)

    for row in found:
        name = f"{row['schema']}.{row['name'].split('.')[-1]}"
        for role in (login_role(migrated.template, row["schema"]), dispatch_role(migrated.template, row["schema"])):
            async with as_role(admin, role):
                for attempt in (f"SELECT FROM {name}", f"DELETE FROM {name}", f"TRUNCATE {name}", f"DROP TABLE {name}",
                                f"UPDATE {name} SET org_id = org_id", f"INSERT INTO {name} DEFAULT VALUES"):  # fmt: skip
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await admin.execute(attempt)


@asynccontextmanager
async def as_role(admin: asyncpg.Connection, role: str) -> AsyncIterator[None]:
    await admin.execute(f'SET ROLE "{role}"')
    try:
        yield
    finally:
        await admin.execute("RESET ROLE")


async def test_no_table_has_a_default_partition(admin: asyncpg.Connection) -> None:
    assert await admin.fetch("SELECT FROM pg_partitioned_table WHERE partdefid <> 0") == []


def test_a_consumer_that_retries_for_longer_than_is_remembered_is_refused() -> None:
    async def handle(*_: object) -> None: ...

    def consumer(days: float) -> Consumer:
        return Consumer("q", (), handle, RetryPolicy(delays_seconds=(days * 86400,)))

    check_horizon([consumer(14)], 30)
    with pytest.raises(BadSetting, match="OUTRIDER_INBOX_DAYS"):
        check_horizon([consumer(14), consumer(16)], 30)
