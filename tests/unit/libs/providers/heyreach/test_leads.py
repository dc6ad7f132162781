"""Leads of campaigns: the client against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from libs.errors import Invalid, ProviderRefused, ProviderUnavailable, Unsupported
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.heyreach.profiles import read_profile
from libs.providers.records import CampaignLead, LeadRef, LeadsAdded, LeadState, NewLead
from libs.providers.sightings import CampaignStatus
from tests.unit.libs.providers.heyreach.stage import NOW, QUICK, URL, Stage, frozen, make_stage, person, profile, ref


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


async def listed(stage: Stage, campaign: str) -> list[CampaignLead]:
    found: list[CampaignLead] = []
    after = None
    while True:
        page = await stage.client.list_leads(campaign, after=after)
        found += page.items
        after = page.after
        if after is None:
            return found


async def test_all_leads_are_listed_over_many_pages(stage: Stage) -> None:
    stage.simulator.play(3000)
    found = await listed(stage, stage.campaign.external_id)

    assert [one.lead.key for one in found] == [one.lead.key for one in stage.campaign.enrolments.values()]
    assert len(found) > 250
    assert {one.state for one in found} >= {LeadState.WAITING, LeadState.ACTIVE, LeadState.COMPLETED}
    assert {one.lead.seen_at for one in found} == {NOW}
    assert not {one.lead.key for one in found} & {lead.key for lead in stage.another.account.leads}


async def test_leads_who_go_and_come_meanwhile_make_no_hole(stage: Stage) -> None:
    stage.simulator.play(2500)
    campaign = stage.campaign
    rows = list(campaign.enrolments)
    first = await stage.client.list_leads(campaign.external_id)
    for gone in rows[10:30]:
        del campaign.enrolments[gone]
    second = await stage.client.list_leads(campaign.external_id, after=first.after)

    told = [one.lead.external_id for one in (*first.items, *second.items)]
    assert told == rows[: len(told)]
    assert len(told) > 150


@pytest.mark.parametrize("after", ["", "7", ":7", "x:7", "-1:7", "7:", "٧:7", "9" * 20 + ":7"])
async def test_a_made_up_place_is_refused(after: str, stage: Stage) -> None:
    with pytest.raises(Invalid, match="no place"):
        await stage.client.list_leads(stage.campaign.external_id, after=after)
    assert stage.app.calls == []


async def test_leads_are_added_once_and_known_by_any_spelling(stage: Stage) -> None:
    campaign = stage.campaign
    sender = campaign.senders[1]
    ines = person("ines", company_name="North", title="COO", fields={"opener": "Hi"}, sender_external_id=str(sender.id))
    first = await stage.client.add_leads(campaign.external_id, [ines, person("leo")])
    again = NewLead(profile_url="LinkedIn.com/in/INES-example/?x=1", fields={"opener": "Hello"})
    second = await stage.client.add_leads(campaign.external_id, [again, person("ana")])

    assert (first, second) == (LeadsAdded(added=2), LeadsAdded(added=1, known=1))
    assert len(campaign.enrolments) == 3
    enrolment = stage.enrolment(profile("ines"))
    assert (enrolment.sender, enrolment.custom_fields) == (sender, {"opener": "Hello"})
    found = await stage.client.find_lead(ref("ines").key)
    assert found is not None
    told = (found.first_name, found.last_name, found.company_name, found.title, found.profile_url)
    assert told == ("Ines", "Example", "North", "COO", profile("ines"))
    assert await stage.client.find_lead(ref("nobody").key) is None


async def test_a_finished_campaign_goes_on_and_one_that_rests_keeps_them_waiting(stage: Stage) -> None:
    running, _, finished, draft = stage.simulator.campaign_ids
    await stage.client.pause_campaign(running)
    for campaign in (running, finished):
        await stage.client.add_leads(campaign, [person("ines")])

    assert (await stage.client.get_campaign(running)).status is CampaignStatus.PAUSED
    assert (await stage.client.get_campaign(finished)).status is CampaignStatus.ACTIVE
    with pytest.raises(ProviderRefused, match="You cannot add new leads to a draft campaign"):
        await stage.client.add_leads(draft, [person("ines")])
    assert sorted(await stage.client.list_campaigns_of_lead(ref("ines"))) == sorted([running, finished])


@pytest.mark.parametrize(
    ("lead", "error", "why"),
    [
        (NewLead(email="ines@north.example.com"), Unsupported, "give each one its profile_url"),
        (NewLead(profile_url="https://example.com/in/ines"), Invalid, "not a LinkedIn profile"),
        (person("ines", fields={"an opener": "x"}), Invalid, "letters, digits and _"),
        (person("ines", sender_external_id="../7"), Invalid, "sender_external_id is no id"),
    ],
)
async def test_a_lead_that_cannot_be_added_is_refused_before_anything_is_sent(
    lead: NewLead, error: type[Exception], why: str, stage: Stage
) -> None:
    with pytest.raises(error, match=why):
        await stage.client.add_leads(stage.campaign.external_id, [person("leo"), lead])
    assert stage.app.calls == []


async def test_a_batch_is_as_large_as_the_provider_takes(stage: Stage) -> None:
    most = stage.client.largest_batch_of_leads()
    people = [person(f"p{n}") for n in range(most + 1)]
    with pytest.raises(Invalid, match="HeyReach takes 100"):
        await stage.client.add_leads(stage.campaign.external_id, people)
    assert stage.app.calls == []
    assert (await stage.client.add_leads(stage.campaign.external_id, people[:most])).added == most


async def test_a_lead_who_is_stopped_gets_nothing_more(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    await stage.client.add_leads(campaign, [person("ines"), person("leo")])
    stage.simulator.advance(timedelta(hours=1))
    for name in ("ines", "leo"):
        stage.simulator.live.accepts(stage.campaign, stage.enrolment(profile(name)))
    await stage.client.stop_lead(campaign, ref("ines"))
    stage.simulator.advance(timedelta(days=1))

    found = {name: await stage.client.find_campaign_lead(campaign, ref(name)) for name in ("ines", "leo", "ana")}
    assert {name: one and one.state for name, one in found.items()} == {
        "ines": LeadState.COMPLETED,
        "leo": LeadState.ACTIVE,
        "ana": None,
    }
    assert stage.enrolment(profile("ines")).thread is None
    assert stage.enrolment(profile("leo")).thread is not None
    with pytest.raises(ProviderRefused, match="not in the campaign"):
        await stage.client.stop_lead(campaign, ref("ana"))


@pytest.mark.parametrize(
    "key", ["", "email:ines@north.example.com", "linkedin:", "linkedin:sha256-" + "0" * 64, "in/x"]
)
async def test_a_key_that_names_no_profile_is_refused(key: str, stage: Stage) -> None:
    lead, campaign = LeadRef(key=key), stage.campaign.external_id
    for ask in (
        stage.client.find_lead(key),
        stage.client.list_campaigns_of_lead(lead),
        stage.client.find_campaign_lead(campaign, lead),
        stage.client.stop_lead(campaign, lead),
    ):
        with pytest.raises(Invalid, match="names no lead"):
            await ask
    assert stage.app.calls == []


async def test_a_lead_of_another_workspace_is_nobody(stage: Stage) -> None:
    stage.another.play(200)
    theirs = stage.another.account.leads[0]
    assert read_profile(theirs.profile_url)
    assert await stage.client.find_lead(theirs.key) is None
    assert await stage.client.list_campaigns_of_lead(LeadRef(key=theirs.key)) == []


async def test_a_list_without_total_that_repeats_itself_is_an_error(stage: Stage) -> None:
    asked: list[int] = []

    def answer(_: httpx.Request) -> httpx.Response:
        asked.append(1)
        return httpx.Response(200, json={"items": [{"campaignId": 7, "leadStatus": "Pending"}]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(ProviderUnavailable, match="the same page again"):
            await HeyReachClient("key", URL, http, policy=QUICK).list_campaigns_of_lead(ref("ines"))
    assert len(asked) == 2
