"""What can be learnt of a write to EmailBison whose answer was lost, and what EmailBison cannot do at all.

How long to wait: clients of this provider give up after 30 seconds, on an attachment of many leads after two minutes; so
what was to land has landed after two. A running campaign shows new leads some five minutes later. Deletions are queued.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from libs.providers.calls import NotThere
from libs.providers.effects import Effect, Evidence, ReadBack, Seen
from libs.providers.emailbison import keys
from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.emailbison.leads import address_of
from libs.providers.emailbison.steps import same_steps
from libs.providers.records import Answer, CampaignChanges, LeadRef, LeadState
from libs.providers.sightings import CampaignStatus, Direction

LANDED_SECONDS = 120.0
STATE_SECONDS = 30.0
ATTACHED_SECONDS = 360.0
LEADS_LOOKED_FOR = 3  # of a batch; one call each
CLOCKS_APART = timedelta(minutes=2)  # ours and the provider's

Arguments = Mapping[str, Any]


async def _made(client: EmailBisonClient, arguments: Arguments, sent_at: datetime) -> Evidence:
    name = arguments["name"]
    found = [
        one.external_id
        for one in await client.list_campaigns()
        if one.name == name and (one.created_at is None or one.created_at >= sent_at - CLOCKS_APART)
    ]
    if len(found) > 1:
        return Evidence(Seen.UNCLEAR, f"campaigns {', '.join(found)} have this name and were made since")
    if found:
        return Evidence(Seen.DONE, "a campaign of this name was made since", found[0])
    return Evidence(Seen.ABSENT, "no campaign of this name was made since; the list is complete")


async def _changed(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    changes: CampaignChanges = arguments["changes"]
    campaign = arguments["campaign_external_id"]
    found = await client.get_campaign(campaign)
    compared = [field.name for field in fields(changes) if field.name != "sender_external_ids"]
    differs = [name for name in compared if getattr(changes, name) not in (None, getattr(found, name))]
    senders = changes.sender_external_ids
    if senders is not None and set(senders) != set(found.sender_external_ids or ()):
        differs.append("sender_external_ids")
    if differs:
        return Evidence(Seen.ABSENT, f"not as wished: {', '.join(differs)}")
    return Evidence(Seen.DONE, "the campaign is as wished", campaign)


def _is(*wanted: CampaignStatus) -> ReadBack:
    async def look(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
        campaign = arguments["campaign_external_id"]
        status = (await client.get_campaign(campaign)).status
        seen = Seen.DONE if status in wanted else Seen.ABSENT
        return Evidence(seen, f"the campaign is {status.value}", campaign)

    return look


async def _has_steps(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    if same_steps(arguments["steps"], await client.list_steps(campaign)):
        return Evidence(Seen.DONE, "the sequence is the one that was sent", campaign)
    return Evidence(Seen.ABSENT, "the sequence is not the one that was sent")


async def _has_leads(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    leads: Sequence[Any] = arguments["leads"][:LEADS_LOOKED_FOR]
    there = 0
    for lead in leads:
        found = await client.find_campaign_lead(campaign, LeadRef(key=keys.lead(address_of(lead))))
        there += found is not None
    detail = f"{there} of {len(leads)} leads looked for are in the campaign"
    return Evidence(Seen.DONE if there == len(leads) else Seen.ABSENT, detail, campaign)


async def _is_stopped(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.find_campaign_lead(arguments["campaign_external_id"], arguments["lead"])
    if found is None:
        return Evidence(Seen.UNCLEAR, "the lead is not in the campaign any more")
    done = found.state in (LeadState.STOPPED, LeadState.COMPLETED, LeadState.BLOCKED)
    return Evidence(Seen.DONE if done else Seen.ABSENT, f"the lead is {found.state.value}", found.lead.external_id)


async def _is_out(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.find_campaign_lead(arguments["campaign_external_id"], arguments["lead"])
    if found is not None:
        return Evidence(Seen.ABSENT, "the lead is in the campaign")
    return Evidence(Seen.DONE, "the lead is out")


async def _is_unsubscribed(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    if await client.is_unsubscribed(arguments["lead"]):
        return Evidence(Seen.DONE, "the lead is unsubscribed")
    return Evidence(Seen.ABSENT, "the lead is not unsubscribed")


async def _is_categorized(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    try:
        category = await client.category_of(arguments["campaign_external_id"], arguments["lead"])
    except NotThere:
        return Evidence(Seen.UNCLEAR, "the lead is not there any more")
    done = (category or "") == (arguments["category"] or "")
    return Evidence(Seen.DONE if done else Seen.ABSENT, f"the lead's category is {category or 'none'}")


async def _is_answered(client: EmailBisonClient, arguments: Arguments, sent_at: datetime) -> Evidence:
    """A mail by hand since, with our words in it, is ours; with others' it may be, as the provider may change a text."""
    answer: Answer = arguments["answer"]
    ours = _words(answer.html if answer.html is not None else html.escape(answer.text))
    since = [
        message
        for message in await client.list_messages(arguments["conversation"])
        if message.direction is Direction.OUTBOUND and message.is_manual and message.seen_at >= sent_at - CLOCKS_APART
    ]
    same = [message for message in since if ours and ours in _words(message.body_html or message.body_text or "")]
    if same:
        return Evidence(Seen.DONE, "the inbox has it", same[0].key)
    if since:
        return Evidence(Seen.UNCLEAR, f"{len(since)} mails were written by hand since, none with the same words")
    return Evidence(Seen.ABSENT, "the inbox has no mail by hand since; it may be on its way still")


