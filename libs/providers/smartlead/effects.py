"""What can be learnt of a write to Smartlead whose answer was lost, and what Smartlead cannot do at all.

How long to wait: the guard in front of the provider ends a request after 100 seconds, so what was to land has landed
after two minutes. Setting a state is done or not within seconds.
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
from libs.providers.records import Answer, CampaignChanges, LeadRef, LeadState
from libs.providers.sightings import CampaignStatus, Direction
from libs.providers.smartlead import keys
from libs.providers.smartlead.campaigns import same_steps
from libs.providers.smartlead.client import SmartleadClient

LANDED_SECONDS = 120.0
STATE_SECONDS = 30.0
LEADS_LOOKED_FOR = 3  # of a batch; one call each
CLOCKS_APART = timedelta(minutes=2)  # ours and the provider's

Arguments = Mapping[str, Any]


async def _made(client: SmartleadClient, arguments: Arguments, sent_at: datetime) -> Evidence:
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


async def _changed(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    changes: CampaignChanges = arguments["changes"]
    campaign = arguments["campaign_external_id"]
    found = await client.get_campaign(campaign)
    compared = [field.name for field in fields(changes) if field.name not in ("name", "sender_external_ids")]
    differs = [name for name in compared if getattr(changes, name) not in (None, getattr(found, name))]
    if changes.sender_external_ids is not None and set(changes.sender_external_ids) != set(
        await client.list_senders(campaign)
    ):
        differs.append("sender_external_ids")
    if differs:
        return Evidence(Seen.ABSENT, f"not as wished: {', '.join(differs)}")
    return Evidence(Seen.DONE, "the campaign is as wished", campaign)


def _is(*wanted: CampaignStatus) -> ReadBack:
    async def look(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
        campaign = arguments["campaign_external_id"]
        status = (await client.get_campaign(campaign)).status
        seen = Seen.DONE if status in wanted else Seen.ABSENT
        return Evidence(seen, f"the campaign is {status.value}", campaign)

    return look


async def _has_steps(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    if same_steps(arguments["steps"], await client.list_steps(campaign)):
        return Evidence(Seen.DONE, "the sequence is the one that was sent", campaign)
    return Evidence(Seen.ABSENT, "the sequence is not the one that was sent")


async def _has_leads(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    leads: Sequence[Any] = arguments["leads"][:LEADS_LOOKED_FOR]
    there = 0
    for lead in leads:
        found = LeadRef(key=keys.lead(str(lead.email).strip().lower()))
        try:
            there += campaign in await client.list_campaigns_of_lead(found)
        except NotThere:
            continue
    detail = f"{there} of {len(leads)} leads looked for are in the campaign"
    return Evidence(Seen.DONE if there == len(leads) else Seen.ABSENT, detail, campaign)


def _lead_is(*wanted: LeadState, other_than: tuple[LeadState, ...] = ()) -> ReadBack:
    async def look(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
        found = await client.find_campaign_lead(arguments["campaign_external_id"], arguments["lead"])
        if found is None:
            return Evidence(Seen.UNCLEAR, "the lead is not in the campaign any more")
        done = found.state in wanted if wanted else found.state not in (*other_than, LeadState.UNKNOWN)
        return Evidence(
            Seen.DONE if done else Seen.ABSENT, f"the lead is {found.state.value}", found.enrolment_external_id
        )

    return look


async def _is_out(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    lead: LeadRef = arguments["lead"]
    try:
        is_in = arguments["campaign_external_id"] in await client.list_campaigns_of_lead(lead)
    except NotThere:
        is_in = False
    return Evidence(Seen.ABSENT if is_in else Seen.DONE, "the lead is in the campaign" if is_in else "the lead is out")


async def _is_unsubscribed(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    lead: LeadRef = arguments["lead"]
    if await client.is_unsubscribed(lead):
        return Evidence(Seen.DONE, "the lead is unsubscribed")
    return Evidence(Seen.ABSENT, "the lead is not unsubscribed")


async def _is_categorized(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    category = await client.category_of(arguments["campaign_external_id"], arguments["lead"])
    done = (category or "") == (arguments["category"] or "")
    return Evidence(Seen.DONE if done else Seen.ABSENT, f"the lead's category is {category or 'none'}")


async def _is_answered(client: SmartleadClient, arguments: Arguments, sent_at: datetime) -> Evidence:
    """A mail by hand since, with our words in it, is ours; with others' it may be, as the provider may change a text."""
    answer: Answer = arguments["answer"]
    ours = _words(answer.html if answer.html is not None else html.escape(answer.text))
    since = [
        message
        for message in await client.list_messages(arguments["conversation"])
        if message.direction is Direction.OUTBOUND and message.is_manual and message.seen_at >= sent_at - CLOCKS_APART
    ]
    same = [message for message in since if ours and ours in _words(message.body_html or "")]
    if same:
        return Evidence(Seen.DONE, "the history has it", same[0].key)
    if since:
        return Evidence(Seen.UNCLEAR, f"{len(since)} mails were written by hand since, none with the same words")
    return Evidence(Seen.ABSENT, "the history has no mail by hand since; it may be queued still")


