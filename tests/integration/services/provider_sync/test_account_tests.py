"""Testing an account: what is found out, what it costs, and what a refused or accepted key changes."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from libs.contracts.events import OperationChangedV1, ProviderAccountChangedV1
from libs.ids import public_id
from libs.providers.emailbison.simulator.on_tools import TOOLS
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import FaultKind
from services.provider_sync.handlers import asked_jobs
from services.provider_sync.handlers.account_changes import change_account
from services.provider_sync.handlers.operations import cancel_operation, show_operation
from services.provider_sync.schemas import AccountChange
from services.provider_sync.spending import Spender
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.stage import payload

ALL = ("smartlead", "heyreach", "emailbison")


@pytest.fixture
async def house_of(database, units):
    opened = []

    def house_of(provider, **simulated):
        opened.append(House(database("provider_sync"), units("provider_sync"), provider, **simulated))
        return opened[-1]

    yield house_of
    for house in opened:
        await house.http.aclose()


async def account_of(house, make_org):
    await house.open_account(make_org())  # a second tenant at the same provider
    return await house.open_account(make_org())


async def ask(house, account, key=None):
    async with house.units.begin(account.org_id) as work:
        return (await asked_jobs.ask_for_test(public_id("acc", account.id), key, work)).operation


async def shown(house, account, operation):
    async with house.units.begin(account.org_id) as work:
        return await show_operation(work, operation.id)


async def outcome_of(house, account):
    operation = await ask(house, account)
    await house.worker.run_due()
    return await shown(house, account, operation)


async def status_of(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        return tuple(await session.fetchrow("SELECT status, status_reason FROM accounts"))


def outcomes(operation):
    return {one["name"]: one["outcome"] for one in operation.result["capabilities"]}


@pytest.mark.parametrize("provider", ALL)
async def test_what_answers_is_found_capability_by_capability(house_of, make_org, provider, monkeypatch):
    house = house_of(provider)
    account = await account_of(house, make_org)
    await house.deliver(account, [first_of(provider, house)])
    before, paid, spend = len(house.api.book.of()), [], Spender.spend

    async def noted(spender):
        await spend(spender)
        paid.append(spender)

    monkeypatch.setattr(Spender, "spend", noted)

    operation = await outcome_of(house, account)

    assert (operation.state, operation.done, operation.total) == ("succeeded", 1, 1)
    result = operation.result
    assert result["works"] is True
    found = outcomes(operation)
    assert next(iter(found)) == "ConnectionCheck"
    assert set(found) == {name for name in READ if name not in PROVIDERS[provider].lacks}
    assert set(found.values()) == {"answers"}, result["capabilities"]
    assert result["not_offered"] == dict(PROVIDERS[provider].lacks)
    rest = [call for call in house.api.book.of()[before:] if not call.endpoint.endswith("/mcp")]
    assert result["calls"] == len(rest) <= 16  # each paid from the budget, and counted by the provider too
    assert len(paid) == len(house.api.book.of()) - before
    assert result["budget"]["calls_per_minute"] == 100_000
    assert 0 <= result["budget"]["calls_left"] <= result["budget"]["calls_at_once"]
    assert result["slowest_milliseconds"] >= result["milliseconds_per_call"] >= 0
    assert await status_of(house, account) == ("active", None)


READ = (
    "ConnectionCheck", "Campaigns", "EmailSequences", "LinkedInSequences", "CampaignLeads", "Inbox", "WebhookListing",
    "Statistics",
)  # fmt: skip


def first_of(provider, house):
    """A webhook that makes the simulated account's first campaign known here."""
    campaign = house.simulator.account.campaigns[0]
    if provider == "smartlead":
        return payload("email_sent", campaign_id=campaign.id)
    if provider == "heyreach":
        return payload("message_sent", "heyreach", campaign={"id": campaign.id})
    return payload("email_sent", "emailbison", data={"campaign": {"id": campaign.id, "name": campaign.name}})


async def test_without_a_campaign_only_the_accounts_own_lists_are_asked(house_of, make_org):
    house = house_of("smartlead")
    account = await account_of(house, make_org)

    operation = await outcome_of(house, account)

    found = outcomes(operation)
    assert found["ConnectionCheck"] == found["Inbox"] == "answers"
    assert found["Campaigns"] == found["Statistics"] == "not_asked"


@pytest.mark.parametrize("provider", ALL)
async def test_a_refused_key_needs_reauth_and_one_that_works_again_clears_it(house_of, make_org, provider):
    house = house_of(provider)
    account = await account_of(house, make_org)
    house.api.revoked.add(house.simulator.api_key)

    refused = await outcome_of(house, account)

    assert (refused.state, refused.result["works"], refused.result["account_status"]) == (
        "succeeded", False, "needs_reauth",
    )  # fmt: skip
    assert (await status_of(house, account))[0] == "needs_reauth"
    first, *others = outcomes(refused).values()
    assert (first, set(others)) == ("refused", {"not_asked"})
    await house.make_ready(account)  # work that must wait meanwhile
    calls = len(house.api.book.of())
    await house.worker.run_due()
    assert len(house.api.book.of()) == calls

    house.api.revoked.clear()
    works = await outcome_of(house, account)

    assert (works.result["works"], works.result["account_status"]) == (True, "active")
    assert await status_of(house, account) == ("active", None)
    told = [one.status for one in await house.told(account, ProviderAccountChangedV1)]
    assert told == ["active", "needs_reauth", "active"]
    await house.worker.run_due()
    assert (await house.endpoint(account))["status"] == "registered"


