"""Archived companies: nothing new is begun for them at a provider, what waited is taken back, what ends something is not."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from libs.contracts.events import CompanyArchivedV1, OperationChangedV1
from libs.errors import Conflict
from libs.ids import entity_id, public_id
from services.provider_sync.operation_schemas import NewCampaignIn
from tests.integration.services.provider_sync.effects_house import EffectsHouse


@pytest.fixture
async def house(database, units):
    house = EffectsHouse(database("provider_sync"), units("provider_sync"))
    yield house
    await house.http.aclose()
    await house.over_wire.aclose()


@pytest.fixture
async def accounts(house, make_org):
    """The first one's company will be archived."""
    return [await house.open_account(make_org()) for _ in range(2)]


async def archive(house, account, company_id=None):
    event = CompanyArchivedV1(company_id=company_id or account.company_id, name="One")
    await house.hear(account, "provider-sync.tenants", event)


async def create(house, account, key=None):
    wanted = NewCampaignIn(account_id=public_id("acc", account.id), name="Autumn")
    return await house.operations.create_campaign(house.asking(account, key), "email", wanted)


async def control(house, account, word):
    campaign = house.simulator.account.campaigns[0]
    campaign_id = entity_id(account.id, "campaign", str(campaign.id))
    async with house.units.begin(account.org_id) as work:
        await work.session.execute(
            "INSERT INTO campaigns (org_id, id, account_id, company_id, external_id, channel, name, sources, versions, "
            "revision) VALUES ($1, $2, $3, $4, $5, 'email', $6, 1, '{}', 1) ON CONFLICT DO NOTHING",
            account.org_id, campaign_id, account.id, account.company_id, str(campaign.id), campaign.name,
        )  # fmt: skip
    return await house.operations.control_campaign(
        house.asking(account), "email", public_id("cam", campaign_id), f"{word}_campaign"
    )


async def test_nothing_is_begun_for_an_archived_company(house, accounts):
    archived, other = accounts
    before = await create(house, archived, "asked before")
    await archive(house, archived)

    for begin in (create, partial(control, word="start"), partial(control, word="resume")):
        with pytest.raises(Conflict) as refused:
            await begin(house, archived)
        assert refused.value.code == "company_archived"

    assert len(await house.rows(archived, "operations")) == 1
    assert (await create(house, archived, "asked before")).operation.id == before.operation.id
    await create(house, other)
    await house.finish(other)
    assert [row["state"] for row in await house.rows(other, "operations")] == ["succeeded"]


async def test_what_waits_is_taken_back_but_for_what_ends_something(house, accounts):
    archived, other = accounts
    waiting = [await create(house, archived), await control(house, archived, "pause")]
    await create(house, other)

    await archive(house, archived)
    await archive(house, archived)
    late = await control(house, archived, "stop")
    for account in accounts:
        await house.finish(account)

    states = [await house.state(archived, one) for one in (*waiting, late)]
    assert states == ["cancelled", "succeeded", "succeeded"]
    told = [one.state for one in await house.told(archived, OperationChangedV1) if one.kind == "create_campaign"]
    assert told == ["pending", "cancelled"]
    assert [row["state"] for row in await house.rows(other, "operations")] == ["succeeded"]
    assert len(house.wire.writes) == 3


async def test_what_is_asked_for_while_the_company_is_archived_is_taken_back_or_refused(house, accounts):
    archived, _ = accounts

    async def ask():
        try:
            return await create(house, archived)
        except Conflict:
            return None

    await asyncio.gather(*(ask() for _ in range(5)), archive(house, archived), *(ask() for _ in range(5)))
    await house.finish(archived)

    assert {row["state"] for row in await house.rows(archived, "operations")} <= {"cancelled"}
    assert house.wire.writes == []
