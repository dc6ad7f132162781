"""Smartlead's writes, each ready to be made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from libs.providers.smartlead import keys
from libs.providers.smartlead.effects import EFFECTS
from tests.unit.libs.providers.effectful import Case, Effectful
from tests.unit.libs.providers.smartlead.stage import Stage, frozen, make_stage

INES = "ines@north.example.com"
LEAD = LeadRef(key=keys.lead(INES))
STEPS = (EmailStep(number=1, delay_days=0, variants=(Variant(subject="Dock slots", body_html="<p>Hi</p>"),)),)
URL = "https://hooks.example.com/t/abc"


@asynccontextmanager
async def set_stage(is_late: bool = False) -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


async def prepare(stage: Stage, operation: str) -> Case:
    campaign = stage.campaign.external_id
    await stage.client.add_leads(campaign, [NewLead(email=INES), NewLead(email="leo@north.example.com")])
    of_campaign: dict[str, Any] = {"campaign_external_id": campaign}
    of_lead = {**of_campaign, "lead": LEAD}
    match operation:
        case "create_campaign":
            return Case({"name": "Autumn"}, "/campaigns/create", is_new=True)
        case "update_campaign":
            return Case({**of_campaign, "changes": CampaignChanges(new_leads_per_day=7)}, "/schedule")
        case "start_campaign" | "resume_campaign":
            await stage.client.pause_campaign(campaign)
            return Case(of_campaign, "/status")
        case "pause_campaign" | "stop_campaign":
            return Case(of_campaign, "/status")
        case "replace_steps":
            await stage.client.pause_campaign(campaign)
            return Case({**of_campaign, "steps": STEPS}, "POST /campaigns")
        case "add_leads":
            leads = [NewLead(email=f"New{n}@North.example.com") for n in range(5)]
            return Case({**of_campaign, "leads": leads}, "POST /campaigns")
        case "pause_lead":
            return Case(of_lead, "/pause")
        case "resume_lead":
            await stage.client.pause_lead(campaign, LEAD)
            return Case(of_lead, "/resume")
        case "remove_lead":
            return Case(of_lead, "DELETE /campaigns")
        case "unsubscribe_lead":
            return Case({"lead": LEAD}, "/unsubscribe")
        case "categorize_lead":
            return Case({**of_lead, "category": "Interested"}, "/category")
        case "reply":
            stage.simulator.advance(timedelta(hours=1))
            enrolment = stage.enrolment(INES)
            stage.simulator.live.replies(stage.campaign, enrolment, enrolment.sent[0], "Tell me more")
            thread = ConversationRef(key="k", lead=LEAD, campaign_external_id=campaign)
            answer = Answer(text='Gladly & soon, "Ines"')
            return Case({"conversation": thread, "answer": answer}, "/reply-email-thread")
        case "repair_webhook":
            return Case({"webhook_id": "7", "url": URL, "name": "Outrider"}, "/webhook/create")
        case "delete_webhook":
            made = await stage.client.register_webhook(url=URL, name="Outrider")
            return Case({"webhook_id": made}, "/webhook/delete")
    raise AssertionError(operation)


SMARTLEAD = Effectful(
    effects=EFFECTS,
    set=set_stage,
    prepare=prepare,
    is_write=lambda call: not call.startswith("GET") and "inbox-replies" not in call,
    unclear=("repair_webhook",),  # a replacement whose id was lost cannot be found
)
