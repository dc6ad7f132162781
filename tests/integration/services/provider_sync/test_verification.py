"""Looking after registrations: what a provider lost, paused or narrowed is found and mended, once, and stays to be seen."""

from __future__ import annotations

from typing import Any

import pytest

from libs.errors import Conflict, NotFound, ProviderUnavailable
from libs.ids import public_id
from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import FaultKind
from libs.providers.smartlead.client import SmartleadClient
from services.provider_sync.handlers.endpoints import show_endpoint
from services.provider_sync.handlers.operations import show_operation
from services.provider_sync.handlers.verification import ask_for_verification
from services.provider_sync.spending import Spender
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.test_account_tests import first_of

ALL = ("smartlead", "heyreach", "emailbison")
CLIENTS: dict[str, Any] = {"smartlead": SmartleadClient, "heyreach": HeyReachClient, "emailbison": EmailBisonClient}
CHECKS = {
    "smartlead": 1,
    "heyreach": 1,
    "emailbison": 3,
}  # calls of a look that finds all well; one is for the workspace


@pytest.fixture
async def house_of(database, units):
    opened = []

    def house_of(provider):
        opened.append(House(database("provider_sync"), units("provider_sync"), provider))
        return opened[-1]

    yield house_of
    for house in opened:
        await house.http.aclose()


async def registered(house, make_org):
    await house.open_account(make_org())  # a second tenant in the room
    account = await house.open_account(make_org())
    await house.make_ready(account)
    await house.worker.run_due()
    assert (await house.endpoint(account))["status"] == "registered"
    return account


async def ask(house, account):
    endpoint_id = account.endpoint.endpoint_id
    async with house.units.begin(account.org_id) as work:
        return (await ask_for_verification(endpoint_id, public_id("whe", endpoint_id), None, work)).operation


async def verified(house, account):
    operation = await ask(house, account)
    await house.worker.run_due()
    async with house.units.begin(account.org_id) as work:
        return await show_operation(work, operation.id)


async def shown(house, account):
    async with house.units.begin(account.org_id) as work:
        return await show_endpoint(work, account.endpoint.endpoint_id, PROVIDERS)


def types_of(house):
    """What the provider posts to us by now, by address."""
    return sorted((one.url, str(getattr(one, "event_type", ""))) for one in house.simulator.account.registrations)


@pytest.mark.parametrize("provider", ALL)
async def test_what_is_whole_is_left_alone_and_paid_for(house_of, make_org, provider, monkeypatch):
    house = house_of(provider)
    account = await registered(house, make_org)
    before, calls, paid = types_of(house), len(house.api.book.of()), []
    spend = Spender.spend

    async def noted(spender):
        await spend(spender)
        paid.append(spender)

    monkeypatch.setattr(Spender, "spend", noted)
    operation = await verified(house, account)

    assert (operation.state, operation.result["state"], operation.result["faults"]) == ("succeeded", "whole", [])
    assert types_of(house) == before
    assert len(house.api.book.of()) - calls == len(paid) == CHECKS[provider]
    verification = (await shown(house, account)).verification
    assert (verification.state, verification.error, verification.last_repaired_at) == ("whole", None, None)
    assert verification.last_verified_at is not None


@pytest.mark.parametrize("provider", ALL)
async def test_what_was_deleted_at_the_provider_is_registered_again(house_of, make_org, provider):
    house = house_of(provider)
    account = await registered(house, make_org)
    before = types_of(house)
    house.simulator.account.registrations.clear()

    operation = await verified(house, account)
    again = await verified(house, account)

    assert (operation.result["state"], operation.result["faults"]) == ("repaired", ["it is gone"])
    assert types_of(house) == before
    endpoint = await shown(house, account)
    assert endpoint.webhook_external_id == operation.result["webhook_external_id"]
    assert again.result["state"] == endpoint.verification.state == "whole"
    assert endpoint.verification.last_repaired_at is not None


async def test_a_paused_webhook_is_let_go_on(house_of, make_org):
    house = house_of("heyreach")
    account = await registered(house, make_org)
    house.simulator.account.registrations[0].is_active = False

    operation = await verified(house, account)

    assert operation.result["state"] == "repaired"
    assert "it is paused for" in operation.result["faults"][0]
    assert all(one.is_active for one in house.simulator.account.registrations)


async def test_one_that_posts_elsewhere_is_brought_back(house_of, make_org):
    house = house_of("emailbison")
    account = await registered(house, make_org)
    before = types_of(house)
    house.simulator.account.registrations[0].url = "https://elsewhere.example.com/"

    operation = await verified(house, account)

    assert (operation.result["state"], operation.result["faults"]) == ("repaired", ["it posts to another address"])
    assert types_of(house) == before


