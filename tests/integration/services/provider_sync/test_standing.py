"""Suspended organizations: nothing is asked of their providers, their webhooks wait, and all of it goes on by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from libs.contracts import event as contract
from libs.contracts.envelope import read as read_envelope
from libs.contracts.events import (
    CompanyArchivedV1,
    CompanyCreatedV1,
    OrganizationErasedV1,
    OrganizationResumedV1,
    OrganizationSuspendedV1,
    SnapshotCapturedV1,
    SnapshotRequestedV1,
)
from libs.errors import Invalid
from libs.ids import new_id, public_id
from libs.messaging.standing import set_standing
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import PostKind
from libs.providers.smartlead.client import SmartleadClient
from services.provider_sync import jobs
from services.provider_sync.handlers.accounts import open_account
from services.provider_sync.repository.jobs import orgs_with_due_jobs
from services.provider_sync.schemas import NewAccount
from tests.integration.services.provider_sync.house import Account, House
from tests.integration.services.provider_sync.stage import inbox_states, processor, rows_of

WEBHOOKS = "provider-sync.webhooks"


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture
async def accounts(house, make_org):
    """The first one's organization will be suspended."""
    return [await house.open_account(make_org()) for _ in range(2)]


async def stand(house: House, account: Account, kind: Any, revision: int) -> None:
    event = kind(organization_id=account.org_id, revision=revision)
    sealed = contract.seal(event, source="gateway", org_id=account.org_id)
    await processor(house.database, "provider-sync.tenants").deliver([read_envelope(sealed.raw)])


async def ask_for_snapshot(house: House, account: Account) -> None:
    event = SnapshotRequestedV1(run_id=new_id(), pass_number=1, account_id=account.id)
    await house.hear(account, "provider-sync.snapshots", event)


async def test_no_job_of_a_suspended_organization_is_taken(house, accounts):
    suspended, other = accounts
    for account in accounts:
        await ask_for_snapshot(house, account)
    await stand(house, suspended, OrganizationSuspendedV1, 1)

    async with house.database.transaction() as transaction:  # nor may those who wait crowd out the others
        assert await orgs_with_due_jobs(transaction, 10) == [other.org_id]
    assert await house.worker.run_due() == 1

    assert [(job["state"], job["takes"], job["attempts"]) for job in await house.jobs(suspended)] == [("due", 0, 0)]
    assert [job["state"] for job in await house.jobs(other)] == ["done"]
    await stand(house, suspended, OrganizationResumedV1, 2)
    assert await house.worker.run_due() == 1
    assert [job["state"] for job in await house.jobs(suspended)] == ["done"]
    assert await house.told(suspended, SnapshotCapturedV1)


async def test_a_job_is_not_taken_when_its_organization_is_suspended_after_it_was_found(house, accounts, monkeypatch):
    suspended, _ = accounts
    await ask_for_snapshot(house, suspended)
    await stand(house, suspended, OrganizationSuspendedV1, 1)

    async def found_before(*_):
        return [suspended.org_id]

    monkeypatch.setattr(house.worker, "due_orgs", found_before)

    assert await house.worker._take() == 0
    assert [(job["state"], job["takes"]) for job in await house.jobs(suspended)] == [("due", 0)]


async def test_a_job_that_runs_when_its_organization_is_suspended_stops_asking_and_is_not_charged(
    house, accounts, monkeypatch
):
    suspended, other = accounts
    monkeypatch.setattr(jobs, "_HOLD_SECONDS", 0.01)
    original, asked, answered = SmartleadClient._call, asyncio.Event(), 0

    async def slow(self, *arguments, **named):
        nonlocal answered
        asked.set()
        if not resumed:
            await asyncio.Event().wait()  # an answer that never comes
        answered += 1
        return await original(self, *arguments, **named)

    resumed = False
    monkeypatch.setattr(SmartleadClient, "_call", slow)
    await ask_for_snapshot(house, suspended)
    running = asyncio.create_task(house.worker.run_due())
    await asked.wait()
    await stand(house, suspended, OrganizationSuspendedV1, 1)
    assert await asyncio.wait_for(running, 10) == 1

    assert answered == 0
    (job,) = await house.jobs(suspended)
    assert (job["state"], job["attempts"], job["lease_until"]) == ("due", 0, None)
    assert "suspended" in job["error"]
    resumed = True
    await ask_for_snapshot(house, other)
    assert await house.worker.run_due() == 1
    await stand(house, suspended, OrganizationResumedV1, 2)
    assert await house.worker.run_due() == 1
    assert [job["state"] for job in await house.jobs(suspended)] == ["done"]


