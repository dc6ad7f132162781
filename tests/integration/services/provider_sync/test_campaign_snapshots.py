"""A provider's own counters of a campaign and its sequence: asked for, read once, kept, shown to who sees the campaign."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.errors import Conflict, NotFound
from libs.ids import CompanyId, new_id
from libs.providers.registry import PROVIDERS
from libs.tenancy.context import CompanyScope
from services.provider_sync.domain.jobs import JobKind
from services.provider_sync.handlers.campaign_snapshots import (
    ask_to_read,
    show_email_sequence,
    show_email_statistics,
    show_linkedin_sequence,
    show_linkedin_statistics,
)
from services.provider_sync.handlers.operations import show_operation
from services.provider_sync.handlers.pulls import wish_for_campaigns
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.jobs import JobRepository
from tests.integration.services.provider_sync.effects_house import EffectsHouse
from tests.integration.services.provider_sync.house import HURRIED

SHOWN = {
    ("email", "statistics"): show_email_statistics,
    ("linkedin", "statistics"): show_linkedin_statistics,
    ("email", "sequence"): show_email_sequence,
    ("linkedin", "sequence"): show_linkedin_sequence,
}


@pytest.fixture
async def opened(database, units, make_org):
    houses = []

    async def open_house(provider, plays=0):
        house = EffectsHouse(database("provider_sync"), units("provider_sync"), provider)
        houses.append(house)
        if plays:
            house.simulator.play(plays)
        accounts = [await house.open_account(make_org()) for _ in range(2)]  # the second tenant has the same campaigns
        for account in accounts:
            async with house.units.begin(account.org_id) as work:
                known = (await AccountRepository(work.session).find_all([account.id]))[account.id]
                cause = house.webhook(account, b"{}")
                await JobRepository(work.session).ask_again([wish_for_campaigns(known, cause)])
        await house.worker.run_due()
        return house, *accounts

    yield open_house
    for house in houses:
        await house.http.aclose()
        await house.over_wire.aclose()


def channel_of(house):
    return PROVIDERS[house.provider].channel.value


async def ask(house, account, kind=JobKind.READ_FIGURES, **asking):
    asked = house.asking(account, **asking)
    accepted = await ask_to_read(asked, kind, channel_of(house), house.campaign(account), house.units, HURRIED)
    return accepted.operation


async def shown(house, account, what="statistics", **scope):
    async with house.units.begin(account.org_id, **scope) as work:
        return await SHOWN[channel_of(house), what](work, house.campaign(account))


async def operation(house, account, asked):
    async with house.units.begin(account.org_id) as work:
        return await show_operation(work, asked.id)


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_the_providers_figures_are_kept_as_it_told_them_and_what_it_has_not_is_null(opened, provider):
    house, account, other = await opened(provider, plays=300)
    before = await shown(house, account)
    assert (before.as_of, before.read_at, set(before.totals.model_dump().values())) == (None, None, {None})

    asked = await ask(house, account)
    await house.worker.run_due()

    done = await operation(house, account, asked)
    assert (done.kind, done.state, list(done.result)) == ("read_figures", "succeeded", ["as_of"])
    told = await shown(house, account)
    client: Any = PROVIDERS[provider].make_client(
        {"api_key": house.simulator.api_key}, f"http://127.0.0.1{house.path}", house.http
    )
    real = await client.read_figures(house.simulator.account.campaigns[0].external_id)
    totals = told.totals.model_dump()
    assert {name: value for name, value in totals.items() if value is not None} == real.figures
    assert set(real.figures) == set(PROVIDERS[provider].figures)
    assert told.not_told == [name for name, value in totals.items() if value is None]
    assert told.as_of is not None
    if channel_of(house) == "email":
        assert {one.external_id for one in told.steps} == set(real.by_step)
        assert {one.number for one in told.steps} == set(range(1, 1 + max(one.number for one in told.steps)))
        sent = sum(one.sent for one in told.steps)
        assert sent == told.totals.sent > 0
    assert (await shown(house, other)).as_of is None
    assert await house.rows(other, "operations") == []


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_what_our_rows_count_stands_beside_it(opened, provider):
    house, account, _ = await opened(provider)
    await house.deliver(account, [post.body for post in house.simulator.deliveries(300, duplicates=0.2)])
    await ask(house, account)
    await house.worker.run_due()

    told = await shown(house, account)

    counted, totals = told.counted.model_dump(), told.totals.model_dump()
    both = {name for name, value in totals.items() if value is not None and counted[name] is not None}
    both -= {"leads"}  # webhooks tell of who was written to
    assert sum(totals[name] > 0 for name in both) >= 6
    assert {name: (totals[name], counted[name]) for name in both if totals[name] != counted[name]} == {}


def happened(house, external_id):
    """What readings can find of a campaign's openings, bounces and unsubscriptions: EmailBison's log is of ten days."""
    if house.provider == "smartlead":
        (campaign,) = [one for one in house.simulator.account.campaigns if one.external_id == external_id]
        mail = [sent for one in campaign.enrolments for sent in one.of_sequence]
        return {
            "bounced": sum(sent.bounced_at is not None for sent in mail),
            "unsubscribed": sum(sent.is_unsubscribed for sent in mail),
        }
    recent = [one for one in house.simulator.log if house.simulator.now - one.at < timedelta(days=10)]
    types = [
        one.event_type for one in recent if str((one.payload["data"].get("campaign") or {}).get("id")) == external_id
    ]
    return {
        "opened": types.count("EMAIL_OPENED"),
        "bounced": types.count("EMAIL_BOUNCED"),
        "unsubscribed": types.count("LEAD_UNSUBSCRIBED"),
    }


@pytest.mark.parametrize("provider", ["smartlead", "emailbison"])
async def test_what_happened_to_a_mail_and_no_webhook_told_is_counted_once_it_is_read(opened, provider):
    house, account, _ = await opened(provider)
    posts = [post.body for post in house.simulator.deliveries(400, duplicates=0)]
    real = happened(house, house.simulator.account.campaigns[0].external_id)
    assert min(real.values()) > 0, real

    await house.sync(account)
    read = (await shown(house, account)).counted.model_dump()
    assert {name: read[name] for name in real} == real

    await house.deliver(
        account, posts
    )  # webhooks that come late tell of the same ones, and of those that nobody can read
    told = (await shown(house, account)).counted.model_dump()
    await ask(house, account)
    await house.worker.run_due()
    totals = (await shown(house, account)).totals.model_dump()
    assert {name: told[name] for name in real} == {name: totals[name] for name in real}


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
async def test_a_sequence_is_shown_with_all_its_texts(opened, provider):
    house, account, other = await opened(provider)
    await ask(house, account, JobKind.READ_SEQUENCE)
    await house.worker.run_due()

    told = await shown(house, account, "sequence")

    campaign = house.simulator.account.campaigns[0]
    if channel_of(house) == "email":
        assert [step.number for step in told.steps] == [step.number for step in campaign.steps]
        assert all(variant.body_html and step.external_id for step in told.steps for variant in step.variants)
        assert told.steps[0].variants[0].subject == campaign.steps[0].subject
        assert (await shown(house, other, "sequence")).steps is None
    else:
        kinds, node = [], told.first
        while node is not None:
            kinds.append(node.kind)
            node = node.if_met or node.following
        assert kinds[0] == campaign.sequence["nodeType"].lower()
        assert kinds[-1] == "end"
        assert (await shown(house, other, "sequence")).first is None


async def test_one_who_does_not_see_the_campaign_neither_asks_nor_sees(opened):
    house, account, other = await opened("smartlead", plays=60)
    sibling = CompanyScope.of([CompanyId(new_id())])
    await ask(house, account)
    await house.worker.run_due()

    with pytest.raises(NotFound):
        await ask(house, account, scope=sibling)
    with pytest.raises(NotFound):
        await shown(house, account, scope=sibling)
    foreign = house.asking(other)
    with pytest.raises(NotFound):
        await ask_to_read(foreign, JobKind.READ_FIGURES, "email", house.campaign(account), house.units, HURRIED)
    with pytest.raises(NotFound):
        await ask_to_read(
            house.asking(account), JobKind.READ_FIGURES, "linkedin", house.campaign(account), house.units, HURRIED
        )
    assert await house.rows(other, "operations") == []
    assert (await shown(house, account, scope=CompanyScope.of([account.company_id]))).totals.sent is not None


async def test_the_same_key_asks_once_and_a_later_answer_replaces_the_one_before(opened):
    house, account, _ = await opened("emailbison", plays=60)
    first = await ask(house, account, key="one")
    assert (await ask(house, account, key="one")).id == first.id
    with pytest.raises(Conflict, match="another request"):
        await ask(house, account, JobKind.READ_SEQUENCE, key="one")
    await house.worker.run_due()
    before = await shown(house, account)

    house.simulator.play(200)
    assert (await ask(house, account, key="one")).id == first.id
    assert not await house.worker.run_due()
    await ask(house, account, key="two")
    await house.worker.run_due()

    after = await shown(house, account)
    assert after.totals.sent > before.totals.sent
    assert after.read_at > before.read_at


async def test_what_the_provider_refuses_ends_the_operation_and_what_has_to_wait_does_not(opened):
    house, account, _ = await opened("smartlead", plays=60)
    house.api.revoked.add(house.simulator.api_key)
    waiting = await ask(house, account)
    await house.worker.run_due()
    assert (await operation(house, account, waiting)).state == "pending"
    house.api.revoked.clear()
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE accounts SET status = 'active'")
    await house.make_due(account)
    await house.worker.run_due()
    assert (await operation(house, account, waiting)).state == "succeeded"

    gone = await ask(house, account)
    house.simulator.account.campaigns[:] = house.simulator.account.campaigns[1:]
    await house.worker.run_due()

    failed = await operation(house, account, gone)
    assert (failed.state, failed.error_code, failed.done) == ("failed", "provider_refused", 0)
    assert failed.error
