"""HeyReach's writes, each ready to be made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from libs.providers.heyreach.effects import EFFECTS
from libs.providers.records import Answer, LinkedInNode, NodeKind
from tests.unit.libs.providers.effectful import Case, Effectful
from tests.unit.libs.providers.heyreach.stage import (
    HOOK,
    WRITING,
    Stage,
    conversation_of,
    frozen,
    make_stage,
    person,
    ref,
)

SEQUENCE = LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=48, texts=("Hi {firstName}", "Hello {firstName}"))


@asynccontextmanager
async def set_stage(is_late: bool = False) -> AsyncIterator[Stage]:
    with frozen():
        # The status follows the write by half a minute; the chatroom by an hour, the list of conversations not.
        lags = {"status_lag": timedelta(seconds=30), "chatroom_lag": timedelta(hours=1)} if is_late else {}
        made = make_stage(**lags)
        async with made.http:
            made.simulator.play(300)
            yield made


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


async def prepare_and_wait(stage: Stage, operation: str) -> Case:
    """Until what was prepared is told."""
    case = await prepare(stage, operation)
    stage.simulator.advance(timedelta(minutes=1))
    return case


HEYREACH = Effectful(
    effects=EFFECTS, set=set_stage, prepare=prepare_and_wait, is_write=lambda call: call.startswith(WRITING)
)
