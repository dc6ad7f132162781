"""Reading EmailBison's accounts, and HeyReach's where somebody chose so."""

from __future__ import annotations

import pytest

from libs.contracts.events import MessageRecordedV1
from libs.ids import entity_id
from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.sightings import Source
from libs.providers.simulation import FaultKind
from services.provider_sync.domain.merging import bit
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.stage import TABLES, rows_of, told


@pytest.fixture
async def house_of(database, units, make_org):
    opened = []

    async def house_of(provider, *, chosen=None):
        house = House(database("provider_sync"), units("provider_sync"), provider)
        opened.append(house)
        house.simulator.play(150)
        await house.open_account(make_org())  # a second tenant, whose account has the same campaigns
        account = await house.open_account(make_org())
        async with house.database.tenant_transaction(account.org_id) as session:
            await session.execute("UPDATE accounts SET sync_mode = $1", chosen)
        return house, account

    yield house_of
    for house in opened:
        await house.http.aclose()


CHOSEN = {"emailbison": None, "heyreach": "pull_best_effort"}


async def truth(house):
    account, messages, enrolled = house.simulator.account, set(), set()
    for campaign in account.campaigns:
        rows = campaign.enrolments.values() if house.provider == "heyreach" else campaign.enrolments
        enrolled |= {f"{campaign.external_id}:{one.lead.key}" for one in rows}
    if house.provider == "heyreach":
        return {thread.key(said) for thread in account.threads for said in thread.said}, enrolled
    client = EmailBisonClient(house.simulator.api_key, "http://127.0.0.1", house.http)
    for campaign in account.campaigns:
        messages |= {one.key for one in await client.list_message_keys(campaign.external_id)}
    return messages, enrolled


async def held(house, account):
    rows = await rows_of(house.database, account.org_id)
    return {row["key"] for row in rows["messages"] if row["direction"]}, {row["key"] for row in rows["enrolments"]}


async def versions_of(house, account):
    found = {}
    async with house.database.tenant_transaction(account.org_id) as session:
        for table in TABLES:
            rows = await session.fetch(f"SELECT id, xmin::text AS version FROM {table}")
            found[table] = {row["id"]: row["version"] for row in rows}
    return found


@pytest.mark.parametrize("provider", CHOSEN)
async def test_a_reading_from_empty_finds_all_and_the_next_one_nothing(house_of, provider):
    house, account = await house_of(provider, chosen=CHOSEN[provider])

    run = await house.sync(account)

    assert (run["state"], run["error"]) == ("succeeded", None)
    messages, enrolled = await truth(house)
    assert len(messages) > 30
    assert await held(house, account) == (messages, enrolled)
    assert {one.message_id for one in await house.told(account, MessageRecordedV1)} == {
        entity_id(account.id, "message", key) for key in messages
    }
    events, rows = len(await told(house.database, account.org_id)), await versions_of(house, account)
    house.api.book.calls.clear()
    again = await house.sync(account)
    assert (again["state"], again["rows_changed"]) == ("succeeded", 0)
    assert len(await told(house.database, account.org_id)) == events
    assert await versions_of(house, account) == rows
    calls = house.api.book.by_endpoint()
    if provider == "emailbison":  # the counters of the campaigns stand still, so neither leads nor mail are asked for
        assert not [call for call in calls if call.endswith(("/leads", "/scheduled-emails"))]
    assert (await house.sync(account, is_full=True))["rows_changed"] == 0
    assert await versions_of(house, account) == rows


@pytest.mark.parametrize("provider", CHOSEN)
@pytest.mark.parametrize("fault", [FaultKind.PAGE_LOOP, FaultKind.TRUNCATED])
async def test_a_page_that_is_none_costs_nothing(house_of, provider, fault):
    house, account = await house_of(provider, chosen=CHOSEN[provider])
    house.api.faults.next(fault, 3, path="/replies" if provider == "emailbison" else "GetLeadsFromCampaign")

    run = await house.sync(account)

    assert run["state"] == "succeeded"
    assert await held(house, account) == await truth(house)


async def test_steps_are_those_that_the_provider_tells(house_of):
    house, account = await house_of("emailbison")
    await house.sync(account)

    rows = (await rows_of(house.database, account.org_id))["messages"]
    sent = [row for row in rows if row["key"].startswith("sent:")]
    assert {row["step_source"] for row in sent} == {"pull"}
    answers = [row for row in rows if row["direction"] == "inbound" and row["in_reply_to_id"] is not None]
    steps = {row["id"]: row["step_number"] for row in rows}
    assert answers
    for row in answers:
        assert (row["step_number"], row["step_source"]) == (steps[row["in_reply_to_id"]], "inferred")


async def test_heyreach_is_not_read_unless_somebody_chose_so(house_of):
    house, account = await house_of("heyreach")

    run = await house.sync(account)

    assert (run["state"], run["error_code"]) == ("failed", "capability_unsupported")
    assert house.api.book.calls == []


async def test_what_a_webhook_knows_of_a_linkedin_message_stays(house_of):
    """A pull names no campaign: that of the webhook is not taken away."""
    house, account = await house_of("heyreach", chosen="pull_best_effort")
    await house.deliver(account, [one.body for one in house.simulator.deliveries(60, duplicates=0)])
    before = {row["key"]: row["campaign_id"] for row in (await rows_of(house.database, account.org_id))["messages"]}
    assert any(before.values())

    await house.sync(account)

    after = {row["key"]: row["campaign_id"] for row in (await rows_of(house.database, account.org_id))["messages"]}
    assert {key: after[key] for key in before} == before


async def test_an_answer_that_no_webhook_told_is_that_campaigns_which_alone_wrote_before(house_of):
    house, account = await house_of("heyreach", chosen="pull_best_effort")
    posts = [one.body for one in house.simulator.deliveries(300, duplicates=0)]
    await house.deliver(account, [body for body in posts if b"reply_received" not in body])
    written_to = {row["lead_id"] for row in (await rows_of(house.database, account.org_id))["messages"]}

    await house.sync(account)

    rows = (await rows_of(house.database, account.org_id))["messages"]
    known = {entity_id(account.id, "campaign", one.external_id) for one in house.simulator.account.campaigns}
    truth = {
        note.message_key: entity_id(account.id, "campaign", note.campaign)
        for note in house.simulator.journal.notes
        if note.campaign and note.message_key
    }
    answers = [row for row in rows if row["direction"] == "inbound" and row["lead_id"] in written_to]
    inferred = [row for row in answers if row["campaign_id"] is not None]
    assert len(inferred) > 5
    assert {row["campaign_id"] for row in inferred} <= known
    assert {row["key"]: row["campaign_id"] for row in inferred} == {row["key"]: truth[row["key"]] for row in inferred}
    # Nobody knows who wrote what only a reading told: it is no campaign's.
    assert {
        row["campaign_id"] for row in rows if row["direction"] == "outbound" and row["sources"] == bit(Source.PULL)
    } <= {None}
    versions = await versions_of(house, account)
    assert (await house.sync(account))["rows_changed"] == 0
    assert await versions_of(house, account) == versions

    await house.deliver(account, posts)  # the webhooks come after all, and say the same
    after = {row["key"]: row["campaign_id"] for row in (await rows_of(house.database, account.org_id))["messages"]}
    assert {row["key"]: after[row["key"]] for row in inferred} == {row["key"]: row["campaign_id"] for row in inferred}
