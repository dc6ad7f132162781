"""What can be learnt of HeyReach's writes beyond ../test_effects.py."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.effects import WRITES, Seen
from libs.providers.heyreach import events
from libs.providers.heyreach.effects import EFFECTS
from libs.providers.records import Answer
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.effectful import Case, write
from tests.unit.libs.providers.heyreach.stage import (
    HOOK,
    Stage,
    person,
    ref,
)
from tests.unit.libs.providers.heyreach.writes import HEYREACH, prepare, set_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with set_stage() as made:
        yield made


@pytest.mark.parametrize("operation", [name for name, effect in EFFECTS.items() if effect.absence_is_proof])
async def test_what_may_be_sent_again_happens_once_however_often(operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    account = stage.simulator.account

    await write(stage, operation, case)
    leads, hooks = len(stage.campaign.enrolments), len(account.registrations)
    if (await HEYREACH.look(stage, operation, case)).seen is Seen.ABSENT:
        await write(stage, operation, case)

    assert (len(stage.campaign.enrolments), len(account.registrations)) == (leads, hooks)


@pytest.mark.parametrize("operation", ["register_webhook", "repair_webhook"])
@pytest.mark.parametrize("kind", [FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED, FaultKind.DONE_AND_FAILED])
async def test_a_registration_that_is_made_again_is_made_once(operation: str, kind: FaultKind, stage: Stage) -> None:
    act: Callable[..., Awaitable[str]] = getattr(stage.client, operation)
    arguments = {"url": HOOK, "name": "Outrider"} | ({"webhook_id": "7"} if operation == "repair_webhook" else {})
    assert EFFECTS[operation].may_repeat
    stage.app.faults.always(kind, share=0.3, path="CreateWebhook")
    for _ in range(3):
        with contextlib.suppress(ProviderUnavailable):
            await act(**arguments)
    stage.app.faults.calm()
    await act(**arguments)

    registered = [made.event_type for made in stage.simulator.account.registrations if made.url == HOOK]
    assert sorted(registered) == sorted(events.EVENT_TYPES)
    assert stage.app.faults.met


async def test_a_registration_of_which_a_part_is_left_is_not_gone(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=HOOK, name="Outrider")
    await stage.client.delete_webhook(made.partition(",")[0])

    evidence = await HEYREACH.look(stage, "delete_webhook", Case({"webhook_id": made}, ""))
    assert evidence.seen is Seen.ABSENT
    await stage.client.delete_webhook(made)
    assert (await HEYREACH.look(stage, "delete_webhook", Case({"webhook_id": made}, ""))).seen is Seen.DONE


async def test_a_campaign_that_finished_may_have_gone_on_in_between(stage: Stage) -> None:
    finished = stage.simulator.account.campaigns[2].external_id
    case = Case({"campaign_external_id": finished}, "")

    assert (await HEYREACH.look(stage, "resume_campaign", case)).seen is Seen.UNCLEAR
    assert (
        await HEYREACH.look(stage, "pause_campaign", case)
    ).seen is Seen.DONE  # nothing is left that could be paused


async def test_somebody_elses_message_is_not_taken_for_ours(stage: Stage) -> None:
    case = await prepare(stage, "reply")
    sent_at = stage.simulator.now
    await stage.client.reply(case.arguments["conversation"], Answer(text="I'll be in touch, Mira"))
    stage.simulator.advance(timedelta(minutes=2))

    read_back = EFFECTS["reply"].read_back
    assert read_back is not None
    assert (await read_back(stage.client, case.arguments, sent_at)).seen is Seen.UNCLEAR
    # and one from before we wrote is none at all
    stage.simulator.advance(timedelta(hours=1))
    assert (await HEYREACH.look(stage, "reply", case)).seen is Seen.ABSENT


async def test_leads_of_a_batch_that_are_partly_there_are_sent_again(stage: Stage) -> None:
    case = await prepare(stage, "add_leads")
    await stage.client.add_leads(stage.campaign.external_id, [person("new1")])

    evidence = await HEYREACH.look(stage, "add_leads", case)

    assert (evidence.seen, evidence.detail) == (Seen.ABSENT, "1 of 3 leads looked for are in the campaign")


async def test_a_lead_who_is_nowhere_is_for_a_person_to_look_at(stage: Stage) -> None:
    arguments = {"campaign_external_id": stage.campaign.external_id, "lead": ref("nobody")}

    assert (await HEYREACH.look(stage, "stop_lead", Case(arguments, ""))).seen is Seen.UNCLEAR


def test_no_message_is_ever_sent_again() -> None:
    assert {name for name, effect in EFFECTS.items() if not (effect.absence_is_proof or effect.may_repeat)} == {"reply"}
    assert set(EFFECTS) <= set(WRITES)
