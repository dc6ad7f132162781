"""What can be learnt of Smartlead's writes beyond ../test_effects.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.providers.effects import WRITES, Seen
from libs.providers.records import Answer, NewLead
from libs.providers.smartlead.effects import EFFECTS
from tests.unit.libs.providers.effectful import Case, write
from tests.unit.libs.providers.smartlead.stage import Stage
from tests.unit.libs.providers.smartlead.writes import SMARTLEAD, prepare, set_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


@pytest.mark.parametrize("operation", [name for name, effect in EFFECTS.items() if effect.absence_is_proof])
async def test_what_may_be_sent_again_happens_once_however_often(operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    account = stage.simulator.account

    await write(stage, operation, case)
    campaigns, leads = len(account.campaigns), len(stage.campaign.enrolments)
    if (await SMARTLEAD.look(stage, operation, case)).seen is Seen.ABSENT:
        await write(stage, operation, case)

    assert (len(account.campaigns), len(stage.campaign.enrolments)) == (campaigns, leads)


async def test_two_campaigns_of_one_name_are_for_a_person_to_tell_apart(stage: Stage) -> None:
    for _ in range(2):
        await stage.client.create_campaign(name="Autumn")
    case = Case({"name": "Autumn"}, "")

    assert (await SMARTLEAD.look(stage, "create_campaign", case)).seen is Seen.UNCLEAR


async def test_an_old_campaign_of_the_name_is_not_the_new_one(stage: Stage) -> None:
    await stage.client.create_campaign(name="Autumn")
    stage.simulator.advance(timedelta(hours=1))

    assert (await SMARTLEAD.look(stage, "create_campaign", Case({"name": "Autumn"}, ""))).seen is Seen.ABSENT


async def test_somebody_elses_answer_is_not_taken_for_ours(stage: Stage) -> None:
    case = await prepare(stage, "reply")
    thread = case.arguments["conversation"]
    sent_at = stage.simulator.now
    await stage.client.reply(thread, Answer(text="I'll be in touch, Mira"))
    stage.simulator.advance(timedelta(minutes=2))

    read_back = EFFECTS["reply"].read_back
    assert read_back is not None
    assert (await read_back(stage.client, case.arguments, sent_at)).seen is Seen.UNCLEAR
    # and one from before we wrote is none at all
    stage.simulator.advance(timedelta(hours=1))
    assert (await SMARTLEAD.look(stage, "reply", case)).seen is Seen.ABSENT


async def test_leads_of_a_batch_that_are_partly_there_are_sent_again(stage: Stage) -> None:
    case = await prepare(stage, "add_leads")
    await stage.client.add_leads(stage.campaign.external_id, [NewLead(email="new1@north.example.com")])

    evidence = await SMARTLEAD.look(stage, "add_leads", case)

    assert (evidence.seen, evidence.detail) == (Seen.ABSENT, "1 of 3 leads looked for are in the campaign")


def test_no_message_and_no_unlisted_registration_is_ever_sent_again() -> None:
    assert {name for name, effect in EFFECTS.items() if not effect.absence_is_proof} == {
        "reply",
        "register_webhook",
        "repair_webhook",
    }
    assert set(EFFECTS) <= set(WRITES)
