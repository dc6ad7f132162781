"""What can be learnt of a write whose answer was lost: done or not done, by looking and never by guessing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from libs.errors import ProviderUnavailable
from libs.providers.effects import WRITES, Evidence, Seen
from libs.providers.heyreach import events
from libs.providers.heyreach.effects import EFFECTS
from libs.providers.records import Answer, LinkedInNode, NodeKind
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.heyreach.stage import (
    HOOK,
    NOW,
    Stage,
    conversation_of,
    frozen,
    make_stage,
    person,
    ref,
)

SEQUENCE = LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=48, texts=("Hi {firstName}", "Hello {firstName}"))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            yield made


@dataclass
class Case:
    """A write: its arguments, and where the one call goes that changes something."""

    arguments: Mapping[str, Any]
    path: str


async def prepare(stage: Stage, operation: str) -> Case:
    campaign = stage.campaign.external_id
    await stage.client.add_leads(campaign, [person("ines"), person("leo")])
    of_campaign: dict[str, Any] = {"campaign_external_id": campaign}
    match operation:
        case "start_campaign":
            return Case({"campaign_external_id": stage.draft.external_id}, "/StartCampaign")
        case "pause_campaign":
            return Case(of_campaign, "/Pause")
        case "resume_campaign":
            await stage.client.pause_campaign(campaign)
            return Case(of_campaign, "/Resume")
        case "replace_sequence":
            await stage.client.pause_campaign(campaign)
            return Case({**of_campaign, "first": SEQUENCE}, "/UpdateSequence")
        case "add_leads":
            return Case({**of_campaign, "leads": [person(f"new{n}") for n in range(5)]}, "/AddLeadsToCampaignV2")
        case "stop_lead":
            return Case({**of_campaign, "lead": ref("ines")}, "/StopLeadInCampaign")
        case "reply":
            answer = Answer(text="Gladly & soon,\n\n<Ines>")
            return Case({"conversation": conversation_of(stage.thread), "answer": answer}, "/SendMessage")
        case "delete_webhook":
            made = await stage.client.register_webhook(url=HOOK, name="Outrider")
            return Case({"webhook_id": made.partition(",")[0]}, "/DeleteWebhook")
    raise AssertionError(operation)


LOOKED_FOR = [name for name, effect in EFFECTS.items() if effect.read_back is not None]


async def look(stage: Stage, operation: str, case: Case) -> Evidence:
    read_back = EFFECTS[operation].read_back
    assert read_back is not None
    before = len(stage.writes())
    evidence = await read_back(stage.client, case.arguments, stage.simulator.now)
    assert len(stage.writes()) == before  # a look changes nothing
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
async def test_a_write_whose_answer_was_lost_is_found(operation: str) -> None:
    # The status follows the write by half a minute; the chatroom by an hour, the list of conversations not.
    with frozen():
        stage = make_stage(status_lag=timedelta(seconds=30), chatroom_lag=timedelta(hours=1))
        async with stage.http:
            stage.simulator.play(300)
            case = await prepare(stage, operation)
            stage.simulator.advance(timedelta(minutes=1))
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


@pytest.mark.parametrize("operation", [name for name, effect in EFFECTS.items() if effect.absence_is_proof])
async def test_what_may_be_sent_again_happens_once_however_often(operation: str, stage: Stage) -> None:
    case = await prepare(stage, operation)
    account = stage.simulator.account

    await write(stage, operation, case)
    leads, hooks = len(stage.campaign.enrolments), len(account.registrations)
    if (await look(stage, operation, case)).seen is Seen.ABSENT:
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

    evidence = await look(stage, "delete_webhook", Case({"webhook_id": made}, ""))
    assert evidence.seen is Seen.ABSENT
    await stage.client.delete_webhook(made)
    assert (await look(stage, "delete_webhook", Case({"webhook_id": made}, ""))).seen is Seen.DONE


async def test_a_campaign_that_finished_may_have_gone_on_in_between(stage: Stage) -> None:
    finished = stage.simulator.account.campaigns[2].external_id
    case = Case({"campaign_external_id": finished}, "")

    assert (await look(stage, "resume_campaign", case)).seen is Seen.UNCLEAR
    assert (await look(stage, "pause_campaign", case)).seen is Seen.DONE  # nothing is left that could be paused


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
    assert (await look(stage, "reply", case)).seen is Seen.ABSENT


async def test_leads_of_a_batch_that_are_partly_there_are_sent_again(stage: Stage) -> None:
    case = await prepare(stage, "add_leads")
    await stage.client.add_leads(stage.campaign.external_id, [person("new1")])

    evidence = await look(stage, "add_leads", case)

    assert (evidence.seen, evidence.detail) == (Seen.ABSENT, "1 of 3 leads looked for are in the campaign")


async def test_a_lead_who_is_nowhere_is_for_a_person_to_look_at(stage: Stage) -> None:
    arguments = {"campaign_external_id": stage.campaign.external_id, "lead": ref("nobody")}

    assert (await look(stage, "stop_lead", Case(arguments, ""))).seen is Seen.UNCLEAR


async def test_a_look_that_fails_teaches_nothing(stage: Stage) -> None:
    case = await prepare(stage, "pause_campaign")
    stage.app.faults.always(FaultKind.SERVER_ERROR)
    read_back = EFFECTS["pause_campaign"].read_back
    assert read_back is not None
    with pytest.raises(ProviderUnavailable):
        await read_back(stage.client, case.arguments, NOW)


def test_no_message_is_ever_sent_again() -> None:
    assert {name for name, effect in EFFECTS.items() if not (effect.absence_is_proof or effect.may_repeat)} == {"reply"}
    assert set(EFFECTS) <= set(WRITES)
