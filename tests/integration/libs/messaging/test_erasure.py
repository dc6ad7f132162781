"""An erased organization's rows go from every table there is, whoever is killed on the way; nobody else's are touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest

from libs.clock import now
from libs.contracts.envelope import Envelope
from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import registry
from libs.contracts.events import ErasureProgressedV1, OrganizationErasedV1
from libs.database.engine import Database, OrganizationErased
from libs.database.names import SERVICES, process_name
from libs.ids import PLATFORM_ORG, CompanyId, OrgId, new_id
from libs.messaging import erasure, inbox
from libs.messaging.erasure import Eraser, tenant_tables
from libs.messaging.standing import set_standing
from libs.messaging.work import UnitOfWork, Units
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.database.tables import Table, fill, let_anything_in, tables
from tests.integration.libs.messaging.house import until

A, B = OrgId(new_id()), OrgId(new_id())
A1, A2, B1 = (CompanyId(new_id()) for _ in range(3))
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture
async def admin(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated.admin_url)
    yield connection
    await connection.close()


@pytest.fixture
async def filled(admin: asyncpg.Connection) -> list[Table]:
    """Every tenant table of every service, with rows of A (in two companies, and in none) and of B."""
    await let_anything_in(admin)
    found = [table for table in await tables(admin) if table.is_tenants and table.name != erasure.KEPT]
    for table in found:
        owners: list[tuple[OrgId, CompanyId | None]] = [(A, A1), (B, B1), (A, A2)]
        if table.has_company and "company_id" not in table.required:
            owners.append((A, None))
        for place, (org, company) in enumerate(owners):
            await fill(admin, table, org, company, 10 * place + 1)
    return found


async def erase(database: Database, org_id: OrgId) -> None:
    async with Units(database, process_name(database.service)).begin(org_id) as work:
        await set_standing(work.session, "erased", 1)


async def count(admin: asyncpg.Connection, found: list[Table], org_id: OrgId) -> dict[str, int]:
    return {
        table.name: await admin.fetchval(f"SELECT count(*) FROM {table} WHERE org_id = $1", org_id) for table in found
    }


async def contents(admin: asyncpg.Connection, found: list[Table], org_id: OrgId) -> dict[str, str]:
    sql = "SELECT coalesce(string_agg(md5(t::text), ' ' ORDER BY t::text), '') FROM {} t WHERE org_id = $1"
    return {table.name: await admin.fetchval(sql.format(table), org_id) for table in found}


async def progress(admin: asyncpg.Connection, service: str) -> list[ErasureProgressedV1]:
    rows = await admin.fetch(
        f"SELECT org_id, envelope FROM {service}.outbox WHERE type = 'erasure.progressed.v1' ORDER BY id"
    )
    assert {row["org_id"] for row in rows} <= {PLATFORM_ORG}
    opened = [registry.open(read_envelope(row["envelope"])) for row in rows]
    return [one for one in opened if isinstance(one, ErasureProgressedV1)]


@every_service
async def test_no_table_is_forgotten_and_the_others_rows_stay(
    admin: asyncpg.Connection, filled: list[Table], database: Callable[[str], Database], service: str
) -> None:
    mine = [table for table in filled if table.schema == service]
    before, theirs = await count(admin, mine, A), await contents(admin, mine, B)
    assert all(before.values())
    await erase(database(service), A)

    await Eraser(database(service), process_name(service)).run_due()

    assert set((await count(admin, mine, A)).values()) == {0}
    assert await contents(admin, mine, B) == theirs
    told = await progress(admin, service)
    assert (told[-1].state, told[-1].service, told[-1].organization_id) == ("completed", process_name(service), A)
    assert told[-1].tables == before
    (tombstone,) = await admin.fetch(f"SELECT * FROM {service}.org_states WHERE org_id = $1", A)
    assert (tombstone["state"], tombstone["finished_at"] is None) == ("erased", False)
    # All that it has of the organization is an id, times and counts.
    assert orjson.loads(tombstone["deleted"]) == before
    assert set(tombstone.keys()) == {
        "org_id", "state", "revision", "changed_at", "deleted", "refused", "refused_told", "finished_at",
    }  # fmt: skip


async def test_a_job_killed_anywhere_goes_on_and_its_counts_stay_true(
    admin: asyncpg.Connection,
    filled: list[Table],
    database: Callable[[str], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed at its n-th batch, before and after its commit, for every n that there is."""
    monkeypatch.setattr(erasure, "BATCH_ROWS", 1)
    monkeypatch.setattr(erasure, "_SWEPT_BLOCKS", 1)
    mine = [table for table in filled if table.schema == "provider_sync"]
    before, theirs = await count(admin, mine, A), await contents(admin, mine, B)
    await erase(database("provider_sync"), A)
    delete = Eraser._delete
    kills = 0

    class Killed(BaseException):
        pass

    async def killed(self: Eraser, *arguments: Any) -> int:
        nonlocal kills
        kills += 1
        if kills % 2:
            raise Killed
        gone = await delete(self, *arguments)
        if gone:
            raise Killed
        return gone

    monkeypatch.setattr(Eraser, "_delete", killed)
    rounds = 0
    while not (
        await progress(admin, "provider_sync") and (await progress(admin, "provider_sync"))[-1].state == "completed"
    ):
        rounds += 1
        assert rounds < 2000
        if rounds == 600:  # each of a hundred batches was killed on both sides by then
            monkeypatch.setattr(Eraser, "_delete", delete)
        try:
            await Eraser(database("provider_sync"), "provider-sync").run_due()
        except Killed:
            continue

    assert set((await count(admin, mine, A)).values()) == {0}
    assert await contents(admin, mine, B) == theirs
    told = await progress(admin, "provider_sync")
    assert told[-1].tables == before
    rows = [sum(one.tables.values()) for one in told]
    assert rows == sorted(rows)