async def test_each_registration_is_looked_at_by_itself(house_of, make_org):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    (job,) = [one for one in await house.jobs(account) if one["kind"] == "verify_webhook"]
    assert job["state"] == "due"
    for _ in range(3):
        house.simulator.account.registrations.clear()
        await house.make_due(account)
        await house.worker.run_due()

        assert (await house.endpoint(account))["verification"] == "repaired"
        assert len(house.simulator.account.registrations) == 1
    (job,) = [one for one in await house.jobs(account) if one["kind"] == "verify_webhook"]
    assert (job["state"], job["attempts"], job["takes"]) == ("due", 0, 3)


async def test_a_suspended_organization_has_nothing_looked_at(house_of, make_org):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    house.simulator.account.registrations.clear()
    await house.make_due(account)
    async with house.database.transaction() as transaction:
        await transaction.as_dispatch()
        await transaction.driver.execute(
            "INSERT INTO org_states (org_id, state, revision) VALUES ($1, 'suspended', 1)", account.org_id
        )
    calls = len(house.api.book.of())

    await house.worker.run_due()

    assert (len(house.api.book.of()), house.simulator.account.registrations) == (calls, [])


async def test_a_provider_that_is_away_is_asked_again_and_stands_on_the_endpoint(house_of, make_org, monkeypatch):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    original = SmartleadClient.check_webhook

    async def away(*_, **__):
        raise ProviderUnavailable("GET /webhook/7: answered 503")

    monkeypatch.setattr(SmartleadClient, "check_webhook", away)
    for _ in range(6):
        await house.make_due(account)
        await house.worker.run_due()
    assert "503" in (await house.endpoint(account))["verification_error"]
    (job,) = [one for one in await house.jobs(account) if one["kind"] == "verify_webhook"]
    assert job["state"] == "due"  # its turn comes again

    monkeypatch.setattr(SmartleadClient, "check_webhook", original)
    await house.make_due(account)
    await house.worker.run_due()

    found = (await shown(house, account)).verification
    assert (found.state, found.error) == ("whole", None)


async def test_a_repair_of_smartleads_whose_answer_is_lost_is_not_made_twice(house_of, make_org):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    house.simulator.account.registrations.clear()
    house.api.faults.next(FaultKind.DONE_AND_DROPPED, path="/webhook/create")

    lost = await verified(house, account)
    later = await verified(house, account)

    assert (lost.result["state"], later.result["state"]) == ("unknown", "unknown")
    assert "nobody knows which webhook it made" in later.result["error"]
    assert len(house.simulator.account.registrations) == 1
    assert len(house.api.book.of(endpoint="POST /webhook/create")) == 2  # the first registration, and this


@pytest.mark.parametrize("provider", ["heyreach", "emailbison"])
async def test_one_that_is_listed_is_made_whole_whatever_answer_was_lost(house_of, make_org, provider, monkeypatch):
    house = house_of(provider)
    account = await registered(house, make_org)
    before = types_of(house)
    house.simulator.account.registrations.clear()
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE endpoints SET provider_webhook_id = NULL")
    original, calls = CLIENTS[provider].repair_webhook, []

    async def lost(*given, **named):
        made = await original(*given, **named)
        calls.append(made)
        if len(calls) == 1:
            raise ProviderUnavailable("no answer")
        return made

    monkeypatch.setattr(CLIENTS[provider], "repair_webhook", lost)
    await ask(house, account)
    await house.worker.run_due()
    await house.make_due(account)
    await house.worker.run_due()

    assert types_of(house) == before
    assert (await shown(house, account)).verification.state in ("whole", "repaired")


async def test_a_refusal_is_told_in_the_providers_words(house_of, make_org):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE endpoints SET provider_webhook_id = NULL")

    operation = await verified(house, account)

    assert operation.result["state"] == "unknown"
    assert "never told its id" in (await shown(house, account)).verification.error


async def test_what_is_not_registered_and_what_is_foreign_is_not_looked_at(house_of, make_org):
    house = house_of("smartlead")
    account = await house.open_account(make_org())
    stranger = await house.open_account(make_org())

    with pytest.raises(Conflict, match="the registration is pending"):
        await ask(house, account)
    async with house.units.begin(stranger.org_id) as work:
        with pytest.raises(NotFound):
            await ask_for_verification(account.endpoint.endpoint_id, "whe_x", None, work)


async def test_a_silent_endpoint_is_seen(house_of, make_org):
    house = house_of("smartlead")
    account = await registered(house, make_org)
    await house.deliver(account, [first_of("smartlead", house)])
    assert (await shown(house, account)).silent_since is None
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE campaigns SET status = 'active'")
        await session.execute("UPDATE accounts SET created_at = now() - interval '9 days'")
        heard = await session.fetchval(
            "UPDATE endpoints SET token_made_at = now() - interval '9 days', "
            "last_webhook_at = now() - interval '25 hours' RETURNING last_webhook_at"
        )

    assert (await shown(house, account)).silent_since == heard
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE campaigns SET status = 'completed'")
    assert (await shown(house, account)).silent_since is None
