"""Slots: each starts its run once, whoever asks, how many at a time, and whatever the clocks say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from libs.clock import frozen
from libs.contracts.events import ActionPerformedV1, OrganizationResumedV1, OrganizationSuspendedV1, SnapshotRequestedV1
from libs.database.engine import Database
from libs.ids import OrgId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.runtime.service import Platform
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.tenancy.signing import ContextVerifier, new_private_key, public_key_of
from services.reconciliation import jobs
from services.reconciliation.app import build
from services.reconciliation.handlers import slots as handlers
from services.reconciliation.repository import schedules as repository
from services.reconciliation.settings import ReconciliationSettings
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.reconciliation.conftest import SCHEDULES, Agency, DatabaseClock, Reconciliation

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def slot(hours: int) -> str:
    return (NOON + hours * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
async def replica(migrated: MigratedDatabase) -> AsyncIterator[Database]:
    """A second process's pool on the same database."""
    opened = migrated.open("reconciliation")
    yield opened
    await opened.close()


@pytest.fixture
def make_agencies(make_org: Callable[[], OrgId]) -> Callable[[int], list[Agency]]:
    return lambda count: [Agency(make_org()) for _ in range(count)]


async def test_a_due_slot_starts_the_run_of_its_schedule(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = NOON + timedelta(minutes=5)

    answer = await reconciliation.puts(agency, mine, slot(0))

    started = answer.json()
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/reconciliations/{started['run_id']}"
    assert {name: started[name] for name in ("schedule_id", "slot", "state", "started_by")} == {
        "schedule_id": mine, "slot": "2026-07-11T12:00:00.000000Z", "state": "started", "started_by": "key:test",
    }  # fmt: skip
    [run] = await reconciliation.runs(agency)
    assert (run["id"], run["account_id"]) == (started["run_id"], public_id("acc", agency.account_id))
    assert (run["campaign_id"], run["dry_run"], run["requested_by"]) == (None, False, "key:test")
    [asked] = await reconciliation.told(agency.org_id, SnapshotRequestedV1)
    assert asked.run_id == parse_public_id("rec", run["id"])
    shown = (await reconciliation.asks("GET", f"{SCHEDULES}/{mine}", agency.org_id)).json()
    assert (shown["last_slot"], shown["next_slot"]) == ("2026-07-11T12:00:00.000000Z", "2026-07-11T13:00:00.000000Z")
    assert shown["revision"] == 1  # nobody changed it
    assert await reconciliation.runs(stranger) == []
    assert await reconciliation.slots(stranger, theirs) == []


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        (slot(2), 409, "not_due"),
        (slot(0), 409, "slot_missed"),
        ("2026-07-11T13:00:01Z", 422, "no_such_slot"),
        (slot(-1), 422, "no_such_slot"),
        ("yesterday", 422, "invalid_request"),
        ("2026-07-11T15:00:00+02:00", 422, "invalid_request"),
        ("2026-07-11T13:00:00.000001Z", 422, "invalid_request"),
    ],
)
async def test_a_slot_that_is_not_due_is_refused_and_changes_nothing(
    reconciliation: Reconciliation, agency: Agency, clock: DatabaseClock, asked: str, status: int, code: str
) -> None:
    schedule = await reconciliation.scheduled(agency)
    clock.now = NOON + HOUR

    refused = await reconciliation.puts(agency, schedule, asked)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert await reconciliation.runs(agency) == []
    assert await reconciliation.slots(agency, schedule) == []
    assert (await reconciliation.puts(agency, schedule, slot(1))).status_code == 202


