"""Work at the provider: registration, snapshots, repairs and read-backs against the Smartlead simulator."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import replace

import pytest

from libs.contracts.events import (
    MessageRecordedV1,
    ProviderAccountChangedV1,
    RepairRequestedV1,
    SnapshotCapturedV1,
    SnapshotRequestedV1,
    SyncCompletedV1,
)
from libs.errors import ContractViolated, ProviderUnavailable
from libs.ids import entity_id, new_id
from libs.providers.simulation import FaultKind, PostKind
from libs.providers.smartlead.client import SmartleadClient
from libs.providers.smartlead.simulator import Happened
from services.provider_sync import jobs
from services.provider_sync.domain.jobs import retry_delay
from services.provider_sync.repository.jobs import JobRepository
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.stage import payload, rows_of, told


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture(autouse=True)
def retries_wait(monkeypatch):
    """The wait before another try is drawn from zero on: a slow machine would find it over before it has looked around."""
    monkeypatch.setattr(jobs, "retry_delay", lambda *drawn: None if retry_delay(*drawn) is None else 3600.0)


@pytest.fixture
async def account(house, make_org):
    await house.open_account(make_org())  # a second tenant, whose account has the same campaigns
    return await house.open_account(make_org())


async def test_a_ready_endpoint_is_registered_once(house, account):
    await house.make_ready(account)
    await house.make_ready(account)

    assert await house.worker.run_due() == 1

    (registration,) = house.simulator.account.registrations
    token = re.fullmatch(r"https://hooks\.example\.com/webhooks/smartlead/([0-9a-f]{32}_[\w-]{43})", registration.url)
    assert token is not None
    assert token[1].startswith(account.endpoint.endpoint_id.hex)
    assert sha256_of(token[1]) == account.endpoint.token_sha256
    row = await house.endpoint(account)
    assert (row["status"], row["provider_webhook_id"]) == ("registered", str(registration.id))
    assert token[1].encode() not in row["token"]
    assert [(job["kind"], job["state"]) for job in await house.jobs(account)] == [
        ("register_webhook", "done"),
        ("verify_webhook", "due"),
    ]


def sha256_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def test_a_registration_without_an_answer_is_unknown_and_not_repeated(house, account):
    await house.make_ready(account)
    house.api.faults.next(FaultKind.PAGE, path="/webhook/create")  # 200 with HTML: it may have been done

    await house.worker.run_due()
    await house.make_due(account)
    await house.worker.run_due()

    row = await house.endpoint(account)
    assert row["status"] == "unknown"
    assert "look at its list of webhooks" in row["error"]
    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("failed", 1)


async def test_a_failure_before_the_write_is_tried_again(house, account, monkeypatch):
    await house.make_ready(account)
    calls = refuse(monkeypatch, house, "/leads/fetch-categories", times=1)

    await house.worker.run_due()
    assert (await house.endpoint(account))["status"] == "ready"
    await house.make_due(account)
    await house.worker.run_due()

    assert calls == ["/leads/fetch-categories"]
    assert (await house.endpoint(account))["status"] == "registered"
    assert len(house.simulator.account.registrations) == 1


async def test_a_crash_after_sent_leaves_a_question(house, account):
    await house.make_ready(account)
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE endpoints SET status = 'sent'")

    await house.worker.run_due()

    assert (await house.endpoint(account))["status"] == "unknown"
    assert house.simulator.account.registrations == []
    assert [job["state"] for job in await house.jobs(account)] == ["failed"]


def refuse(monkeypatch, house, path, *, times):
    """The client meets an unreachable provider at `path`, so often."""
    original = SmartleadClient._call
    met: list[str] = []

    async def call(self, method, called, *more, **named):
        if called.endswith(path) and len(met) < times:
            met.append(called)
            raise ProviderUnavailable("no answer (ConnectError)")
        return await original(self, method, called, *more, **named)

    monkeypatch.setattr(SmartleadClient, "_call", call)
    return met


async def test_a_snapshot_of_an_account_that_knows_nothing_names_all_that_is_missing(house, account):
    house.simulator.play(150)

    captured = await house.snapshot(account)

    assert {one.campaign_external_id for one in captured} == set(house.simulator.campaign_ids)
    assert [(one.part, one.parts, one.error) for one in captured] == [(number, 3, None) for number in (1, 2, 3)]
    missing = {key for one in captured for day in one.differences for key, _ in day.missing}
    assert missing
    assert all(digest.our_count == 0 for one in captured for digest in one.digests)
    for one in captured:
        assert one.campaign_id == entity_id(account.id, "campaign", one.campaign_external_id)
        assert one.envelope.company_id == account.company_id


async def test_what_was_withheld_is_found_and_repaired(house, account):
    plan = house.simulator.deliveries(200, withhold=9)
    await house.deliver(account, [post.body for post in plan.to_send()])
    await house.worker.run_due()  # the read-backs that some of them asked for

    captured = await house.snapshot(account)
    missing = {key for one in captured for day in one.differences for key, _ in day.missing}
    held = {row["key"] for row in (await rows_of(house.database, account.org_id))["messages"]}
    happened = [house.simulator.journal.message_keys(what) for what in (Happened.SENT, Happened.REPLIED)]
    assert missing == set().union(*happened) - held != set()
    assert missing <= {key for post in plan.of(PostKind.WITHHELD) for key in post.message_keys}
    assert not [day.surplus for one in captured for day in one.differences if day.surplus]

    run_id = new_id()
    for one in captured:
        leads = sorted({lead for day in one.differences for _, lead in day.missing})
        if leads:
            event = RepairRequestedV1(
                run_id=run_id, pass_number=1, account_id=account.id, campaign_id=one.campaign_id,
                campaign_external_id=one.campaign_external_id, lead_keys=tuple(leads),
            )  # fmt: skip
            await house.hear(account, "provider-sync.repairs", event)
    await house.worker.run_due()

    again = await house.snapshot(account)
    assert all(one.differences == () for one in again)
    assert all(digest.provider_hash == digest.our_hash for one in again for digest in one.digests)
    pulled = {event.message_id for event in await house.told(account, MessageRecordedV1) if event.source == "pull"}
    assert {entity_id(account.id, "message", key) for key in missing} <= pulled
    told_before = {key for post in plan.to_send() for key in post.message_keys}
    assert not {entity_id(account.id, "message", key) for key in told_before} & pulled
    completed = [one for one in await house.told(account, SyncCompletedV1) if one.run_id == run_id]
    assert {one.outcome for one in completed} == {"done"}
    assert sum(one.objects for one in completed) >= len(missing)


async def test_a_message_that_a_webhook_tells_after_its_repair_is_known_by_webhook(house, account):
    plan = house.simulator.deliveries(60, withhold=3, unknown=0)
    withheld = plan.of(PostKind.WITHHELD)[0]
    (key,) = withheld.message_keys
    captured = await house.snapshot(account)
    one = next(one for one in captured if key in str(one.differences))
    lead = next(lead for day in one.differences for found, lead in day.missing if found == key)
    event = RepairRequestedV1(
        run_id=new_id(), pass_number=1, account_id=account.id, campaign_id=one.campaign_id,
        campaign_external_id=one.campaign_external_id, lead_keys=(lead,),
    )  # fmt: skip
    await house.hear(account, "provider-sync.repairs", event)
    await house.worker.run_due()

    await house.deliver(account, [withheld.body])

    message_id = entity_id(account.id, "message", key)
    told_of = [event for event in await house.told(account, MessageRecordedV1) if event.message_id == message_id]
    assert [event.source for event in told_of] == ["pull", "webhook"]


async def test_a_campaign_is_read_back_and_what_comes_meanwhile_is_read_again(house, account):
    campaign = house.simulator.account.campaigns[0]
    body = payload("campaign_status_changed", campaign_id=campaign.id)
    await house.deliver(account, [body])
    async with house.units.begin(account.org_id) as work:
        job = await JobRepository(work.session).take(60)
    assert job is not None
    await house.deliver(account, [body])
    async with house.units.begin(account.org_id) as work:
        assert await JobRepository(work.session).settle(job)
    assert [job["state"] for job in await house.jobs(account)] == ["due"]

    await house.worker.run_due()

    (row,) = [row for row in (await rows_of(house.database, account.org_id))["campaigns"] if row["name"]]
    assert (row["name"], row["status"], row["sources"]) == (campaign.name, "active", 4)
    assert [job["state"] for job in await house.jobs(account)] == ["done"]
    (completed,) = await house.told(account, SyncCompletedV1)
    assert (completed.kind, completed.outcome) == ("read_back", "done")


async def test_a_provider_that_is_away_is_waited_for_and_in_the_end_told(house, account, monkeypatch):
    refuse(monkeypatch, house, "/campaigns", times=100)
    assert await house.snapshot(account) == []
    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("due", 1)

    for _ in range(5):
        await house.make_due(account)
        await house.worker.run_due()

    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("failed", 6)
    (captured,) = await house.told(account, SnapshotCapturedV1)
    assert (captured.part, captured.parts) == (1, 1)
    assert "no answer" in captured.error


async def test_one_campaign_that_cannot_be_listed_fails_alone(house, account, monkeypatch):
    original, bad = SmartleadClient.list_message_keys, house.simulator.campaign_ids[1]

    async def listing(self, campaign):
        if campaign == bad:
            raise ContractViolated("statistics.data is missing")
        return await original(self, campaign)

    monkeypatch.setattr(SmartleadClient, "list_message_keys", listing)

    captured = await house.snapshot(account)

    assert {one.campaign_external_id: one.error for one in captured} == {
        campaign: "statistics.data is missing" if campaign == bad else None for campaign in house.simulator.campaign_ids
    }


async def test_a_snapshot_of_one_campaign_and_of_one_that_is_not_known(house, account):
    body = payload("email_sent", campaign_id=house.simulator.account.campaigns[0].id)
    await house.deliver(account, [body])
    known = entity_id(account.id, "campaign", house.simulator.campaign_ids[0])

    (captured,) = await house.snapshot(account, campaign_id=known)
    (refused,) = await house.snapshot(account, campaign_id=new_id())

    assert (captured.campaign_id, captured.parts) == (known, 1)
    surplus = [key for day in captured.differences for key, _ in day.surplus]
    assert surplus == ["sent:b2c4d6e8-0000-4abc-8def-001122334455"]  # told to us, and not by this provider
    assert "not known here" in refused.error


async def test_a_snapshot_of_another_accounts_campaign_is_of_none(house, account):
    """It may be another company's, and who may read this account would learn that it is there."""
    await house.open_account(account.org_id)
    opened = await house.told(account, ProviderAccountChangedV1)
    other = replace(account, id=next(one.account_id for one in opened if one.account_id != account.id))
    house.simulator.play(10)
    await house.deliver(other, [payload("email_sent", campaign_id=house.simulator.account.campaigns[0].id)])
    theirs = entity_id(other.id, "campaign", house.simulator.campaign_ids[0])

    (refused,) = await house.snapshot(account, campaign_id=theirs)

    assert "not known here" in refused.error
    assert refused.campaign_external_id == ""


