"""HeyReach's row of what can go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from libs.providers.heyreach.client import HeyReachClient
from libs.providers.records import Answer, LeadRef, LinkedInNode, NodeKind
from libs.providers.simulation import FaultKind
from tests.unit.libs.providers.faulty import Ask, Faulty
from tests.unit.libs.providers.heyreach.stage import (
    HOOK,
    URL,
    WRITING,
    Stage,
    conversation_of,
    frozen,
    make_stage,
    person,
)

SEQUENCE = LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=3, texts=("Hi {firstName}",))


def _ref(stage: Stage) -> LeadRef:
    return LeadRef(key=stage.thread.lead.key)


def _id(stage: Stage) -> str:
    return stage.campaign.external_id


READS: Mapping[str, Ask] = {
    "list_campaigns": lambda c, s: c.list_campaigns(),
    "get_campaign": lambda c, s: c.get_campaign(_id(s)),
    "get_sequence": lambda c, s: c.get_sequence(_id(s)),
    "list_leads": lambda c, s: c.list_leads(_id(s)),
    "find_campaign_lead": lambda c, s: c.find_campaign_lead(_id(s), _ref(s)),
    "find_lead": lambda c, s: c.find_lead(_ref(s).key),
    "list_campaigns_of_lead": lambda c, s: c.list_campaigns_of_lead(_ref(s)),
    "list_conversations": lambda c, s: c.list_conversations(),
    "list_messages": lambda c, s: c.list_messages(conversation_of(s.thread)),
    "check_webhook": lambda c, s: c.check_webhook(s.known_webhook, url=HOOK),
    "check_connection": lambda c, s: c.check_connection(),
    "list_webhooks": lambda c, s: c.list_webhooks(),
    "read_figures": lambda c, s: c.read_figures(_id(s)),
    "list_feed_campaigns": lambda c, s: c.list_feed_campaigns(),
    "read_feed": lambda c, s: c.read_feed("inbox", None, since=None, after=None),
    "read_campaign": lambda c, s: c.read_campaign(_id(s)),
}
WRITES: Mapping[str, Ask] = {
    "start_campaign": lambda c, s: c.start_campaign(s.draft.external_id),
    "pause_campaign": lambda c, s: c.pause_campaign(_id(s)),
    "resume_campaign": lambda c, s: c.resume_campaign(_id(s)),
    "replace_sequence": lambda c, s: c.replace_sequence(s.draft.external_id, SEQUENCE),
    "add_leads": lambda c, s: c.add_leads(_id(s), [person("new")]),
    "stop_lead": lambda c, s: c.stop_lead(_id(s), _ref(s)),
    "reply": lambda c, s: c.reply(conversation_of(s.thread), Answer(text="Gladly")),
    "register_webhook": lambda c, s: c.register_webhook(url=HOOK + "2", name="Outrider"),
    "repair_webhook": lambda c, s: c.repair_webhook("7", url=HOOK + "2", name="Outrider"),
    "delete_webhook": lambda c, s: c.delete_webhook(s.known_webhook),
}
LOOKS_FIRST = ("register_webhook", "repair_webhook")
# Their success is a 200 without a byte, so that nothing, or half of it, is no failure.
SILENT = frozenset(WRITES) - {"add_leads", *LOOKS_FIRST}


def _is_an_answer(method: str, kind: FaultKind) -> bool:
    if method == "get_sequence":  # a campaign without one
        return kind is FaultKind.EMPTY
    return method in (*SILENT, "check_connection") and kind in (FaultKind.EMPTY, FaultKind.TRUNCATED)


@asynccontextmanager
async def set_stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(300)
            made.known_webhook = await made.client.register_webhook(url=HOOK, name="Outrider")
            made.app.calls.clear()
            yield made


HEYREACH = Faulty(
    client=HeyReachClient,
    url=URL,
    set=set_stage,
    reads=READS,
    writes=WRITES,
    is_write=lambda call: call.startswith(WRITING),
    writing=WRITING,
    endless=("list_campaigns", "list_leads", "list_messages", "add_leads"),
    measured=("list_conversations", "list_leads", "list_webhooks"),
    people=("example.com",),
    refused="answered 401",
    said=(
        '{"errorMessage": "the key secret-key-5a5a is not allowed"}',
        "<html>secret-key-5a5a</html>",
        '{"title": "x", "errors": {"Key": ["secret-key-5a5a"]}}',
    ),
    least_errors=20,
    looks_first=LOOKS_FIRST,
    untyped=("check_connection",),
    answers=_is_an_answer,
    # It looks once more, and finds what was made.
    own_answers=lambda method, kind: (
        _is_an_answer(method, kind) or (method in LOOKS_FIRST and kind is FaultKind.TRUNCATED)
    ),
)
