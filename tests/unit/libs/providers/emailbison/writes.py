"""EmailBison's writes, each ready to be made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from libs.providers.emailbison import keys
from libs.providers.emailbison.effects import EFFECTS
from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from tests.unit.libs.providers.effectful import Case, Effectful
from tests.unit.libs.providers.emailbison.stage import Stage, frozen, make_stage

DANA = "dana@acme.example.com"
LEAD = LeadRef(key=keys.lead(DANA))
STEPS = (EmailStep(number=1, delay_days=0, variants=(Variant(subject="Night crews", body_html="<p>Hi</p>"),)),)
URL = "https://hooks.example.com/t/abc"


@asynccontextmanager
async def set_stage(is_late: bool = False) -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


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


EMAILBISON = Effectful(
    effects=EFFECTS, set=set_stage, prepare=prepare, is_write=lambda call: not call.startswith("GET")
)