async def test_whoever_lost_the_lease_keeps_nothing(house, account, monkeypatch):
    house.simulator.play(40)
    original = JobRepository.settle

    async def lose_it(self, job, **more):
        if job.takes == 1:
            await self._session.execute("UPDATE sync_jobs SET takes = takes + 1 WHERE id = $1", job.id)
        return await original(self, job, **more)

    monkeypatch.setattr(JobRepository, "settle", lose_it)

    assert await house.snapshot(account) == []

    monkeypatch.undo()
    await house.make_due(account)
    await house.worker.run_due()
    assert len(await house.told(account, SnapshotCapturedV1)) == 3


async def test_a_redelivered_wish_is_one_job_and_a_foreign_one_none(house, account, make_org):
    event = SnapshotRequestedV1(run_id=new_id(), pass_number=1, account_id=account.id)
    other = await house.open_account(make_org())

    await house.hear(account, "provider-sync.snapshots", event)
    await house.hear(account, "provider-sync.snapshots", event)
    await house.hear(other, "provider-sync.snapshots", event)

    assert len(await house.jobs(account)) == 1
    assert await house.jobs(other) == []


async def test_the_worker_serves_orgs_in_turn_and_ends_when_told(house, account, make_org):
    others = [await house.open_account(make_org()) for _ in range(5)]
    for one in (account, *others):
        await house.make_ready(one)

    running = asyncio.create_task(house.worker.run())
    async with asyncio.timeout(10):
        while len(house.simulator.account.registrations) < 6:  # noqa: ASYNC110 - the simulator raises no event
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_no_secret_is_in_an_event_or_a_job(house, account):
    await house.make_ready(account)
    await house.worker.run_due()

    token = house.simulator.account.registrations[0].url.rsplit("/", 1)[1]
    sealed = b"".join(event.envelope.raw for event in await told(house.database, account.org_id))
    jobs = "".join(str(dict(job)) for job in await house.jobs(account))
    for secret in (token, house.simulator.api_key):
        assert secret.encode() not in sealed
        assert secret not in jobs