async def _is_gone(client: EmailBisonClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.check_webhook(arguments["webhook_id"], url="")
    return Evidence(Seen.DONE if found is None else Seen.ABSENT, "it is gone" if found is None else "it is there")


def _words(text: str) -> str:
    """Letters and digits alone: markup, entities, quotes and signatures differ."""
    return "".join(re.findall(r"\w+", html.unescape(re.sub(r"<[^>]*>", " ", text)))).lower()


def _sets(read_back: ReadBack, *, after: float = STATE_SECONDS) -> Effect:
    why = "it sets a state, and set twice it is what it is set once"
    return Effect(read_back=read_back, absence_is_proof=True, read_back_after_seconds=after, why=why)


EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "create_campaign": Effect(
            read_back=_made,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="the list of campaigns is read whole or not at all, so a name that is not in it was not made",
        ),
        "update_campaign": _sets(_changed, after=LANDED_SECONDS),
        "start_campaign": _sets(_is(CampaignStatus.ACTIVE, CampaignStatus.COMPLETED)),
        "pause_campaign": _sets(
            _is(CampaignStatus.PAUSED, CampaignStatus.COMPLETED, CampaignStatus.STOPPED, CampaignStatus.ARCHIVED)
        ),
        "resume_campaign": _sets(_is(CampaignStatus.ACTIVE, CampaignStatus.COMPLETED)),
        "stop_campaign": _sets(_is(CampaignStatus.ARCHIVED, CampaignStatus.STOPPED, CampaignStatus.COMPLETED)),
        "replace_steps": Effect(
            read_back=_has_steps,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="it looks at the sequence first, so what an earlier try appended is deleted again",
        ),
        "add_leads": Effect(
            read_back=_has_leads,
            absence_is_proof=True,
            read_back_after_seconds=ATTACHED_SECONDS,
            why="leads are made or completed by their address, and who is in the campaign already is left out",
        ),
        "stop_lead": _sets(_is_stopped),
        "remove_lead": Effect(
            read_back=_is_out,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="a lead tells every campaign that it is in; who is out cannot be removed again",
        ),
        "unsubscribe_lead": _sets(_is_unsubscribed),
        "categorize_lead": _sets(_is_categorized),
        "reply": Effect(
            read_back=_is_answered,
            read_back_after_seconds=LANDED_SECONDS,
            why="the provider knows no idempotency key, so a mail that is not in the inbox may be yet to come",
        ),
        "register_webhook": Effect(
            may_repeat=True, why="it looks at what is listed for the address, and makes or completes what is missing"
        ),
        "repair_webhook": Effect(
            may_repeat=True, why="it looks at the registration first, and a change replaces all of it in its place"
        ),
        "delete_webhook": Effect(
            read_back=_is_gone,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="a registration is looked at by its id; what is gone cannot be deleted again",
        ),
    }
)

LACKS: Mapping[str, str] = MappingProxyType(
    {
        "LinkedInSequences": "EmailBison sends e-mail and nothing else",
        "LeadPausing": "sending is paused for a whole campaign; one lead's can be ended, and no call makes it go on again",
    }
)
