"""Smartlead's row of what can go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from libs.providers.simulation import FaultKind
from libs.providers.smartlead.client import SmartleadClient
from tests.unit.libs.providers.faulty import Ask, Faulty
from tests.unit.libs.providers.smartlead.stage import QUICK, URL, Stage, frozen, make_stage


def _answered(stage: Stage) -> ConversationRef:
    return ConversationRef(key="k", lead=_ref(stage), campaign_external_id=stage.campaign.external_id)


def _ref(stage: Stage) -> LeadRef:
    return LeadRef(key=next(one for one in stage.campaign.enrolments if one.replies).lead.key)


def _id(stage: Stage) -> str:
    return stage.campaign.external_id


STEPS = (EmailStep(number=1, delay_days=0, variants=(Variant(subject="x", body_html="y"),)),)
HOOK = "https://hooks.example.com/t/abc"

READS: Mapping[str, Ask] = {
    "list_campaigns": lambda c, s: c.list_campaigns(),
    "get_campaign": lambda c, s: c.get_campaign(_id(s)),
    "list_steps": lambda c, s: c.list_steps(_id(s)),
    "list_leads": lambda c, s: c.list_leads(_id(s)),
    "find_campaign_lead": lambda c, s: c.find_campaign_lead(_id(s), _ref(s)),
    "find_lead": lambda c, s: c.find_lead(_ref(s).key),
    "list_campaigns_of_lead": lambda c, s: c.list_campaigns_of_lead(_ref(s)),
    "check_connection": lambda c, s: c.check_connection(),
    "list_categories": lambda c, s: c.list_categories(),
    "list_conversations": lambda c, s: c.list_conversations(),
    "list_messages": lambda c, s: c.list_messages(_answered(s)),
    "check_webhook": lambda c, s: c.check_webhook(s.known_webhook, url=HOOK),
    "read_figures": lambda c, s: c.read_figures(_id(s)),
    "list_campaign_ids": lambda c, s: c.list_campaign_ids(),
    "list_message_keys": lambda c, s: c.list_message_keys(_id(s)),
    "list_feed_campaigns": lambda c, s: c.list_feed_campaigns(),
    "read_feed": lambda c, s: c.read_feed("inbox", None, since=None, after=None),
    "read_campaign": lambda c, s: c.read_campaign(_id(s)),
    "read_messages": lambda c, s: c.read_messages(_id(s), [_ref(s).key]),
}
WRITES: Mapping[str, Ask] = {
    "create_campaign": lambda c, s: c.create_campaign(name="Autumn"),
    "update_campaign": lambda c, s: c.update_campaign(_id(s), CampaignChanges(new_leads_per_day=7)),
    "start_campaign": lambda c, s: c.start_campaign(_id(s)),
    "pause_campaign": lambda c, s: c.pause_campaign(_id(s)),
    "resume_campaign": lambda c, s: c.resume_campaign(_id(s)),
    "stop_campaign": lambda c, s: c.stop_campaign(_id(s)),
    "replace_steps": lambda c, s: c.replace_steps(_id(s), STEPS),
    "add_leads": lambda c, s: c.add_leads(_id(s), [NewLead(email="new@north.example.com")]),
    "pause_lead": lambda c, s: c.pause_lead(_id(s), _ref(s)),
    "resume_lead": lambda c, s: c.resume_lead(_id(s), _ref(s)),
    "remove_lead": lambda c, s: c.remove_lead(_id(s), _ref(s)),
    "unsubscribe_lead": lambda c, s: c.unsubscribe_lead(_ref(s)),
    "categorize_lead": lambda c, s: c.categorize_lead(_id(s), _ref(s), "Interested"),
    "reply": lambda c, s: c.reply(_answered(s), Answer(text="x")),
    "register_webhook": lambda c, s: c.register_webhook(url=HOOK, name="x"),
    "repair_webhook": lambda c, s: c.repair_webhook("7", url=HOOK, name="x"),
    "delete_webhook": lambda c, s: c.delete_webhook(s.known_webhook),
}


@asynccontextmanager
async def set_stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            made.known_webhook = await made.client.register_webhook(url=HOOK, name="x")
            await made.client.pause_campaign(made.campaign.external_id)  # so that its sequence may be changed
            made.client = SmartleadClient(made.simulator.api_key, URL, made.http, policy=QUICK)  # remembers nothing
            made.app.calls.clear()
            yield made


SMARTLEAD = Faulty(
    client=SmartleadClient,
    url=URL,
    set=set_stage,
    reads=READS,
    writes=WRITES,
    is_write=lambda call: not call.startswith(("GET ", "POST /master-inbox")),
    writing=("POST", "DELETE"),
    endless=("list_campaigns", "list_leads", "create_campaign", "reply"),
    measured=("list_message_keys",),
    people=("Ines", "example.com"),
    refused="answered 401: Invalid API Key",
    said=(
        '{"error": "the key secret-key-5a5a is not allowed"}',
        "<html>secret-key-5a5a</html>",
        '{"ok": false, "message": "secret-key-5a5a"}',
    ),
    least_errors=20,
    # Half of its sentence says enough: queued.
    own_answers=lambda method, kind: (method, kind) == ("reply", FaultKind.TRUNCATED),
)
