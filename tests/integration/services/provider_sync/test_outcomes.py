"""What a write's outcome proves is known at once, is not more than it proves, and gives way to what the provider says later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs import clock
from libs.errors import Unsupported
from libs.ids import public_id
from libs.providers.sightings import Channel, LeadSighting, Reading, Source
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers import additions
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.outcomes import as_of
from services.provider_sync.handlers.pulls import wish_for_campaigns
from services.provider_sync.operation_schemas import CampaignChangeIn, LeadsIn
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.jobs import JobRepository
from tests.integration.services.provider_sync.effects_house import EffectsHouse


@pytest.fixture
async def opened(database, units, make_org, monkeypatch):
    """Opens houses whose clock is their simulator's, with an account each; closes them."""
    houses = []

    async def open_house(provider, **simulated):
        house = EffectsHouse(database("provider_sync"), units("provider_sync"), provider, **simulated)
        houses.append(house)
        monkeypatch.setattr(clock, "_now", lambda: house.simulator.now)
        await house.open_account(make_org())  # a second tenant, whose rows nothing may touch
        account = await house.open_account(make_org())
        async with house.units.begin(account.org_id) as work:
            known = (await AccountRepository(work.session).find_all([account.id]))[account.id]
            cause = house.webhook(account, b"{}")
            await JobRepository(work.session).ask_again([wish_for_campaigns(known, cause)])
        await house.worker.run_due()
        return house, account, known

    yield open_house
    for house in houses:
        await house.http.aclose()
        await house.over_wire.aclose()


async def add(house, account, *leads):
    body = LeadsIn.model_validate({"leads": [*leads]})
    asked = await house.operations.add_leads(house.asking(account), "email", house.campaign(account), body)
    await house.effects.run_due()
    assert await house.state(account, asked) == "succeeded"
    return (await house.row(account, asked))["result"]


async def states(house, account):
    """(address, state) of everybody who is known to be in a campaign."""
    addresses = {row["id"]: row["email"] for row in await house.rows(account, "leads")}
    return {addresses[row["lead_id"]]: row["state"] for row in await house.rows(account, "enrolments")}


async def test_who_was_added_is_known_and_waits(opened):
    house, account, _ = await opened("smartlead")
    await add(house, account, {"email": "Ada@Example.com", "first_name": "Ada"}, {"email": "ben@example.com"})

    assert await states(house, account) == {"ada@example.com": "waiting", "ben@example.com": "waiting"}


async def decided(house, account):
    """The result of the operation once all looks are done."""
    for _ in range(5):
        house.simulator.advance(timedelta(seconds=1))
        await house.make_due(account, but="verify_webhook")
        await house.worker.run_due()
    (row,) = [row for row in await house.rows(account, "operations") if row["kind"] == "add_leads"]
    return row["result"]


async def test_of_a_batch_that_was_only_counted_each_lead_is_looked_for(opened, monkeypatch):
    monkeypatch.setattr(additions, "AT_ONCE", 2)
    house, account, _ = await opened("smartlead")
    house.simulator.account.blocked[1] = "ben@example.com"
    house.simulator.account.blocked[2] = "eve@example.com"
    names = ("ada", "ben", "cem", "dan", "Eve")
    people = ({"email": f"{name}@example.com", "first_name": name} for name in names)
    result = await add(house, account, *people)

    assert (result["added"], result["refused"]) == (3, {"on a block list": 2})
    assert [one["outcome"] for one in result["not_added"]] == ["undecided"] * 5
    assert await states(house, account) == {}

    assert (await decided(house, account))["not_added"] == [
        {"email": "ben@example.com", "outcome": "refused", "reason": "on a block list"},
        {"email": "Eve@example.com", "outcome": "refused", "reason": "on a block list"},
    ]
    assert await states(house, account) == dict.fromkeys(("ada@example.com", "cem@example.com", "dan@example.com"))
    assert {row["first_name"] for row in await house.rows(account, "leads")} == {"ada", "cem", "dan"}


async def test_where_the_provider_names_who_was_refused_nobody_is_looked_for(opened):
    house, account, _ = await opened("emailbison")
    await add(house, account, {"email": "ben@example.com"})
    house.simulator.account.leads["ben@example.com"].status = "bounced"
    asked = await house.operations.add_leads(
        house.asking(account), "email", house.campaign(account, 1),
        LeadsIn.model_validate({"leads": [{"email": "Ada@example.com"}, {"email": "Ben@example.com"}]}),
    )  # fmt: skip
    await house.effects.run_due()

    result = (await house.row(account, asked))["result"]
    assert result["not_added"] == [{"email": "Ben@example.com", "outcome": "refused", "reason": "has bounced"}]
    assert (await states(house, account))["ada@example.com"] == "waiting"
    assert "look_for_leads" not in {job["kind"] for job in await house.jobs(account)}


