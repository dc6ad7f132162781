"""What can be learnt of EmailBison's writes beyond ../test_effects.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.effects import WRITES, Seen
from libs.providers.emailbison.effects import EFFECTS
from libs.providers.records import Answer, NewLead
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.effectful import Case, write
from tests.unit.libs.providers.emailbison.stage import Stage, make_stage
from tests.unit.libs.providers.emailbison.writes import EMAILBISON, STEPS, URL, prepare, set_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


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
    if (await EMAILBISON.look(stage, operation, case)).seen is Seen.ABSENT:
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
    assert (await EMAILBISON.look(stage, "replace_steps", case)).seen is Seen.ABSENT

    await write(stage, "replace_steps", case)

    assert [step.subject for step in stage.campaign.steps] == ["Night crews"]
    assert (await EMAILBISON.look(stage, "replace_steps", case)).seen is Seen.DONE


async def test_two_campaigns_of_one_name_are_for_a_person_to_tell_apart(stage: Stage) -> None:
    for _ in range(2):
        await stage.client.create_campaign(name="Autumn")

    assert (await EMAILBISON.look(stage, "create_campaign", Case({"name": "Autumn"}, ""))).seen is Seen.UNCLEAR


async def test_an_old_campaign_of_the_name_is_not_the_new_one(stage: Stage) -> None:
    await stage.client.create_campaign(name="Autumn")
    stage.simulator.advance(timedelta(hours=1))

    assert (await EMAILBISON.look(stage, "create_campaign", Case({"name": "Autumn"}, ""))).seen is Seen.ABSENT


async def test_somebody_elses_answer_is_not_taken_for_ours(stage: Stage) -> None:
    case = await prepare(stage, "reply")
    await stage.client.reply(case.arguments["conversation"], Answer(text="I'll be in touch, Mira"))

    assert (await EMAILBISON.look(stage, "reply", case)).seen is Seen.UNCLEAR
    # and one from before we wrote is none at all
    stage.simulator.advance(timedelta(hours=1))
    assert (await EMAILBISON.look(stage, "reply", case)).seen is Seen.ABSENT


async def test_leads_of_a_batch_that_are_partly_there_are_sent_again(stage: Stage) -> None:
    case = await prepare(stage, "add_leads")
    await stage.client.add_leads(stage.campaign.external_id, [NewLead(email="new1@acme.example.com")])

    evidence = await EMAILBISON.look(stage, "add_leads", case)

    assert (evidence.seen, evidence.detail) == (Seen.ABSENT, "1 of 3 leads looked for are in the campaign")


def test_no_message_is_ever_sent_again() -> None:
    assert {name for name, effect in EFFECTS.items() if not (effect.absence_is_proof or effect.may_repeat)} == {"reply"}
    assert set(EFFECTS) <= set(WRITES)
