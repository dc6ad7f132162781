"""EmailBison's row of what can go wrong."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.records import Answer, CampaignChanges, ConversationRef, EmailStep, LeadRef, NewLead, Variant
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.emailbison.stage import URL, Stage, frozen, make_stage
from tests.unit.libs.providers.faulty import Ask, Faulty


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
    "list_conversations": lambda c, s: c.list_conversations(),
    "list_messages": lambda c, s: c.list_messages(_answered(s)),
    "check_webhook": lambda c, s: c.check_webhook(s.webhook, url=HOOK),
    "check_connection": lambda c, s: c.check_connection(),
    "list_webhooks": lambda c, s: c.list_webhooks(),
    "read_figures": lambda c, s: c.read_figures(_id(s)),
    "list_campaign_ids": lambda c, s: c.list_campaign_ids(),
    "list_message_keys": lambda c, s: c.list_message_keys(_id(s)),
    "list_feed_campaigns": lambda c, s: c.list_feed_campaigns(),
    "read_feed": lambda c, s: c.read_feed("replies", _id(s), since=None, after=None),
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
    "stop_lead": lambda c, s: c.stop_lead(_id(s), _ref(s)),
    "remove_lead": lambda c, s: c.remove_lead(_id(s), _ref(s)),
    "unsubscribe_lead": lambda c, s: c.unsubscribe_lead(_ref(s)),
    "categorize_lead": lambda c, s: c.categorize_lead(_id(s), _ref(s), "Interested"),
    "reply": lambda c, s: c.reply(_answered(s), Answer(text="x")),
    "register_webhook": lambda c, s: c.register_webhook(url=f"{HOOK}d", name="x"),
    "repair_webhook": lambda c, s: c.repair_webhook(s.webhook, url=f"{HOOK}d", name="x"),
    "delete_webhook": lambda c, s: c.delete_webhook(s.webhook),
}


@asynccontextmanager
async def set_stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            made.webhook = await made.client.register_webhook(url=HOOK, name="x")
            made.app.calls.clear()
            yield made


EMAILBISON = Faulty(
    client=EmailBisonClient,
    url=URL,
    set=set_stage,
    reads=READS,
    writes=WRITES,
    is_write=lambda call: not (call.startswith("GET ") or re.fullmatch(r"POST /campaigns/\d+/stats", call)),
    writing=("POST", "PATCH", "DELETE", "PUT"),
    endless=("list_campaigns", "list_leads", "create_campaign", "reply"),
    measured=("list_message_keys",),
    people=("Priya", "example.com"),
    refused="answered 401: Unauthenticated",
    key="12|secret-key-5a5a",
    said=(
        '{"message": "the key 12|secret-key-5a5a is not allowed"}',
        "<html>12|secret-key-5a5a</html>",
        '{"data": {"success": false, "message": "secret-key-5a5a"}}',
    ),
    least_errors=21,
    calls_nobody=("list_categories",),  # the provider's one word is known
    # It looks once more, and finds what was made.
    own_answers=lambda method, kind: (method, kind) == ("register_webhook", FaultKind.TRUNCATED),
)
