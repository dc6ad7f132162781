"""One budget per account: two replicas share it, a pause is for all of them, a refused key waits for a new one."""

from __future__ import annotations

import asyncio

import pytest

from libs.contracts.events import ProviderAccountChangedV1
from libs.errors import Conflict, Invalid
from libs.ids import public_id
from libs.messaging.work import Units
from libs.providers.registry import PROVIDERS
from libs.providers.simulation import FaultKind
from libs.settings import BadSetting
from services.provider_sync.domain.budgets import FAILURES, capacity
from services.provider_sync.handlers.account_changes import change_account
from services.provider_sync.schemas import AccountChange
from services.provider_sync.settings import ProviderSyncSettings
from services.provider_sync.spending import BudgetSpent, Spender
from tests.integration.services.provider_sync.house import House

RATE = 300


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()


@pytest.fixture
async def account(house, make_org):
    return await house.open_account(make_org())


@pytest.fixture
async def neighbour(house, make_org):
    return await house.open_account(make_org())


def spender(house: House, account, *, live: bool = True, rate: int = RATE) -> Spender:
    return Spender(house.units, account.org_id, account.id, calls_per_minute=rate, live=live)


async def test_replicas_spend_from_one_purse(house, account, database):
    second = Units(database("provider_sync"), "provider-sync")
    purses = [
        Spender(units, account.org_id, account.id, calls_per_minute=1, live=True) for units in (house.units, second)
    ]

    spent = await asyncio.gather(*(purse.spend() for purse in purses * 3), return_exceptions=True)

    assert capacity(1) == 1
    assert sum(one is None for one in spent) == 1
    assert sum(isinstance(one, BudgetSpent) for one in spent) == 5


async def test_a_pause_is_for_every_replica_and_for_no_other_account(house, account, neighbour):
    await spender(house, account).limited(600)

    with pytest.raises(BudgetSpent, match="the provider asked to wait") as refusal:
        await spender(house, account).spend()

    assert 590 < (refusal.value.retry_after_seconds or 0) <= 600
    await spender(house, neighbour).spend()


async def test_a_job_that_meets_a_429_waits_and_is_not_charged(house, account, neighbour):
    house.api.faults.next(FaultKind.RATE_LIMITED_WITHOUT_HINT)
    await house.make_ready(account)
    assert await house.worker.run_due() == 1
    await house.make_ready(neighbour)

    assert await house.worker.run_due() == 1  # the neighbour's

    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("due", 0)
    assert [row["state"] for row in await house.jobs(neighbour) if row["kind"] != "verify_webhook"] == ["done"]
    await house.make_due(account)
    assert await house.worker.run_due() == 0
    await end_the_pause(house, account)
    assert await house.worker.run_due() == 1
    assert [row["state"] for row in await house.jobs(account) if row["kind"] != "verify_webhook"] == ["done"]


async def end_the_pause(house: House, account) -> None:
    async with house.units.begin(account.org_id) as work:
        await work.session.execute("UPDATE account_budgets SET paused_until = now() - interval '1 second'")


async def test_an_outage_leaves_the_account_alone_and_charges_no_job(house, account):
    await house.make_ready(account)
    for _ in range(FAILURES):
        await spender(house, account).unanswered()
    assert await house.worker.run_due() == 0
    await end_the_pause(house, account)
    house.api.faults.next(FaultKind.SERVER_ERROR)

    assert await house.worker.run_due() == 1

    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("due", 0)
    async with house.database.tenant_transaction(account.org_id) as session:
        row = await session.fetchrow("SELECT failures, pause_reason FROM account_budgets WHERE paused_until > now()")
    assert (row["failures"], row["pause_reason"]) == (FAILURES + 1, "the provider does not answer")


async def change(house: House, account, **fields):
    async with house.units.begin(account.org_id) as work:
        return await change_account(
            public_id("acc", account.id), AccountChange.model_validate(fields), work, providers=PROVIDERS,
            sealer=house.sealer,
        )  # fmt: skip


async def test_a_refused_key_is_asked_no_more_until_there_is_a_new_one(house, account, neighbour):
    good = house.simulator.api_key
    del house.api.simulators[good]
    await house.make_ready(account)
    await house.worker.run_due()
    calls = len(house.api.calls)

    await house.make_due(account)
    assert await house.worker.run_due() == 0

    assert len(house.api.calls) == calls
    told = await house.told(account, ProviderAccountChangedV1)
    assert [(one.revision, one.status) for one in told] == [(1, "active"), (2, "needs_reauth")]
    with pytest.raises(Invalid, match="send new ones"):
        await change(house, account, status="active")

    house.api.add(house.simulator)
    shown = await change(house, account, credentials={"api_key": good}, revision=2)

    assert (shown.status, shown.status_reason, shown.revision) == ("active", None, 3)
    assert await house.worker.run_due() == 1
    assert [row["state"] for row in await house.jobs(account) if row["kind"] != "verify_webhook"] == ["done"]
    assert [one.status for one in await house.told(neighbour, ProviderAccountChangedV1)] == ["active"]


def test_rates_are_a_setting():
    def rates(text: str) -> dict[str, int]:
        found = ProviderSyncSettings(calls_per_minute=text).providers(PROVIDERS)
        return {name: provider.calls_per_minute for name, provider in found.items()}

    assert rates("") == {"smartlead": 60, "heyreach": 300, "emailbison": 3000}
    assert rates("smartlead=200, heyreach=60") == {"smartlead": 200, "heyreach": 60, "emailbison": 3000}
    for wrong in ("smartlead", "smartlead=0", "smartlead=-1", "other=5", "heyreach=many", "heyreach=²"):
        with pytest.raises(BadSetting, match="name=calls"):
            rates(wrong)


async def test_a_paused_account_does_nothing_until_it_may(house, account):
    await house.make_ready(account)
    await change(house, account, status="paused")
    assert await house.worker.run_due() == 0

    await change(house, account, status="active")

    assert await house.worker.run_due() == 1


async def test_a_change_of_what_somebody_else_changed_is_refused(house, account):
    await change(house, account, name="First", revision=1)

    with pytest.raises(Conflict, match="revision 2"):
        await change(house, account, name="Second", revision=1)
    with pytest.raises(Invalid, match="nothing to change"):
        await change(house, account)