async def _is_whole(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.check_webhook(arguments["webhook_id"], url=arguments["url"])
    if found is not None and not found.faults:
        return Evidence(Seen.DONE, "the registration is whole", found.external_id)
    return Evidence(Seen.UNCLEAR, "it is not, and its replacement, if it was made, cannot be listed")


async def _is_gone(client: SmartleadClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.check_webhook(arguments["webhook_id"], url="")
    return Evidence(Seen.DONE if found is None else Seen.ABSENT, "it is gone" if found is None else "it is there")


def _words(text: str) -> str:
    """Letters and digits alone: markup, entities, quotes and signatures differ."""
    return "".join(re.findall(r"\w+", html.unescape(re.sub(r"<[^>]*>", " ", text)))).lower()


_SETS_A_STATE = "it sets a state, and set twice it is what it is set once"

EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "create_campaign": Effect(
            read_back=_made,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="the list of campaigns is never paged, so a name that is not in it was not made",
        ),
        "update_campaign": Effect(
            read_back=_changed, absence_is_proof=True, read_back_after_seconds=LANDED_SECONDS, why=_SETS_A_STATE
        ),
        "start_campaign": Effect(
            read_back=_is(CampaignStatus.ACTIVE, CampaignStatus.COMPLETED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "pause_campaign": Effect(
            read_back=_is(CampaignStatus.PAUSED, CampaignStatus.COMPLETED, CampaignStatus.STOPPED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "resume_campaign": Effect(
            read_back=_is(CampaignStatus.ACTIVE, CampaignStatus.COMPLETED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "stop_campaign": Effect(
            read_back=_is(CampaignStatus.STOPPED, CampaignStatus.COMPLETED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "replace_steps": Effect(
            read_back=_has_steps,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="the call replaces the whole sequence, so it may be made again; late, it would still say the same",
        ),
        "add_leads": Effect(
            read_back=_has_leads,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="who is in the campaign already is counted and not added twice",
        ),
        "pause_lead": Effect(
            read_back=_lead_is(LeadState.PAUSED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "resume_lead": Effect(
            read_back=_lead_is(other_than=(LeadState.PAUSED,)),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "remove_lead": Effect(
            read_back=_is_out,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="the search by address tells every campaign of a lead; who is out cannot be removed again",
        ),
        "unsubscribe_lead": Effect(
            read_back=_is_unsubscribed,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why=_SETS_A_STATE,
        ),
        "categorize_lead": Effect(
            read_back=_is_categorized,
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "reply": Effect(
            read_back=_is_answered,
            read_back_after_seconds=LANDED_SECONDS,
            why="answers are queued and histories lag, so a mail that is not there may be yet to come",
        ),
        "register_webhook": Effect(
            why="no list shows the account's registrations, and a second one of the same address is not prevented"
        ),
        "repair_webhook": Effect(
            read_back=_is_whole,
            read_back_after_seconds=LANDED_SECONDS,
            why="a replacement whose id was lost cannot be listed, and posts all the same",
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
        "LinkedInSequences": "Smartlead sends e-mail; its LinkedIn steps have no documented API",
        "LeadStopping": "a lead can be paused, unsubscribed or removed; no call ends its sequence and keeps it listed",
        "WebhookListing": "the account's own webhooks can be read by id and not be listed: /webhook and /webhooks answer 404",
    }
)
