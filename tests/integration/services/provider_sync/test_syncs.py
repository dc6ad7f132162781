"""Reading a whole account: against each simulator, with faults, kills and other replicas on the way."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import asyncpg
import orjson
import pytest

from libs import clock
from libs.contracts.events import LeadRecordedV1, MessageRecordedV1
from libs.ids import entity_id
from libs.messaging.work import Units
from libs.providers.calls import CallPolicy
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import Source
from libs.providers.simulation import FaultKind
from libs.providers.smartlead.client import SmartleadClient
from services.provider_sync.domain.merging import bit
from services.provider_sync.domain.syncs import MOST_RESTARTS
from services.provider_sync.handlers import snapshots, syncs
from services.provider_sync.sync_worker import SyncSchedule
from tests.integration.services.provider_sync.house import HURRIED, House
from tests.integration.services.provider_sync.stage import TABLES, rows_of, told


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture
async def account(house, make_org):
    house.simulator.play(120)
    await house.open_account(make_org())  # a second tenant, whose account has the same campaigns
    return await house.open_account(make_org())


def truth(house):
    """What the simulated account holds: the keys of its messages, and who is in which campaign."""
    messages, enrolled = set(), set()
    for campaign in house.simulator.account.campaigns:
        for enrolment in campaign.enrolments:
            enrolled.add(f"{campaign.external_id}:{enrolment.lead.key}")
            messages |= {sent.key for sent in enrolment.sent if sent.step is not None or enrolment.replies}
            messages |= {reply.key for reply in enrolment.replies}
    return messages, enrolled


async def held(house, account):
    rows = await rows_of(house.database, account.org_id)
    return {row["key"] for row in rows["messages"] if row["direction"]}, {row["key"] for row in rows["enrolments"]}


async def test_a_reading_from_empty_finds_all_that_there_is(house, account):
    run = await house.sync(account)

    assert (run["state"], run["error"], run["feeds_done"]) == ("succeeded", None, run["feeds_total"])
    messages, enrolled = truth(house)
    assert len(messages) > 50
    assert await held(house, account) == (messages, enrolled)
    told_messages = await house.told(account, MessageRecordedV1)
    assert {entity_id(account.id, "message", key) for key in messages} == {one.message_id for one in told_messages}
    assert {one.source for one in told_messages} == {"pull"}
    assert len(await house.told(account, LeadRecordedV1)) == len({key.partition(":")[2] for key in enrolled})


async def test_a_second_reading_of_an_unchanged_account_tells_nothing_and_writes_no_row(house, account):
    await house.sync(account)
    events, rows = len(await told(house.database, account.org_id)), await versions_of(house, account)
    house.api.book.calls.clear()

    run = await house.sync(account)

    assert (run["state"], run["rows_changed"]) == ("succeeded", 0)
    assert len(await told(house.database, account.org_id)) == events
    assert await versions_of(house, account) == rows
    campaigns = len(house.simulator.account.campaigns)
    assert house.api.book.by_endpoint() == {
        "GET /campaigns": 1,
        "GET /campaigns/{id}/sequences": campaigns,
        "GET /campaigns/{id}/leads": campaigns,
        "GET /campaigns/{id}/statistics": campaigns,
        "POST /master-inbox/inbox-replies": 1,
    }


async def versions_of(house, account):
    """Which version of each row there is: another one is another write."""
    found = {}
    async with house.database.tenant_transaction(account.org_id) as session:
        for table in (*TABLES, "leads"):
            rows = await session.fetch(f"SELECT id, xmin::text AS version FROM {table}")
            found[table] = {row["id"]: row["version"] for row in rows}
    return found


async def test_a_full_reading_of_an_unchanged_account_reads_all_and_writes_no_row(house, account):
    first = await house.sync(account)
    rows = await versions_of(house, account)

    run = await house.sync(account, is_full=True)

    assert (run["rows_seen"], run["rows_changed"]) == (first["rows_seen"], 0)
    assert await versions_of(house, account) == rows


async def test_what_a_webhook_told_is_known_by_both_from_then_on(house, account):
    sent = next(one for one in house.simulator.play(40) if one.event_type == "EMAIL_SENT")
    await house.deliver(account, [orjson.dumps(sent.payload)])
    (key,) = sent.message_keys

    await house.sync(account)
    before = len(await told(house.database, account.org_id))
    await house.sync(account, is_full=True)

    async with house.database.tenant_transaction(account.org_id) as session:
        row = await session.fetchrow("SELECT sources, step_source FROM messages WHERE key = $1", key)
    assert row["sources"] & bit(Source.WEBHOOK)
    assert row["sources"] & bit(Source.PULL)
    assert len(await told(house.database, account.org_id)) == before


async def test_what_is_new_is_found_by_reading_little(house, account):
    await house.sync(account)
    simulated = house.simulator.account.campaigns[0]
    enrolment = next(one for one in simulated.enrolments if one.of_sequence and not one.replies)
    reply = house.simulator.live.replies(simulated, enrolment, enrolment.of_sequence[-1], "Tell me more")
    house.api.book.calls.clear()

    run = await house.sync(account)

    assert run["rows_changed"] == 1
    assert reply.key in (await held(house, account))[0]
    assert house.api.book.by_endpoint()["POST /master-inbox/inbox-replies"] == 2


async def test_a_pull_undoes_what_an_older_webhook_told_and_is_undone_by_a_newer_one(house, account, monkeypatch):
    simulated = house.simulator.account.campaigns[0]

    async def status_after(at, *bodies):
        monkeypatch.setattr("libs.clock.now", lambda: at)
        await house.deliver(account, bodies)
        await house.sync(account)
        rows = (await rows_of(house.database, account.org_id))["campaigns"]
        return next(row["name"] for row in rows if row["external_id"] == simulated.external_id)

    start = clock.now()
    simulated.name = "First"
    assert await status_after(start) == "First"
    simulated.name = "Second"
    assert await status_after(start + timedelta(seconds=5)) == "Second"
    assert await status_after(start + timedelta(seconds=9)) == "Second"


def impatient(provider):
    """Its clients leave every second try to the reading."""

    def make_client(*given):
        client = provider.make_client(*given)
        client._policy = CallPolicy(tries=1)
        return client

    return replace(provider, make_client=make_client)


IMPATIENT = {name: impatient(provider) for name, provider in HURRIED.items()}


class Killed(BaseException):
    """As a process that is gone: nothing of ours catches it."""


class Killer:
    """Kills at the n-th of all points at which a process may end: before and after each call and each commit."""

    def __init__(self, house, monkeypatch):
        self.at, self.passed = 0, 0
        call, begin = house.http._transport.handle_async_request, Units.begin

        async def killable_call(request):
            self.point()
            response = await call(request)
            self.point()
            return response

        @asynccontextmanager
        async def killable_begin(units, *given, **named):
            async with begin(units, *given, **named) as work:
                yield work
                self.point()
            self.point()

        monkeypatch.setattr(house.http._transport, "handle_async_request", killable_call)
        monkeypatch.setattr(Units, "begin", killable_begin)

    def point(self):
        self.passed += 1
        if self.passed == self.at:
            raise Killed

    def set(self, at):
        self.at, self.passed = at, 0


@pytest.mark.parametrize("stride", [13, pytest.param(1, marks=pytest.mark.heavy)])
async def test_a_reading_goes_on_after_a_kill_at_any_point(database, units, make_org, monkeypatch, stride):
    house = House(database("provider_sync"), units("provider_sync"), clients_of_campaigns=(None,))
    house.simulator.play(30)
    house.simulator.live.replies(*one_sent(house), "Tell me more")
    messages, enrolled = truth(house)
    monkeypatch.setattr("libs.providers.smartlead.lead_calls.ROSTER_PAGE", 5)
    monkeypatch.setattr("libs.providers.smartlead.feeds.SENT_PAGE", 5)
    killer, killed_at = Killer(house, monkeypatch), 0

    async def read():
        await house.reader().run_due()

    while True:
        killed_at += stride
        killer.set(0)
        account = await house.open_account(make_org())
        run_id = await house.ask_to_sync(account)
        killer.set(killed_at)
        with suppress(Killed):
            await read()
        was_killed = killer.passed >= killed_at
        killer.set(0)
        async with house.database.tenant_transaction(account.org_id) as session:
            await session.execute(
                "UPDATE sync_runs SET lease_until = now() - interval '1 second' WHERE state = 'running'"
            )
        await read()

        run = await house.run(account, run_id)
        assert (run["state"], run["error"]) == ("succeeded", None), killed_at
        assert await held(house, account) == (messages, enrolled), killed_at
        told_once = [one.message_id for one in await house.told(account, MessageRecordedV1)]
        assert len(told_once) == len(set(told_once)) == len(messages), killed_at
        if not was_killed:
            break
    assert killed_at > 50
    await house.http.aclose()


def one_sent(house):
    campaign = house.simulator.account.campaigns[0]
    enrolment = next(one for one in campaign.enrolments if one.of_sequence and not one.replies)
    return campaign, enrolment, enrolment.of_sequence[-1]


@pytest.mark.parametrize(
    "fault",
    [
        FaultKind.PAGE_SKIPS, FaultKind.PAGE_REPEATS, FaultKind.PAGE_LOOP, FaultKind.TRUNCATED, FaultKind.EMPTY,
        FaultKind.PAGE, FaultKind.GARBAGE, FaultKind.WRONG_TYPES, FaultKind.SERVER_ERROR, FaultKind.DROPPED,
    ],
)  # fmt: skip
async def test_a_page_that_is_none_costs_nothing(house, account, monkeypatch, fault):
    """It is told once with the fault; the reading (of a client that does not try again by itself) ends with all."""
    monkeypatch.setattr("libs.providers.smartlead.lead_calls.ROSTER_PAGE", 5)
    monkeypatch.setattr("libs.providers.smartlead.feeds.SENT_PAGE", 10)
    monkeypatch.setattr("libs.providers.smartlead.feeds.INBOX_PAGE", 3)
    run_id = await house.ask_to_sync(account)
    for path in ("/leads", "/statistics", "/inbox-replies"):
        house.api.faults.next(fault, 2, path=path)
    for _ in range(8):
        await house.reader(providers=IMPATIENT).run_due()
        await make_due(house, account)

    run = await house.run(account, run_id)
    if run["state"] == "failed":  # a "no" is not asked again: the next reading does
        assert fault is FaultKind.WRONG_TYPES
        house.api.faults.calm()
        run = await house.sync(account)
    assert run["state"] == "succeeded"
    assert await held(house, account) == truth(house)
    assert len(house.api.faults.met) >= 5


async def make_due(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute(
            "UPDATE sync_runs SET due_at = now(), lease_until = NULL WHERE state IN ('pending', 'running')"
        )
        await session.execute("UPDATE account_budgets SET paused_until = NULL, failures = 0, probing_until = NULL")


async def test_a_list_that_always_loops_keeps_nothing_else_from_being_read(house, account, monkeypatch):
    monkeypatch.setattr("libs.providers.smartlead.feeds.SENT_PAGE", 10)
    first = house.simulator.account.campaigns[0].external_id
    house.api.faults.always(FaultKind.PAGE_LOOP, path=f"/campaigns/{first}/statistics")

    run = await house.sync(account)

    assert (run["state"], run["error_code"]) == ("failed", "lists_not_read")
    assert run["restarts"] == MOST_RESTARTS
    messages, enrolled = truth(house)
    known, found = await held(house, account)
    assert found == enrolled
    assert messages - known  # of the first campaign, beyond its first page
    house.api.faults.calm()
    assert (await house.sync(account))["state"] == "succeeded"
    assert (await held(house, account))[0] == messages


async def test_replicas_share_the_readings_and_nothing_is_read_twice(house, account, make_org):
    other = await house.open_account(make_org())
    for one in (account, other):
        await house.ask_to_sync(one)
    replicas = [house.reader(turn_seconds=0.0) for _ in range(3)]

    await asyncio.gather(*(replica.run_due() for replica in replicas))

    for one in (account, other):
        assert await held(house, one) == truth(house)
        told_once = [event.message_id for event in await house.told(one, MessageRecordedV1)]
        assert len(told_once) == len(set(told_once))
    assert house.api.book.by_endpoint()["GET /campaigns"] == 2


async def test_a_reading_in_other_hands_keeps_nothing(house, account, monkeypatch):
    await house.ask_to_sync(account)
    original = SmartleadClient.read_feed

    async def slow(self, *given, **named):
        async with house.database.tenant_transaction(account.org_id) as session:
            await session.execute("UPDATE sync_runs SET takes = takes + 1")
        return await original(self, *given, **named)

    monkeypatch.setattr(SmartleadClient, "read_feed", slow)
    await house.reader().run_due()

    assert await held(house, account) == (set(), set())


async def test_transactions_that_met_in_a_deadlock_are_tried_again(house, account, monkeypatch):
    fail_commits(monkeypatch, syncs, "record", 2)

    run = await house.sync(account)

    assert (run["state"], run["attempts"], run["takes"]) == ("succeeded", 1, 1)


async def test_a_reading_that_meets_deadlock_after_deadlock_waits_and_is_not_charged(house, account, monkeypatch):
    fail_commits(monkeypatch, syncs, "record", 3)

    run = await house.sync(account)
    assert (run["state"], run["attempts"]) == ("running", 0)
    await make_due(house, account)
    await house.reader().run_due()

    assert (await house.run(account, run["id"]))["state"] == "succeeded"


async def test_a_job_that_met_a_deadlock_is_done_later(house, account, monkeypatch):
    fail_commits(monkeypatch, snapshots, "keep", 3)

    assert await house.snapshot(account) == []
    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("due", 0)
    for _ in range(2):
        await house.make_due(account)
        await house.worker.run_due()
    assert [job["state"] for job in await house.jobs(account)] == ["due"]
    await house.make_due(account)
    await house.worker.run_due()

    assert [job["state"] for job in await house.jobs(account)] == ["done"]


def fail_commits(monkeypatch, module, name, times):
    original = getattr(module, name)
    met: list[str] = []

    async def conflicting(*given, **named):
        if len(met) < times:
            met.append(name)
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        return await original(*given, **named)

    monkeypatch.setattr(module, name, conflicting)


async def test_a_refused_key_stops_the_reading_at_once(house, account):
    await house.ask_to_sync(account)
    house.api.revoked.add(house.simulator.api_key)

    for _ in range(3):
        await make_due(house, account)
        await house.reader().run_due()

    assert len(house.api.book.calls) == 1
    async with house.database.tenant_transaction(account.org_id) as session:
        assert await session.fetchval("SELECT status FROM accounts") == "needs_reauth"


async def test_who_is_suspended_paused_or_unknown_to_the_schedule_is_not_read(house, account, make_org):
    paused, suspended, young = [await house.open_account(make_org()) for _ in range(3)]
    for one in (account, paused, suspended):
        await age(house, one)
    async with house.database.tenant_transaction(paused.org_id) as session:
        await session.execute("UPDATE accounts SET status = 'paused'")
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        await transaction.driver.execute(
            "INSERT INTO org_states (org_id, state, revision) VALUES ($1, 'suspended', 1)", suspended.org_id
        )
    schedule = SyncSchedule(house.units, providers=PROVIDERS, every_seconds=900, poll_seconds=1)

    await schedule.run_due()
    await schedule.run_due()

    counts = [await runs_of(house, one) for one in (account, paused, young)]
    assert counts == [1, 0, 0]
    async with house.database.tenant_transaction(suspended.org_id) as session:
        assert await session.fetchval("SELECT count(*) FROM sync_runs") == 0


async def age(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE accounts SET created_at = now() - interval '1 day'")


async def runs_of(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        return await session.fetchval("SELECT count(*) FROM sync_runs")


async def test_a_suspended_organization_is_not_read_on(house, account, monkeypatch):
    await house.ask_to_sync(account)
    original = SmartleadClient.read_feed

    async def suspending(self, *given, **named):
        async with house.database.transaction() as transaction:
            await transaction.as_dispatch()
            await transaction.driver.execute(
                "INSERT INTO org_states (org_id, state, revision) VALUES ($1, 'suspended', 1) ON CONFLICT DO NOTHING",
                account.org_id,
            )
        return await original(self, *given, **named)

    monkeypatch.setattr(SmartleadClient, "read_feed", suspending)
    await house.reader().run_due()

    assert len(house.api.book.calls) == 2  # the campaigns, and the page that was under way
    assert await house.reader().run_due() == 0


async def test_an_account_that_is_left_alone_waits_and_is_not_charged(house, account):
    house.api.faults.always(FaultKind.RATE_LIMITED)
    house.api.faults.retry_after_seconds = 3600

    run = await house.sync(account)

    assert (run["state"], run["attempts"]) == ("running", 0)
    assert len(house.api.book.calls) == 1