async def test_a_slot_does_not_start_before_its_time_by_a_microsecond(
    reconciliation: Reconciliation, agency: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    clock.now = NOON - timedelta(microseconds=1)
    assert (await reconciliation.puts(agency, schedule, slot(0))).json()["code"] == "not_due"
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 0

    clock.now = NOON

    assert (await reconciliation.puts(agency, schedule, slot(0))).status_code == 202


async def test_what_is_compared_cannot_be_chosen(
    reconciliation: Reconciliation, agency: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    clock.now = NOON
    other = public_id("acc", Agency(agency.org_id).account_id)

    for more in ({"json": {"account_id": other}}, {"content": b" "}, {"params": {"account_id": other}}):
        refused = await reconciliation.puts(agency, schedule, slot(0), **more)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert await reconciliation.runs(agency) == []


async def test_a_disabled_schedule_starts_nothing(
    reconciliation: Reconciliation, agency: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency, enabled=False)
    clock.now = NOON

    refused = await reconciliation.puts(agency, schedule, slot(0))

    assert (refused.status_code, refused.json()["code"]) == (409, "schedule_disabled")
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 0


async def test_of_missed_slots_only_the_newest_is_caught_up(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    await reconciliation.scheduled(stranger)
    clock.now = NOON + 3.5 * HOUR

    refused = await reconciliation.puts(agency, schedule, slot(1))
    assert (refused.status_code, refused.json()["code"]) == (409, "slot_missed")
    assert "2026-07-11T15:00:00.000000Z" in refused.json()["detail"]
    assert (await reconciliation.puts(agency, schedule, slot(3))).status_code == 202

    decided = [("12:00", "skipped"), ("13:00", "skipped"), ("14:00", "skipped"), ("15:00", "started")]
    assert await reconciliation.slots(agency, schedule) == decided
    assert len(await reconciliation.runs(agency)) == 1
    for hours in (0, 1, 2):
        assert (await reconciliation.puts(agency, schedule, slot(hours))).json()["code"] == "slot_skipped"
    first = (await reconciliation.asks("GET", f"{SCHEDULES}/{schedule}/slots?limit=3", agency.org_id)).json()
    rest = f"{SCHEDULES}/{schedule}/slots?limit=3&after={first['next_cursor']}"
    [last] = (await reconciliation.asks("GET", rest, agency.org_id)).json()["data"]
    assert (last["slot"], last["run_id"], last["started_by"]) == ("2026-07-11T12:00:00.000000Z", None, None)


async def test_ten_at_once_are_one_run(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = NOON

    answers = await asyncio.gather(*(reconciliation.puts(agency, mine, slot(0)) for _ in range(10)))

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(409)) == (1, 9)
    [run] = await reconciliation.runs(agency)
    assert len(await reconciliation.told(agency.org_id, SnapshotRequestedV1)) == 1
    for refused in (answer.json() for answer in answers if answer.status_code == 409):
        assert refused["code"] == "slot_already_run"
        assert run["id"] in refused["detail"]
    assert (await reconciliation.puts(stranger, theirs, slot(0))).status_code == 202


async def test_a_slot_waits_for_the_end_of_a_run_of_its_account(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    await reconciliation.scheduled(stranger)
    by_hand = await reconciliation.starts_again(agency)
    clock.now = NOON

    refused = await reconciliation.puts(agency, schedule, slot(0))
    assert (refused.status_code, refused.json()["code"]) == (409, "run_active")
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 1  # the stranger's
    assert await reconciliation.slots(agency, schedule) == []
    await reconciliation.hears(agency.captured(by_hand))

    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 1
    assert await reconciliation.slots(agency, schedule) == [("12:00", "started")]


async def test_the_leader_starts_what_is_due_in_every_org_once(
    reconciliation: Reconciliation, make_agencies: Callable[[int], list[Agency]], clock: DatabaseClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(jobs, "_AT_ONCE", 2)  # several looks
    agencies = make_agencies(5)
    schedules = [await reconciliation.scheduled(one) for one in agencies]
    late = Agency(agencies[0].org_id)
    await reconciliation.scheduled(late, anchor=slot(6))
    clock.now = NOON + 1.5 * HOUR

    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 5
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 0

    for one, schedule in zip(agencies, schedules, strict=True):
        [run] = await reconciliation.runs(one)
        assert run["requested_by"] == f"schedule:{parse_public_id('sch', schedule)}"
        assert run["account_id"] == public_id("acc", one.account_id)
        assert await reconciliation.slots(one, schedule) == [("12:00", "skipped"), ("13:00", "started")]
        assert (await reconciliation.puts(one, schedule, slot(1))).json()["code"] == "slot_already_run"


async def test_a_suspended_org_starts_nothing_and_catches_up_once_it_is_resumed(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = NOON
    await reconciliation.hears(agency.seal(OrganizationSuspendedV1(organization_id=agency.org_id, revision=1)))

    refused = await reconciliation.puts(agency, mine, slot(0))
    assert (refused.status_code, refused.json()["code"]) == (409, "organization_suspended")
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 1
    assert await reconciliation.slots(stranger, theirs) == [("12:00", "started")]
    assert await reconciliation.runs(agency) == []

    clock.now = NOON + 2 * HOUR
    await reconciliation.hears(agency.seal(OrganizationResumedV1(organization_id=agency.org_id, revision=2)))
    assert (await reconciliation.puts(agency, mine, slot(2))).status_code == 202
    assert await reconciliation.slots(agency, mine) == [
        ("12:00", "skipped"), ("13:00", "skipped"), ("14:00", "started"),
    ]  # fmt: skip


async def test_the_audit_log_hears_who_did_what(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    await reconciliation.scheduled(stranger)
    clock.now = NOON
    assert (await reconciliation.puts(agency, schedule, slot(0))).status_code == 202
    assert (await reconciliation.puts(agency, schedule, slot(0))).status_code == 409  # did nothing, tells nothing
    [first] = await reconciliation.runs(agency)
    await reconciliation.hears(agency.captured(parse_public_id("rec", first["id"])))
    clock.now = NOON + HOUR
    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 2
    address, change = f"{SCHEDULES}/{schedule}", {"revision": 1, "enabled": False}
    assert (await reconciliation.asks("PATCH", address, agency.org_id, json=change)).status_code == 200
    assert (await reconciliation.asks("DELETE", address, agency.org_id)).status_code == 204

    told = await reconciliation.told(agency.org_id, ActionPerformedV1)

    second, _ = [run["id"] for run in await reconciliation.runs(agency)]
    itself = f"schedule:{parse_public_id('sch', schedule)}"
    assert [(one.actor, one.action, one.object) for one in told] == [
        ("key:test", "schedule.created", schedule), ("key:test", "reconciliation.started", first["id"]),
        (itself, "reconciliation.started", second), ("key:test", "schedule.changed", schedule),
        ("key:test", "schedule.deleted", schedule),
    ]  # fmt: skip
    assert told[3].details == {
        "account_id": public_id("acc", agency.account_id), "interval_seconds": 3600, "enabled": False,
        "anchor": "2026-07-11T12:00:00.000000Z",
    }  # fmt: skip


async def test_a_bug_about_one_schedule_keeps_no_other_from_starting(
    reconciliation: Reconciliation, make_agencies: Callable[[int], list[Agency]], clock: DatabaseClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    agencies = make_agencies(3)
    for one in agencies:
        await reconciliation.scheduled(one)
    start_newest = handlers.start_newest

    async def stumble(schedule_id: Any, work: UnitOfWork) -> Any:
        if work.org_id == agencies[0].org_id:
            raise KeyError("a bug")
        return await start_newest(schedule_id, work)

    monkeypatch.setattr(jobs, "start_newest", stumble)
    clock.now = NOON

    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 2
    assert await reconciliation.runs(agencies[0]) == []


async def test_two_replicas_and_a_crowd_outside_start_each_slot_once(
    reconciliation: Reconciliation,
    replica: Database,
    make_agencies: Callable[[int], list[Agency]],
    clock: DatabaseClock,
) -> None:
    agencies = make_agencies(4)
    schedules = [await reconciliation.scheduled(one) for one in agencies]
    others = Units(replica, "reconciliation")
    started = 0
    for hours in range(3):
        clock.now = NOON + hours * HOUR
        asked: list[Awaitable[Any]] = [jobs.start_due(reconciliation.database, reconciliation.units)]
        asked += [jobs.start_due(replica, others)]
        asked += [
            reconciliation.puts(one, schedule, slot(hours)) for one, schedule in zip(agencies, schedules, strict=True)
        ]
        by_leaders = [one for one in await asyncio.gather(*asked) if isinstance(one, int)]
        started += sum(by_leaders)
        for one in agencies:
            [newest, *_] = runs = await reconciliation.runs(one)
            assert len(runs) == hours + 1
            await reconciliation.hears(one.captured(parse_public_id("rec", newest["id"])))

    assert started <= 3 * len(agencies)
    for one, schedule in zip(agencies, schedules, strict=True):
        assert await reconciliation.slots(one, schedule) == [(f"{12 + hours}:00", "started") for hours in range(3)]


async def test_the_service_does_so_by_itself(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)
    await reconciliation.scheduled(stranger, enabled=False)
    clock.now = NOON
    nobody = ContextVerifier([public_key_of(new_private_key())], "reconciliation")
    platform = Platform(reconciliation.database, reconciliation.units, nobody)
    service = build(platform, ReconciliationSettings(schedule_seconds=0.01))

    running = [asyncio.ensure_future(job.run()) for job in service.jobs]
    try:
        async with asyncio.timeout(30):
            while not await reconciliation.slots(agency, schedule):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.01)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    assert len(await reconciliation.runs(agency)) == 1
    assert await reconciliation.runs(stranger) == []


class Paused(Units):
    """Units of a leader that is held up between its look and its first start."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, "reconciliation")
        self.arrived, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def begin(self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES, **more: Any) -> AsyncIterator[UnitOfWork]:
        self.arrived.set()
        await self.go_on.wait()
        async with super().begin(org_id, scope, **more) as work:
            yield work


async def test_while_one_leads_the_other_does_nothing(
    reconciliation: Reconciliation, replica: Database, agency: Agency, clock: DatabaseClock
) -> None:
    await reconciliation.scheduled(agency)
    clock.now = NOON
    slow = Paused(replica)
    leading = asyncio.create_task(jobs.start_due(replica, slow))
    await slow.arrived.wait()

    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 0
    assert await reconciliation.runs(agency) == []

    slow.go_on.set()
    assert await leading == 1


async def test_a_leader_that_lost_its_lock_unawares_starts_nothing_again(
    reconciliation: Reconciliation, replica: Database, make_agencies: Callable[[int], list[Agency]], clock: DatabaseClock,
    migrated: MigratedDatabase,
) -> None:  # fmt: skip
    agencies = make_agencies(3)
    for one in agencies:
        await reconciliation.scheduled(one)
    clock.now = NOON
    slow = Paused(replica)
    leading = asyncio.create_task(jobs.start_due(replica, slow))
    await slow.arrived.wait()
    admin = await asyncpg.connect(migrated.admin_url)
    try:  # as when it stood still past its time, or a network forgot it
        ended = await admin.fetch(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
        )
        assert len(ended) == 1
        while await admin.fetchval(  # noqa: ASYNC110 - only the server can tell
            "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND d.datname = current_database()"
        ):
            await asyncio.sleep(0.01)
    finally:
        await admin.close()

    assert await jobs.start_due(reconciliation.database, reconciliation.units) == 3
    slow.go_on.set()
    await asyncio.gather(leading, return_exceptions=True)

    for one in agencies:
        assert len(await reconciliation.runs(one)) == 1


async def test_clocks_that_jump_start_nothing_twice_and_nothing_early(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule = await reconciliation.scheduled(agency)

    async def at(hours: float) -> int:
        clock.now = NOON + hours * HOUR
        count = await jobs.start_due(reconciliation.database, reconciliation.units)
        for run in await reconciliation.runs(agency):
            if run["completed_at"] is None:
                await reconciliation.hears(agency.captured(parse_public_id("rec", run["id"])))
        return count

    assert [await at(hours) for hours in (0, -8, 0.5, 1)] == [1, 0, 0, 1]
    assert [await at(hours) for hours in (5, 2, 3, 4.9, 5.1)] == [1, 0, 0, 0, 0]  # ahead by three, and back
    assert (await reconciliation.puts(agency, schedule, slot(5))).json()["code"] == "slot_already_run"
    assert await at(6) == 1

    decided = dict(await reconciliation.slots(agency, schedule))
    assert [hour for hour, state in decided.items() if state == "started"] == ["12:00", "13:00", "17:00", "18:00"]
    assert [hour for hour, state in decided.items() if state == "skipped"] == ["14:00", "15:00", "16:00"]


@pytest.mark.parametrize("years", [-3, 3])
async def test_what_is_due_the_database_says_and_no_replicas_clock(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, years: int
) -> None:
    """Its clock cannot be moved, so the schedule is: as if it had been made two hours and a half earlier."""
    schedule = await reconciliation.scheduled(agency, anchor=None)
    await reconciliation.scheduled(stranger, anchor=None)
    async with reconciliation.database.tenant_transaction(agency.org_id) as session:
        await session.execute(
            "UPDATE reconciliation_schedules SET anchor = anchor - interval '150 minutes', "
            "next_slot = next_slot - interval '150 minutes'"
        )

    with frozen(datetime.now(UTC) + timedelta(days=365 * years)):
        assert await jobs.start_due(reconciliation.database, reconciliation.units) == 1

    assert [state for _, state in await reconciliation.slots(agency, schedule)] == ["skipped", "started"]
    assert await reconciliation.runs(stranger) == []


async def test_the_newest_slots_are_kept_and_what_is_older_is_over_all_the_same(
    reconciliation: Reconciliation,
    agency: Agency,
    stranger: Agency,
    clock: DatabaseClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (repository, handlers):
        monkeypatch.setattr(module, "KEPT_SLOTS", 3)
    schedule, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    for hours in (0, 2, 9):
        clock.now = NOON + hours * HOUR
        assert (await reconciliation.puts(agency, schedule, slot(hours))).status_code == 202
        [newest, *_] = await reconciliation.runs(agency)
        await reconciliation.hears(agency.captured(parse_public_id("rec", newest["id"])))
    assert (await reconciliation.puts(stranger, theirs, slot(9))).status_code == 202

    assert await reconciliation.slots(agency, schedule) == [
        ("19:00", "skipped"), ("20:00", "skipped"), ("21:00", "started"),
    ]  # fmt: skip
    assert (await reconciliation.puts(agency, schedule, slot(0))).json()["code"] == "slot_skipped"
    assert (await reconciliation.slots(stranger, theirs))[-1] == ("21:00", "started")