async def test_what_a_job_read_of_an_organization_erased_meanwhile_is_not_kept(house, accounts, monkeypatch):
    erased, other = accounts
    for account in accounts:
        await ask_for_snapshot(house, account)
    original = SmartleadClient._call

    async def erase_first(self, *arguments, **named):
        monkeypatch.setattr(SmartleadClient, "_call", original)
        await stand(house, erased, OrganizationErasedV1, 1)  # whoever asks: by the time it is answered the one is gone
        return await original(self, *arguments, **named)

    monkeypatch.setattr(SmartleadClient, "_call", erase_first)
    await house.worker.run_due()

    assert [job["state"] for job in await house.jobs(other)] == ["done"]
    assert await house.told(erased, SnapshotCapturedV1) == []
    assert await house.told(other, SnapshotCapturedV1)


async def test_webhooks_of_a_suspended_organization_wait_and_end_in_the_rows_they_always_end_in(house, accounts):
    suspended, other = accounts
    posts = house.simulator.deliveries(40, duplicates=0)
    bodies = [post.body for post in posts.of(PostKind.NORMAL)]
    await house.deliver(other, bodies)
    await house.deliver(suspended, bodies[:10])
    await stand(house, suspended, OrganizationSuspendedV1, 1)

    waiting = await house.deliver(suspended, bodies[10:])

    states = await inbox_states(house.database, WEBHOOKS)
    assert {states[envelope.id] for envelope in waiting} == {"parked"}
    assert Counter(states.values())["done"] == len(bodies) + 10
    before = {table: len(rows) for table, rows in (await rows_of(house.database, suspended.org_id)).items()}
    await stand(house, suspended, OrganizationResumedV1, 2)
    consumer = processor(house.database, WEBHOOKS)
    while await consumer.run_due():
        pass

    after = {table: len(rows) for table, rows in (await rows_of(house.database, suspended.org_id)).items()}
    theirs = {table: len(rows) for table, rows in (await rows_of(house.database, other.org_id)).items()}
    assert after == theirs != before
    assert set((await inbox_states(house.database, WEBHOOKS)).values()) == {"done"}


async def test_an_archived_company_gets_no_new_account_whatever_was_heard_first(house, accounts):
    account, other = accounts
    archived, late = new_id(), new_id()
    tenants = processor(house.database, "provider-sync.tenants")
    for batch in (
        [CompanyCreatedV1(company_id=archived, name="One")],
        [CompanyArchivedV1(company_id=archived, name="One")],
        [CompanyArchivedV1(company_id=late, name="Two")],
        [CompanyCreatedV1(company_id=late, name="Two")],
    ):
        sealed = [contract.seal(event, source="gateway", org_id=account.org_id) for event in batch]
        await tenants.deliver([read_envelope(one.raw) for one in sealed])

    for company in (archived, late):
        with pytest.raises(Invalid, match="archived"):
            await open_another(house, account, company)
    await open_another(house, account, account.company_id)
    await open_another(house, other, other.company_id)


async def open_another(house: House, account: Account, company_id: Any) -> None:
    body = NewAccount.model_validate(
        {
            "provider": "smartlead", "name": "Second", "company_id": public_id("cmp", company_id),
            "base_url": f"http://127.0.0.1{house.path}", "credentials": {"api_key": house.simulator.api_key},
        }
    )  # fmt: skip
    async with house.units.begin(account.org_id) as work:
        await open_account(body, work, providers=PROVIDERS, sealer=house.sealer, allow_loopback=True)


async def test_what_is_erased_stays_so(house, accounts):
    erased, other = accounts
    async with house.units.begin(erased.org_id) as work:
        await set_standing(work.session, "erased", 1)
    bodies = [post.body for post in house.simulator.deliveries(5, duplicates=0).of(PostKind.NORMAL)]

    await house.deliver(erased, bodies)
    await house.deliver(other, bodies)
    await stand(house, erased, OrganizationResumedV1, 9)

    assert len(await inbox_states(house.database, WEBHOOKS)) == len(bodies)