async def test_a_finding_of_old_credentials_says_nothing_of_new_ones(house_of, make_org, monkeypatch):
    house = house_of("smartlead")
    account = await account_of(house, make_org)
    house.api.revoked.add(house.simulator.api_key)
    original = house.worker._keep

    async def replaced_meanwhile(org_id, job, keep):
        body = AccountChange(credentials={"api_key": SecretStr("a-newer-key")})
        async with house.units.begin(org_id) as work:
            await change_account(public_id("acc", account.id), body, work, providers=PROVIDERS, sealer=house.sealer)
        await original(org_id, job, keep)

    monkeypatch.setattr(house.worker, "_keep", replaced_meanwhile)
    operation = await outcome_of(house, account)

    assert operation.result["works"] is False
    assert await status_of(house, account) == ("active", None)


@pytest.mark.parametrize("provider", ALL)
async def test_a_provider_that_is_away_is_a_finding_and_no_failure(house_of, make_org, provider, monkeypatch):
    monkeypatch.setattr("libs.providers.calls._waits", lambda policy: iter_waits())
    house = house_of(provider)
    account = await account_of(house, make_org)
    house.api.faults.always(FaultKind.SERVER_ERROR)

    operation = await outcome_of(house, account)

    assert (operation.state, operation.result["works"]) == ("succeeded", None)
    first, *others = outcomes(operation).values()
    assert (first, set(others)) == ("no_answer", {"not_asked"})
    assert await status_of(house, account) == ("active", None)


def iter_waits():
    """No pauses between the tries of one call."""
    yield 0.0
    while True:
        yield 0.0


async def test_a_limit_in_the_middle_is_told_and_pauses_the_account(house_of, make_org):
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    await house.deliver(account, [first_of("heyreach", house)])
    house.api.faults.retry_after_seconds = 300
    house.api.faults.next(FaultKind.RATE_LIMITED, path="/campaign/GetById")

    operation = await outcome_of(house, account)

    found = outcomes(operation)
    assert (operation.result["works"], found["Campaigns"], found["Statistics"]) == (True, "limited", "not_asked")
    assert operation.result["budget"]["pause_reason"] == "the provider asked to wait"


async def test_an_account_that_may_not_be_called_waits_and_says_so(house_of, make_org):
    house = house_of("smartlead")
    account = await account_of(house, make_org)
    await outcome_of(house, account)
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE account_budgets SET calls_left = -100000, counted_at = now()")
    calls = len(house.api.book.of())
    operation = await outcome_of(house, account)

    assert (operation.state, operation.error_code) == ("pending", "budget_spent")
    assert len(house.api.book.of()) == calls
    async with house.units.begin(account.org_id) as work:
        cancelled = await cancel_operation(work, operation.id)
    assert cancelled.state == "cancelled"
    await house.make_due(account)
    assert await house.worker.run_due() == 0
    changes = [one.state for one in await house.told(account, OperationChangedV1)][-4:]
    assert changes == ["pending", "running", "pending", "cancelled"]


async def test_the_same_key_is_one_test(house_of, make_org):
    house = house_of("smartlead")
    account = await account_of(house, make_org)

    first, second = await ask(house, account, "k1"), await ask(house, account, "k1")

    assert first.id == second.id
    assert len(await house.jobs(account)) == 1


# MCP


async def test_an_emailbison_account_is_told_which_tools_its_mcp_server_offers(house_of, make_org):
    house = house_of("emailbison")
    account = await account_of(house, make_org)

    found = (await outcome_of(house, account)).result["mcp"]

    assert found == {
        "url": "http://127.0.0.1/mcp", "answers": True, "error": None, "server": "EmailBison", "version": "beta",
        "tools": list(TOOLS),
    }  # fmt: skip


@pytest.mark.parametrize("provider", ["smartlead", "heyreach"])
async def test_who_has_no_mcp_server_is_not_asked_for_one(house_of, make_org, provider):
    house = house_of(provider)

    assert (await outcome_of(house, await account_of(house, make_org))).result["mcp"] is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (FaultKind.SERVER_ERROR, "answered 500"),
        (FaultKind.PAGE, "answered what is no MCP (ValueError)"),
        (FaultKind.GARBAGE, "answered what is no MCP (ValidationError)"),
        (FaultKind.EMPTY, "answered what is no MCP"),
        (FaultKind.DROPPED, "no answer (RemoteProtocolError)"),
        (FaultKind.RATE_LIMITED, "answered 429"),
    ],
)
async def test_an_mcp_server_that_fails_says_nothing_of_the_account(house_of, make_org, fault, error):
    house = house_of("emailbison")
    account = await account_of(house, make_org)
    house.api.faults.always(fault, path="/mcp")

    operation = await outcome_of(house, account)

    assert operation.result["works"] is True
    assert operation.result["mcp"]["answers"] is False
    assert operation.result["mcp"]["error"].startswith(error)
    async with house.database.tenant_transaction(account.org_id) as session:
        budget = await session.fetchrow("SELECT failures, paused_until FROM account_budgets")
    assert tuple(budget) == (0, None)


async def test_another_workspace_of_the_same_token_is_told(house_of, make_org):
    house = house_of("emailbison")
    account = await account_of(house, make_org)
    await house.make_ready(account)
    await house.worker.run_due()
    house.simulator.account.workspace_id += 1

    operation = await outcome_of(house, account)

    assert (operation.result["works"], operation.result["other_workspace"]) == (False, True)
    assert operation.result["workspace_external_id"] == str(house.simulator.account.workspace_id)