async def test_children_go_before_their_parents(admin: asyncpg.Connection, database: Callable[[str], Database]) -> None:
    seen = 0
    for service in SERVICES:
        async with database(service).tenant_transaction(B) as session:
            order = [table.name for table in await tenant_tables(session, service)]
        wanted = {table.name for table in await tables(admin, [service]) if table.is_tenants} - {erasure.KEPT}
        assert set(order) == wanted
        for row in await admin.fetch(
            "SELECT c.relname AS child, p.relname AS parent FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
            "JOIN pg_class p ON p.oid = k.confrelid WHERE k.contype = 'f' AND c.relnamespace = $1::text::regnamespace",
            service,
        ):
            seen += 1
            assert order.index(row["child"]) < order.index(row["parent"]), dict(row)
    assert seen > 5


async def test_whoever_had_a_view_before_the_tombstone_is_waited_for(
    admin: asyncpg.Connection, database: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction looked while the org was served, and writes after the tombstone was committed."""
    analytics, looks = database("analytics"), 0
    views = Eraser._views

    async def counted(self: Eraser) -> set[str]:
        nonlocal looks
        looks += 1
        return await views(self)

    monkeypatch.setattr(Eraser, "_views", counted)
    insert = "INSERT INTO companies (org_id, company_id, name) VALUES ($1, $2, 'late')"
    async with analytics.transaction() as transaction:
        session = await transaction.as_tenant(A)
        await erase(analytics, A)
        job = asyncio.create_task(Eraser(analytics, "analytics").run_due())
        await until(lambda: _reached(lambda: job.done() or looks > 2))
        assert not job.done()
        await session.execute(insert, A, A1)
    await job

    assert await admin.fetchval("SELECT count(*) FROM analytics.companies WHERE org_id = $1", A) == 0
    assert await admin.fetchval("SELECT finished_at IS NOT NULL FROM analytics.org_states WHERE org_id = $1", A)
    with pytest.raises(OrganizationErased):
        async with analytics.tenant_transaction(A) as session:
            await session.execute(insert, A, A1)


async def test_two_replicas_share_the_work(
    admin: asyncpg.Connection, filled: list[Table], database: Callable[[str], Database], migrated: MigratedDatabase
) -> None:
    mine = [table for table in filled if table.schema == "gateway"]
    before = await count(admin, mine, A)
    gateway, other = database("gateway"), migrated.open("gateway")
    await erase(gateway, A)
    try:
        while not await admin.fetchval("SELECT finished_at IS NOT NULL FROM gateway.org_states WHERE org_id = $1", A):
            await asyncio.gather(*(Eraser(one, "gateway").run_due() for one in (gateway, other)))
    finally:
        await other.close()

    assert set((await count(admin, mine, A)).values()) == {0}
    assert orjson.loads(await admin.fetchval("SELECT deleted FROM gateway.org_states WHERE org_id = $1", A)) == before


async def test_what_comes_late_after_the_end_is_told_once_more(
    admin: asyncpg.Connection, database: Callable[[str], Database]
) -> None:
    analytics = database("analytics")
    await erase(analytics, A)
    eraser = Eraser(analytics, "analytics")
    assert await eraser.run_due() == 1
    assert await eraser.run_due() == 0

    async with analytics.transaction() as transaction:
        work = UnitOfWork(await transaction.as_tenant(B), "gateway")
        late = work.publish(OrganizationErasedV1(organization_id=A, revision=1))
        await transaction.as_dispatch()
        await inbox.refuse(transaction.driver, "analytics", "analytics.tenants", [late])
        assert await _refused(transaction.driver) == 0  # of an organization that is served nothing is refused
    late = _of(A, late)
    async with analytics.transaction() as transaction:
        await transaction.as_dispatch()
        await inbox.refuse(transaction.driver, "analytics", "analytics.tenants", [late, late])
    assert await eraser.run_due() == 1
    assert await eraser.run_due() == 0

    assert [(one.state, one.refused) for one in await progress(admin, "analytics")] == [
        ("completed", 0),
        ("completed", 2),
    ]


async def test_the_word_of_the_erasure_itself_still_leaves(
    admin: asyncpg.Connection, database: Callable[[str], Database]
) -> None:
    gateway = database("gateway")
    async with Units(gateway, "gateway").begin(A) as work:
        work.publish(OrganizationErasedV1(organization_id=A, revision=1))
        await set_standing(work.session, "erased", 1)

    await Eraser(gateway, "gateway").run_due()

    rows = await admin.fetch("SELECT type FROM gateway.outbox WHERE org_id = $1", A)
    assert [row["type"] for row in rows] == ["organization.erased.v1"]
    assert (await progress(admin, "gateway"))[-1].state == "completed"


async def _reached(condition: Callable[[], bool]) -> bool:
    return condition()


async def _refused(driver: asyncpg.Connection) -> int:
    found: int = await driver.fetchval("SELECT sum(refused) FROM org_states")
    return found


def _of(org_id: OrgId, envelope: Envelope) -> Envelope:
    return replace(envelope, org_id=org_id)


async def test_rows_go_from_every_part_of_a_table_in_parts(
    admin: asyncpg.Connection, database: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part has places of its own, and more of them than one look goes over."""
    monkeypatch.setattr(erasure, "_SWEPT_BLOCKS", 1)
    for org in (A, B):
        await admin.execute(
            "INSERT INTO analytics.inbox (consumer, event_id, org_id, type, subject, state, envelope) "
            "SELECT 'c', analytics.id_at_v1(ms + n + $2::int * 1000), $1, 't', 's', 'dead', convert_to(repeat('x', 500), 'UTF8') "
            "FROM generate_series(1, 60) AS n, unnest(ARRAY[$3::bigint, $3 + 1728000000, $3 * 9]) AS ms",
            org, 7 if org == A else 9, int(now().timestamp() * 1000),
        )  # fmt: skip
    parts = "SELECT count(DISTINCT tableoid) FROM analytics.inbox WHERE org_id = $1"
    assert await admin.fetchval(parts, A) == 3
    assert await admin.fetchval("SELECT max((ctid::text::point)[0]) FROM analytics.inbox") > 2
    await erase(database("analytics"), A)

    await Eraser(database("analytics"), "analytics").run_due()

    assert await admin.fetchval("SELECT count(*) FROM analytics.inbox WHERE org_id = $1", A) == 0
    assert await admin.fetchval("SELECT count(*) FROM analytics.inbox WHERE org_id = $1", B) == 180
    assert [one.tables["inbox"] for one in await progress(admin, "analytics") if one.state == "completed"] == [180]
