"""What can be learnt of a write to HeyReach whose answer was lost, and what HeyReach cannot do at all.

How long to wait: nobody has measured. Statuses are known to follow a write by seconds, so a state is looked at after a
minute, and what is added or sent after two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from libs.providers.calls import NotThere
from libs.providers.effects import Effect, Evidence, ReadBack, Seen
from libs.providers.heyreach import keys
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.sequences import same_sequence
from libs.providers.records import Answer, LeadRef, LeadState
from libs.providers.sightings import CampaignStatus, Direction

LANDED_SECONDS = 120.0
STATE_SECONDS = 60.0
LEADS_LOOKED_FOR = 3  # of a batch; one call each
CLOCKS_APART = timedelta(minutes=2)  # ours and the provider's

Arguments = Mapping[str, Any]


def _is(*wanted: CampaignStatus, unclear: CampaignStatus | None = None) -> ReadBack:
    async def look(client: HeyReachClient, arguments: Arguments, _: datetime) -> Evidence:
        campaign = arguments["campaign_external_id"]
        status = (await client.get_campaign(campaign)).status
        seen = Seen.DONE if status in wanted else Seen.UNCLEAR if status is unclear else Seen.ABSENT
        return Evidence(seen, f"the campaign is {status.value}", campaign)

    return look


async def _has_sequence(client: HeyReachClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    if same_sequence(arguments["first"], await client.get_sequence(campaign)):
        return Evidence(Seen.DONE, "the sequence is the one that was sent", campaign)
    return Evidence(Seen.ABSENT, "the sequence is not the one that was sent")


async def _has_leads(client: HeyReachClient, arguments: Arguments, _: datetime) -> Evidence:
    campaign = arguments["campaign_external_id"]
    leads: Sequence[Any] = arguments["leads"][:LEADS_LOOKED_FOR]
    there = 0
    for lead in leads:
        found = LeadRef(key=keys.lead(read_profile(lead.profile_url or "") or ""))
        try:
            there += campaign in await client.list_campaigns_of_lead(found)
        except NotThere:
            continue
    detail = f"{there} of {len(leads)} leads looked for are in the campaign"
    return Evidence(Seen.DONE if there == len(leads) else Seen.ABSENT, detail, campaign)


async def _is_stopped(client: HeyReachClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.find_campaign_lead(arguments["campaign_external_id"], arguments["lead"])
    if found is None or found.state is LeadState.UNKNOWN:
        return Evidence(Seen.UNCLEAR, "the lead is not in the campaign, or in a state that we do not know")
    goes_on = found.state in (LeadState.WAITING, LeadState.ACTIVE)
    return Evidence(Seen.ABSENT if goes_on else Seen.DONE, f"the lead is {found.state.value}")


async def _is_answered(client: HeyReachClient, arguments: Arguments, sent_at: datetime) -> Evidence:
    """Something of ours since, with the same words, is it. The list is fresher than the chatroom, and may tell less."""
    answer: Answer = arguments["answer"]
    conversation = arguments["conversation"]
    try:
        found = [*await client.listed_messages(conversation), *await client.list_messages(conversation)]
    except NotThere:
        found = list(await client.listed_messages(conversation))
    since = [
        message
        for message in found
        if message.direction is Direction.OUTBOUND and message.seen_at >= sent_at - CLOCKS_APART
    ]
    same = [message for message in since if keys.bare(message.body_text or "") == keys.bare(answer.text)]
    if same:
        return Evidence(Seen.DONE, "the conversation has it", same[0].key)
    if since:
        return Evidence(Seen.UNCLEAR, "we wrote something else since: a campaign, a person, or this in other words")
    return Evidence(
        Seen.ABSENT, "the conversation has nothing of ours since; it may be queued, and lists lag for hours"
    )


async def _is_gone(client: HeyReachClient, arguments: Arguments, _: datetime) -> Evidence:
    found = await client.check_webhook(arguments["webhook_id"], url="")
    return Evidence(
        Seen.DONE if found is None else Seen.ABSENT, "it is gone" if found is None else "some of it is there"
    )


_SETS_A_STATE = "it sets a state, and set twice it is what it is set once"

EFFECTS: Mapping[str, Effect] = MappingProxyType(
    {
        "start_campaign": Effect(
            read_back=_is(CampaignStatus.ACTIVE, CampaignStatus.COMPLETED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why="a draft starts once; its status may read draft for some seconds",
        ),
        "pause_campaign": Effect(
            read_back=_is(CampaignStatus.PAUSED, CampaignStatus.COMPLETED, CampaignStatus.STOPPED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why=_SETS_A_STATE,
        ),
        "resume_campaign": Effect(
            # One that had finished may be asked to go on, and may have finished once more.
            read_back=_is(CampaignStatus.ACTIVE, unclear=CampaignStatus.COMPLETED),
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why="it sets a state; a campaign without leads rests again at once, and does so however often it is asked",
        ),
        "replace_sequence": Effect(
            read_back=_has_sequence,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="the call replaces the whole sequence, so it may be made again; late, it would still say the same",
        ),
        "add_leads": Effect(
            read_back=_has_leads,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="who is in the campaign already is updated and not added twice",
        ),
        "stop_lead": Effect(
            read_back=_is_stopped,
            absence_is_proof=True,
            read_back_after_seconds=STATE_SECONDS,
            why="who was stopped cannot be stopped again; a lead that is still in sequence was not",
        ),
        "reply": Effect(
            read_back=_is_answered,
            read_back_after_seconds=LANDED_SECONDS,
            why="an answer is queued and the inbox lags, so a message that is not there may be yet to come",
        ),
        "register_webhook": Effect(
            may_repeat=True, why="it looks at what is listed for the address, and makes or completes what is missing"
        ),
        "repair_webhook": Effect(
            may_repeat=True, why="it looks at what is listed, and changes only what is not as it should be"
        ),
        "delete_webhook": Effect(
            read_back=_is_gone,
            absence_is_proof=True,
            read_back_after_seconds=LANDED_SECONDS,
            why="all webhooks are listed, and what is gone cannot be deleted again",
        ),
    }
)

_NO_TRUTH = "no list is the truth about messages: they have no id, no campaign and no step there"

LACKS: Mapping[str, str] = MappingProxyType(
    {
        "CampaignEditing": "a campaign is made for a list of leads and for senders, which have to be chosen with it; its "
        "schedule and settings can be replaced as a whole and never read, so nothing could be left as it is",
        "CampaignStopping": "no call ends or deletes a campaign; it can be paused",
        "EmailSequences": "HeyReach writes on LinkedIn; its sequences are trees, see LinkedInSequences",
        "LeadPausing": "a lead can be stopped for good; no call makes it rest or go on",
        "LeadRemoving": "leads are taken out of lists, and stay in the campaign, history included",
        "LeadUnsubscribing": "one source names a call for a block list, and none says what it takes or answers",
        "LeadCategories": "tags are the lead's in all campaigns, many at once, and no call lists those that there are",
        "Pulls": _NO_TRUTH,
        "Snapshots": _NO_TRUTH,
    }
)
