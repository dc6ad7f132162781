"""Leads through the client, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.errors import ContractViolated, Invalid, ProviderUnavailable, Unsupported
from libs.providers.calls import NotThere
from libs.providers.records import Addition, CampaignLead, LeadAddition, LeadRef, LeadsAdded, LeadState, NewLead
from libs.providers.simulation import FaultKind
from libs.providers.smartlead import keys, lead_calls
from libs.providers.smartlead.lead_calls import LARGEST_BATCH, ROSTER_PAGE
from tests.unit.libs.providers.smartlead.stage import NOW, Stage, frozen, make_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


def ref(address: str) -> LeadRef:
    return LeadRef(key=keys.lead(address))


async def fill(stage: Stage, count: int) -> str:
    """A campaign with so many leads."""
    campaign = await stage.client.create_campaign(name="Autumn")
    for first in range(0, count, LARGEST_BATCH):
        batch = [NewLead(email=f"p{n}@north.example.com") for n in range(first, min(first + LARGEST_BATCH, count))]
        await stage.client.add_leads(campaign, batch)
    return campaign


async def walk(stage: Stage, campaign: str) -> list[CampaignLead]:
    found: list[CampaignLead] = []
    after: str | None = None
    while True:
        page = await stage.client.list_leads(campaign, after=after)
        found += page.items
        after = page.after
        if after is None:
            return found


async def test_a_batch_is_counted_by_what_became_of_it(stage: Stage) -> None:
    campaign = await stage.client.create_campaign(name="Autumn")
    stage.simulator.account.blocked[1] = "blocked.example.com"
    await stage.client.add_leads(campaign, [NewLead(email="known@north.example.com")])
    gone = NewLead(email="gone@north.example.com")
    await stage.client.add_leads(stage.campaign.external_id, [gone])
    await stage.client.unsubscribe_lead(ref("gone@north.example.com"))

    added = await stage.client.add_leads(
        campaign,
        [
            NewLead(email="new@north.example.com", first_name="Ines", title="COO", fields={"opener": "Berths"}),
            NewLead(email="new@north.example.com"),
            NewLead(email="Known@north.example.com"),
            NewLead(email="x@blocked.example.com"),
            NewLead(email="nobody"),
            gone,
        ],
    )

    assert added == LeadsAdded(
        added=1,
        known=1,
        refused={
            "on a block list": 1,
            "twice in the batch or in another campaign": 1,
            "no valid address": 1,
            "unsubscribed": 1,
        },
        leads=(
            LeadAddition("email:nobody", Addition.REFUSED, "no valid address"),
            LeadAddition("email:gone@north.example.com", Addition.REFUSED, "unsubscribed"),
        ),
    )
    lead = stage.enrolment("new@north.example.com", campaign).lead
    assert (lead.first_name, lead.custom_fields) == ("Ines", {"title": "COO", "opener": "Berths"})


async def test_what_cannot_be_added_is_said_before_a_call(stage: Stage) -> None:
    before = len(stage.app.calls)
    campaign = stage.campaign.external_id
    with pytest.raises(Unsupported, match="e-mail address"):
        await stage.client.add_leads(campaign, [NewLead(profile_url="https://www.linkedin.com/in/ada")])
    with pytest.raises(Invalid, match="Smartlead takes 100"):
        await stage.client.add_leads(campaign, [NewLead(email=f"p{n}@x.example.com") for n in range(101)])
    assert stage.client.largest_batch_of_leads() == LARGEST_BATCH
    assert len(stage.app.calls) == before


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 199, 200, 250])
async def test_all_leads_are_listed_once_whatever_the_pages(count: int, stage: Stage) -> None:
    campaign = await fill(stage, count)

    found = await walk(stage, campaign)

    assert [lead.lead.email for lead in found] == [f"p{n}@north.example.com" for n in range(count)]


async def test_a_listed_lead_says_how_far_it_is(stage: Stage) -> None:
    stage.simulator.play(900)
    enrolments = {one.lead.address: one for one in stage.campaign.enrolments}
    found = await walk(stage, stage.campaign.external_id)

    assert {lead.lead.email for lead in found} == set(enrolments)
    states = {"STARTED": "waiting", "INPROGRESS": "active"}
    for lead in found:
        one = enrolments[lead.lead.email or ""]
        assert lead.state.value == states.get(one.status, one.status.lower())
        assert lead.enrolment_external_id == str(one.map_id)
        assert lead.lead.external_id == str(one.lead.id)
        assert lead.lead.seen_at == NOW
        assert (lead.category or "") == {None: "", 1: "Interested"}.get(one.category_id, lead.category)
        assert lead.is_unsubscribed is one.lead.is_unsubscribed
    assert {"Interested", ""} <= {lead.category for lead in found}
    assert len({lead.state for lead in found}) >= 4


@pytest.mark.parametrize("change", ["added in front", "taken away", "many taken away"])
async def test_a_roster_that_moves_between_two_pages_loses_nobody(change: str, stage: Stage) -> None:
    campaign = await fill(stage, 250)
    found = stage.simulator.account.campaign(campaign)
    assert found is not None
    first = await stage.client.list_leads(campaign)
    if change == "added in front":
        found.enrolments.insert(0, found.enrolments.pop())
    elif change == "taken away":
        del found.enrolments[3]
    else:
        del found.enrolments[10:50]

    rest: list[CampaignLead] = []
    after = first.after
    while after is not None:
        page = await stage.client.list_leads(campaign, after=after)
        rest += page.items
        after = page.after

    told = {lead.lead.email for lead in [*first.items, *rest]}
    assert {one.lead.address for one in found.enrolments} <= told | {"p249@north.example.com"}
    assert len(rest) == len({lead.lead.email for lead in rest})


async def test_a_roster_whose_place_is_gone_is_begun_anew(stage: Stage) -> None:
    campaign = await fill(stage, 250)
    first = await stage.client.list_leads(campaign)
    found = stage.simulator.account.campaign(campaign)
    assert found is not None
    del found.enrolments[20:150]

    with pytest.raises(ProviderUnavailable, match="moved"):
        await stage.client.list_leads(campaign, after=first.after)


@pytest.mark.parametrize("total", [150, 199, 250])
async def test_a_roster_that_repeats_its_first_page_ends_in_an_error_and_not_in_a_loop(
    total: int, stage: Stage
) -> None:
    campaign = await fill(stage, total)
    first = await stage.client.list_leads(campaign)
    stage.app.faults.always(FaultKind.PAGE_LOOP, path="/leads")
    before = len(stage.app.calls)

    if total == ROSTER_PAGE * 2 - 1:  # the one length at which the repeated page looks like the end
        assert (await stage.client.list_leads(campaign, after=first.after)).items == ()
    else:
        with pytest.raises(ProviderUnavailable, match="moved"):
            await stage.client.list_leads(campaign, after=first.after)
    assert len(stage.app.calls) - before <= 2


@pytest.mark.parametrize("after", ["", "x", "7", "7:", ":7", "-1:2", "1.5:2"])
async def test_a_place_that_is_none_is_refused(after: str, stage: Stage) -> None:
    with pytest.raises(Invalid):
        await stage.client.list_leads(stage.campaign.external_id, after=after)


async def test_a_lead_is_found_with_its_state_and_its_campaigns(stage: Stage) -> None:
    one, two = await fill(stage, 3), await fill(stage, 1)
    await stage.client.pause_lead(one, ref("p0@north.example.com"))

    in_one = await stage.client.find_campaign_lead(one, ref("p0@north.example.com"))
    in_two = await stage.client.find_campaign_lead(two, ref("p0@north.example.com"))
    assert in_one is not None
    assert in_two is not None
    assert (in_one.state, in_two.state) == (LeadState.PAUSED, LeadState.WAITING)
    assert await stage.client.find_campaign_lead(two, ref("p1@north.example.com")) is None
    assert await stage.client.find_campaign_lead(two, ref("nobody@north.example.com")) is None
    assert await stage.client.list_campaigns_of_lead(ref("p0@north.example.com")) == [one, two]
    found = await stage.client.find_lead(keys.lead("p0@north.example.com"))
    assert found is not None
    assert (found.email, found.external_id, found.seen_at) == ("p0@north.example.com", in_one.lead.external_id, NOW)
    assert await stage.client.find_lead(keys.lead("nobody@north.example.com")) is None


async def test_a_state_is_not_looked_for_without_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lead_calls, "MOST_PAGES_FOR_A_LEAD", 1)
    campaign = await fill(stage, 150)

    near = await stage.client.find_campaign_lead(campaign, ref("p0@north.example.com"))
    far = await stage.client.find_campaign_lead(campaign, ref("p149@north.example.com"))
    assert near is not None
    assert far is not None
    assert (near.state, far.state) == (LeadState.WAITING, LeadState.UNKNOWN)


async def test_a_lead_rests_goes_on_and_goes(stage: Stage) -> None:
    campaign = await fill(stage, 2)
    lead = ref("p0@north.example.com")
    enrolment = stage.enrolment("p0@north.example.com", campaign)

    await stage.client.pause_lead(campaign, lead)
    assert enrolment.status == "PAUSED"
    await stage.client.resume_lead(campaign, lead)
    assert enrolment.status == "STARTED"
    await stage.client.remove_lead(campaign, lead)
    assert [one.lead.email for one in await walk(stage, campaign)] == ["p1@north.example.com"]
    for act in (stage.client.pause_lead, stage.client.resume_lead, stage.client.remove_lead):
        with pytest.raises(NotThere, match="Lead not found"):
            await act(campaign, lead)
        with pytest.raises(NotThere, match="no such lead"):
            await act(campaign, ref("nobody@north.example.com"))


async def test_a_known_id_spares_the_search(stage: Stage) -> None:
    campaign = await fill(stage, 1)
    lead = LeadRef(
        key="email:p0@north.example.com",
        external_id=str(stage.enrolment("p0@north.example.com", campaign).lead.id),
    )
    before = len(stage.app.calls)

    await stage.client.pause_lead(campaign, lead)

    assert len(stage.app.calls) == before + 1


async def test_who_is_unsubscribed_is_written_to_no_more(stage: Stage) -> None:
    await stage.client.register_webhook(url="https://hooks.example.com/x", name="Outrider")
    one, two = await fill(stage, 2), await fill(stage, 1)

    await stage.client.unsubscribe_lead(ref("p0@north.example.com"))

    assert await stage.client.is_unsubscribed(ref("p0@north.example.com"))
    assert not await stage.client.is_unsubscribed(ref("p1@north.example.com"))
    assert stage.enrolment("p0@north.example.com", two).status == "STOPPED"
    await stage.simulator.poster.send_due()
    assert [(event["event_type"], event["campaign_id"]) for event in stage.heard] == [
        ("LEAD_UNSUBSCRIBED", int(one)),
        ("LEAD_UNSUBSCRIBED", int(two)),
    ]


async def test_categories_are_named_by_name(stage: Stage) -> None:
    await stage.client.register_webhook(url="https://hooks.example.com/x", name="Outrider")
    stage.simulator.play(200)
    campaign = stage.campaign
    enrolment = campaign.enrolments[0]
    lead = ref(enrolment.lead.address)
    enrolment.category_id = None

    assert "Meeting Request" in await stage.client.list_categories()
    await stage.client.categorize_lead(campaign.external_id, lead, "Meeting Request")
    assert enrolment.category_id == 2
    assert await stage.client.category_of(campaign.external_id, lead) == "Meeting Request"
    await stage.client.categorize_lead(campaign.external_id, lead, None)
    assert await stage.client.category_of(campaign.external_id, lead) is None
    with pytest.raises(Invalid, match="no lead category 'Hot'"):
        await stage.client.categorize_lead(campaign.external_id, lead, "Hot")
    await stage.simulator.poster.send_due()
    assert [(event["event_type"], event["category"]) for event in stage.heard] == [
        ("LEAD_CATEGORY_UPDATED", "Meeting Request")
    ]


async def test_a_roster_of_another_shape_is_no_roster(stage: Stage) -> None:
    campaign = await fill(stage, 1)
    stage.app.faults.next(FaultKind.WRONG_TYPES, path="/leads")
    with pytest.raises(ContractViolated):
        await stage.client.list_leads(campaign)
