"""What can be learnt of a write whose answer was lost: done or not done, by looking and never by guessing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.effects import WRITES, Evidence, Seen
from libs.providers.emailbison import keys
from libs.providers.emailbison.effects import EFFECTS
from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.emailbison.stage import NOW, Stage, frozen, make_stage

DANA = "dana@acme.example.com"
LEAD = LeadRef(key=keys.lead(DANA))
STEPS = (EmailStep(number=1, delay_days=0, variants=(Variant(subject="Night crews", body_html="<p>Hi</p>"),)),)
URL = "https://hooks.example.com/t/abc"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


@dataclass
class Case:
    """A write: what must be there before it, its arguments, and where the one call goes that changes something."""

    arguments: Mapping[str, Any]
    path: str
    is_new: bool = False  # makes something, so what it made has an id


async def prepare(stage: Stage, operation: str) -> Case:
    campaign = stage.campaign.external_id
    await stage.client.add_leads(campaign, [NewLead(email=DANA), NewLead(email="leo@acme.example.com")])
    of_campaign: dict[str, Any] = {"campaign_external_id": campaign}
    of_lead = {**of_campaign, "lead": LEAD}
    match operation:
        case "create_campaign":
            return Case({"name": "Autumn"}, "POST /campaigns", is_new=True)
        case "update_campaign":
            return Case({**of_campaign, "changes": CampaignChanges(new_leads_per_day=7)}, "/update")
        case "start_campaign" | "resume_campaign":
            await stage.client.pause_campaign(campaign)
            return Case(of_campaign, "/resume")
        case "pause_campaign":
            return Case(of_campaign, "/pause")
        case "stop_campaign":
            return Case(of_campaign, "/archive")
        case "replace_steps":
            stage.campaign.steps.clear()  # so that it is one call: the first sequence of a campaign
            return Case({**of_campaign, "steps": STEPS}, "POST /campaigns")
        case "add_leads":
            leads = [NewLead(email=f"New{n}@Acme.example.com") for n in range(5)]
            return Case({**of_campaign, "leads": leads}, "/attach-leads")
        case "stop_lead":
            return Case(of_lead, "/stop-future-emails")
        case "remove_lead":
            return Case(of_lead, "DELETE /campaigns")
        case "unsubscribe_lead":
            return Case({"lead": LEAD}, "/unsubscribe")
        case "categorize_lead" | "reply":
            stage.simulator.advance(timedelta(hours=1))
            enrolment = stage.enrolment(DANA)
            stage.simulator.live.replies(stage.campaign, enrolment, enrolment.sent[0], "Send details please.")
            if operation == "categorize_lead":
                return Case({**of_lead, "category": "Interested"}, "/mark-as-interested")
            thread = ConversationRef(key="k", lead=LEAD, campaign_external_id=campaign)
            answer = Answer(text='Gladly & soon, "Dana"')
            return Case({"conversation": thread, "answer": answer}, "/reply")
        case "delete_webhook":
            made = await stage.client.register_webhook(url=URL, name="Outrider")
            return Case({"webhook_id": made}, "DELETE /webhook-url")
    raise AssertionError(operation)


LOOKED_FOR = [name for name, effect in EFFECTS.items() if effect.read_back is not None]


async def look(stage: Stage, operation: str, case: Case) -> Evidence:
    read_back = EFFECTS[operation].read_back
    assert read_back is not None
    before = list(stage.app.calls)
    evidence = await read_back(stage.client, case.arguments, stage.simulator.now)
    made = stage.app.calls[len(before) :]
    assert made
    assert all(call.startswith("GET") for call in made)  # a look changes nothing
    return evidence


async def write(stage: Stage, operation: str, case: Case) -> None:
    act: Callable[..., Awaitable[object]] = getattr(stage.client, operation)
    await act(**case.arguments)


@pytest.mark.parametrize("operation", LOOKED_FOR)
async def test_a_write_that_never_arrived_is_absent(operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    stage.app.faults.next(FaultKind.DROPPED, path=case.path)
    with pytest.raises(ProviderUnavailable):
        await write(stage, operation, case)
    assert stage.app.faults.met  # the fault was there

    evidence = await look(stage, operation, case)

    assert evidence.seen is Seen.ABSENT, evidence.detail


@pytest.mark.parametrize("operation", LOOKED_FOR)
async def test_a_write_whose_answer_was_lost_is_found(operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    stage.app.faults.next(FaultKind.DONE_AND_DROPPED, path=case.path)
    with pytest.raises(ProviderUnavailable):
        await write(stage, operation, case)
    assert [kind for kind, _ in stage.app.faults.met] == [FaultKind.DONE_AND_DROPPED]
    sent_at = stage.simulator.now
    stage.simulator.advance(timedelta(seconds=EFFECTS[operation].read_back_after_seconds))

    read_back = EFFECTS[operation].read_back
    assert read_back is not None
    evidence = await read_back(stage.client, case.arguments, sent_at)

    assert evidence.seen is Seen.DONE, evidence.detail
    if case.is_new:
        assert evidence.external_id == stage.simulator.account.campaigns[-1].external_id


@pytest.mark.parametrize("operation", [name for name, effect in EFFECTS.items() if effect.absence_is_proof])
@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED])
async def test_what_may_be_sent_again_happens_once_however_often(kind: FaultKind, operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    account = stage.simulator.account
    calm = make_stage()
    async with calm.http:
        await write(calm, operation, await prepare(calm, operation))
        right = (len(calm.simulator.account.campaigns), len(calm.campaign.enrolments), len(calm.campaign.steps))

    stage.app.faults.next(kind, path=case.path)
    with pytest.raises(ProviderUnavailable):
        await write(stage, operation, case)
    if (await look(stage, operation, case)).seen is Seen.ABSENT:
        await write(stage, operation, case)

    assert (len(account.campaigns), len(stage.campaign.enrolments), len(stage.campaign.steps)) == right


@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED])
async def test_what_is_simply_made_again_leaves_one_registration(kind: FaultKind, stage: Stage) -> None:
    made = stage.simulator.account.registrations
    stage.app.faults.next(kind, path="POST /webhook-url")
    try:
        first = await stage.client.register_webhook(url=URL, name="Outrider")
    except ProviderUnavailable:
        first = await stage.client.register_webhook(url=URL, name="Outrider")
    assert [(str(one.id), one.url) for one in made] == [(first, URL)]

    stage.app.faults.next(kind, path="PUT /webhook-url")
    with pytest.raises(ProviderUnavailable):
        await stage.client.repair_webhook(first, url=f"{URL}d", name="Outrider")
    assert await stage.client.repair_webhook(first, url=f"{URL}d", name="Outrider") == first
    assert [(str(one.id), one.url) for one in made] == [(first, f"{URL}d")]
    assert EFFECTS["register_webhook"].may_repeat
    assert EFFECTS["repair_webhook"].may_repeat


async def test_half_a_new_sequence_is_taken_away_by_the_next_try(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    stage.app.faults.next(FaultKind.DONE_AND_DROPPED, path="POST /campaigns/v1.1")
    with pytest.raises(ProviderUnavailable):
        await stage.client.replace_steps(campaign, STEPS)
    assert len(stage.campaign.steps) == 4
    case = Case({"campaign_external_id": campaign, "steps": STEPS}, "")
    assert (await look(stage, "replace_steps", case)).seen is Seen.ABSENT

    await write(stage, "replace_steps", case)

    assert [step.subject for step in stage.campaign.steps] == ["Night crews"]
    assert (await look(stage, "replace_steps", case)).seen is Seen.DONE


async def test_two_campaigns_of_one_name_are_for_a_person_to_tell_apart(stage: Stage) -> None:
    for _ in range(2):
        await stage.client.create_campaign(name="Autumn")

    assert (await look(stage, "create_campaign", Case({"name": "Autumn"}, ""))).seen is Seen.UNCLEAR


async def test_an_old_campaign_of_the_name_is_not_the_new_one(stage: Stage) -> None:
    await stage.client.create_campaign(name="Autumn")
    stage.simulator.advance(timedelta(hours=1))

    assert (await look(stage, "create_campaign", Case({"name": "Autumn"}, ""))).seen is Seen.ABSENT


async def test_somebody_elses_answer_is_not_taken_for_ours(stage: Stage) -> None:
    case = await prepare(stage, "reply")
    await stage.client.reply(case.arguments["conversation"], Answer(text="I'll be in touch, Mira"))

    assert (await look(stage, "reply", case)).seen is Seen.UNCLEAR
    # and one from before we wrote is none at all
    stage.simulator.advance(timedelta(hours=1))
    assert (await look(stage, "reply", case)).seen is Seen.ABSENT


async def test_leads_of_a_batch_that_are_partly_there_are_sent_again(stage: Stage) -> None:
    case = await prepare(stage, "add_leads")
    await stage.client.add_leads(stage.campaign.external_id, [NewLead(email="new1@acme.example.com")])

    evidence = await look(stage, "add_leads", case)

    assert (evidence.seen, evidence.detail) == (Seen.ABSENT, "1 of 3 leads looked for are in the campaign")


async def test_a_look_that_fails_teaches_nothing(stage: Stage) -> None:
    case = await prepare(stage, "create_campaign")
    stage.app.faults.always(FaultKind.SERVER_ERROR)
    read_back = EFFECTS["create_campaign"].read_back
    assert read_back is not None
    with pytest.raises(ProviderUnavailable):
        await read_back(stage.client, case.arguments, NOW)


def test_no_message_is_ever_sent_again() -> None:
    assert {name for name, effect in EFFECTS.items() if not (effect.absence_is_proof or effect.may_repeat)} == {"reply"}
    assert set(EFFECTS) <= set(WRITES)