async def test_a_lead_on_linkedin_is_looked_for_too(opened):
    house, account, _ = await opened("heyreach")
    house.simulator.account.unreachable.add("in/ben-example")
    people = [{"profile_url": f"https://linkedin.com/in/{name}-example/"} for name in ("ada", "ben")]
    asked = await house.operations.add_leads(
        house.asking(account), "linkedin", house.campaign(account), LeadsIn.model_validate({"leads": people})
    )
    await house.effects.run_due()
    assert [one["outcome"] for one in (await house.row(account, asked))["result"]["not_added"]] == ["undecided"] * 2

    (ben,) = (await decided(house, account))["not_added"]
    assert (ben["profile_url"], ben["outcome"]) == (people[1]["profile_url"], "refused")
    assert [row["profile_url"] for row in await house.rows(account, "leads")] == [
        "https://www.linkedin.com/in/ada-example"
    ]


async def test_a_batch_that_is_refused_as_a_whole_says_so_of_each(opened):
    house, account, _ = await opened("smartlead")
    campaign = house.campaign(account)
    house.simulator.account.campaigns[:] = house.simulator.account.campaigns[1:]
    asked = await house.operations.add_leads(
        house.asking(account), "email", campaign, LeadsIn.model_validate({"leads": [{"email": "ada@example.com"}]})
    )
    await house.effects.run_due()

    row = await house.row(account, asked)
    (ada,) = row["result"]["not_added"]
    assert (row["state"], ada["email"], ada["outcome"]) == ("failed", "ada@example.com", "refused")
    assert ada["reason"] == row["error"]


async def test_who_was_in_before_may_be_anywhere_and_keeps_what_is_known_of_them(opened):
    house, account, known = await opened("smartlead")
    told = LeadSighting(key="email:ada@example.com", seen_at=datetime(2020, 1, 1, tzinfo=UTC), first_name="Ada")
    async with house.units.begin(account.org_id) as work:
        await record([Told(known, Reading(event_type="EMAIL_SENT", leads=(told,)), Source.WEBHOOK, None)], work)
    house.simulator.advance(timedelta(seconds=1))
    ada = {"email": "ada@example.com", "first_name": "Eve", "last_name": "Example"}
    await add(house, account, ada)
    assert (await add(house, account, ada, {"email": "ben@example.com"}))["known"] == 1

    assert await states(house, account) == {"ada@example.com": "waiting", "ben@example.com": None}
    (lead,) = [row for row in await house.rows(account, "leads") if row["email"] == "ada@example.com"]
    assert (lead["first_name"], lead["last_name"]) == ("Ada", "Example")


async def status(house, account):
    rows = await house.rows(account, "campaigns")
    draft = house.simulator.account.campaigns[-1]
    (row,) = [row for row in rows if row["external_id"] == draft.external_id]
    return row["status"]


async def look(house, account):
    house.simulator.advance(timedelta(seconds=5))
    await house.make_due(account, but="verify_webhook")  # its calls would come off the same minute
    await house.worker.run_due()
    (job,) = [job for job in await house.jobs(account) if job["payload"].get("follows")]
    return job["state"]


async def started(house, account):
    assert await status(house, account) == "draft"
    house.simulator.advance(timedelta(seconds=5))
    number = len(house.simulator.account.campaigns) - 1
    campaign = house.campaign(account, number)
    await house.operations.control_campaign(house.asking(account), "linkedin", campaign, "start_campaign")
    await house.effects.run_due()
    assert await status(house, account) == "active"


async def test_a_status_that_follows_late_is_looked_at_again_and_not_believed_meanwhile(opened):
    house, account, _ = await opened("heyreach", drafts=1, status_lag=timedelta(seconds=12))
    await started(house, account)

    seen = [(await look(house, account), await status(house, account)) for _ in range(3)]
    assert seen == [("due", "active"), ("due", "active"), ("done", "active")]


async def test_a_status_that_never_follows_is_believed_in_the_end(opened):
    house, account, _ = await opened("heyreach", drafts=1, status_lag=timedelta(days=1))
    await started(house, account)

    seen = [(await look(house, account), await status(house, account)) for _ in range(4)]
    assert seen == [("due", "active")] * 3 + [("done", "draft")]


async def test_a_wish_that_the_adapter_refuses_is_refused_at_once_and_without_a_call(opened):
    house, account, _ = await opened("smartlead")
    before = len(house.api.calls)
    with pytest.raises(Unsupported, match="rename"):
        await house.operations.change_campaign(
            house.asking(account), "email", house.campaign(account), CampaignChangeIn(name="Winter")
        )
    assert (len(house.api.calls), await house.rows(account, "operations")) == (before, [])


def test_an_outcome_is_as_new_as_its_answer_and_newer_than_what_was_read_in_that_second():
    answered, ours = datetime(2026, 7, 11, 12, 0, 5, tzinfo=UTC), datetime(2026, 7, 11, 11, 58, 1, 250_000, tzinfo=UTC)
    assert as_of(answered, ours) == answered.replace(microsecond=250_000)
    assert as_of(answered, ours.replace(microsecond=0)) > answered
    assert as_of(None, ours) == ours


async def test_drafts_are_known_though_no_webhook_tells_of_them(opened):
    house, account, known = await opened("heyreach", drafts=2)
    rows = await house.rows(account, "campaigns")
    assert {row["external_id"] for row in rows} == set(house.simulator.campaign_ids)
    assert {row["channel"] for row in rows} == {Channel.LINKEDIN.value}
    assert [row["status"] for row in rows].count("draft") == 2
    assert public_id("cmp", known.company_id) == public_id("cmp", rows[0]["company_id"])
