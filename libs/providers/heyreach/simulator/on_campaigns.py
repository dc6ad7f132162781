"""Campaigns: looking, starting, pausing; their leads and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from libs.providers.fields import JsonObject
from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.simulator.model import Campaign, Enrolment, Sender
from libs.providers.heyreach.simulator.on_leads import checked_lead, new_lead, profile
from libs.providers.heyreach.simulator.payloads import instant
from libs.providers.heyreach.simulator.routing import Call, Refused, Row, invalid, no, page

LARGEST_BATCH = 100
STATS_LAG = timedelta(minutes=5)  # progressStats follow what happens by minutes
_BRANCHING = ("CONNECTION_REQUEST", "CHECK_IS_CONNECTION", "CHECK_IS_OPEN_PROFILE")
_NODES = (*_BRANCHING, "MESSAGE", "INMAIL", "VIEW_PROFILE", "FOLLOW", "LIKE_POST", "END")


async def list_campaigns(call: Call) -> object:
    wanted = call.body.get("statuses")
    senders = call.body.get("accountIds")
    rows = [_campaign(call, campaign) for campaign in call.account.campaigns if call.finds(campaign.name)]
    if isinstance(wanted, list) and wanted:
        rows = [row for row in rows if row["status"] in wanted]
    if isinstance(senders, list) and senders:
        used = {campaign.id: {sender.id for sender in campaign.senders} for campaign in call.account.campaigns}
        rows = [row for row in rows if isinstance(row["id"], int) and used[row["id"]].intersection(senders)]
    return page(call, rows)


async def get_campaign(call: Call) -> object:
    found = call.campaign_in_query()
    if found.status_at(call.simulator.now) == "DRAFT":
        raise Refused(404, {"errorMessage": "There is no campaign with provided id."})
    return _campaign(call, found)


async def start(call: Call) -> object:
    campaign = call.campaign_in_query()
    if campaign.history[-1][1] not in ("DRAFT", "SCHEDULED"):
        raise no("The campaign is not a draft.")
    if campaign.sequence is None:
        raise no("The campaign has no sequence.")
    call.simulator.live.set_status(campaign, "IN_PROGRESS")
    return None


async def pause(call: Call) -> object:
    campaign = call.campaign_in_query()
    if campaign.history[-1][1] not in ("IN_PROGRESS", "STARTING", "SCHEDULED"):
        raise no("The campaign is not active.")
    call.simulator.live.set_status(campaign, "PAUSED")
    return None


async def resume(call: Call) -> object:
    campaign = call.campaign_in_query()
    if campaign.history[-1][1] not in ("PAUSED", "FINISHED", "FAILED"):
        raise no("The campaign is not paused, finished or failed.")
    call.simulator.live.resume(campaign)
    return None


async def get_sequence(call: Call) -> object:
    return call.campaign_in_query().sequence


async def update_sequence(call: Call) -> object:
    campaign, sequence = call.campaign_in_body(), call.body.get("sequence")
    if campaign.history[-1][1] not in ("DRAFT", "SCHEDULED", "PAUSED"):
        raise no("Only draft, scheduled and paused campaigns can be updated.")
    _check(sequence, "sequence")
    assert isinstance(sequence, dict)
    campaign.sequence = sequence
    return None


async def add_leads(call: Call) -> object:
    """V2: counts. V1 answers the number of those that are new."""
    campaign, pairs = call.campaign_in_body(), call.rows("accountLeadPairs")
    status = campaign.history[-1][1]
    if status == "DRAFT":
        raise no("You cannot add new leads to a draft campaign.")
    if status in ("CANCELED", "FAILED"):
        raise no(f"You cannot add new leads to a campaign that is {status}.")
    if len(pairs) > LARGEST_BATCH:
        raise invalid("accountLeadPairs", "field holds too many items")
    checked = [_pair(call, pair) for pair in pairs]
    added = failed = 0
    for told, sender in checked:
        if read_profile(str(told["profileUrl"])) in call.account.unreachable:
            failed += 1
            continue
        lead = call.account.lead_at(str(told["profileUrl"])) or new_lead(call, told)
        enrolment = campaign.enrolments.get(lead.id)
        if enrolment is None:
            number = len(campaign.enrolments) % len(campaign.senders)
            enrolment = call.simulator.live.enrol(campaign, lead, sender or campaign.senders[number])
            added += 1
        custom = told.get("customUserFields")
        for one in custom if isinstance(custom, list) else ():
            enrolment.custom_fields[one["name"]] = str(one["value"])
    # One that finished goes on, whatever is asked; one that rests does if it is asked to.
    if checked and (status == "FINISHED" or (status == "PAUSED" and call.body.get("resumePausedCampaign") is True)):
        call.simulator.live.resume(campaign)
    return {
        "addedLeadsCount": added,
        "updatedLeadsCount": len(checked) - added - failed,
        "failedLeadsCount": failed,
    }


async def add_leads_v1(call: Call) -> object:
    counts = await add_leads(call)
    assert isinstance(counts, dict)
    return counts["addedLeadsCount"]


async def stop_lead(call: Call) -> object:
    campaign = call.campaign_in_body()
    lead = call.lead_named("leadUrl", "leadMemberId")
    enrolment = campaign.enrolments.get(lead.id) if lead is not None else None
    if enrolment is None:
        raise no("The lead is not in the campaign.")
    if not enrolment.is_over:
        enrolment.is_stopped = True
        call.simulator.live.end(campaign, enrolment)
    return None


async def list_leads(call: Call) -> object:
    campaign = call.campaign_in_body()
    return page(call, [_enrolment(one) for one in campaign.enrolments.values()])


async def list_campaigns_of_lead(call: Call) -> object:
    lead, now = call.lead_named("profileUrl", "linkedinId", "email"), call.simulator.now
    rows: list[Row] = [
        {
            "campaignId": campaign.id,
            "campaignName": campaign.name,
            "campaignStatus": campaign.status_at(now),
            "leadStatus": campaign.enrolments[lead.id].campaign_status,
        }
        for campaign in call.account.campaigns
        if lead is not None and lead.id in campaign.enrolments
    ]
    return {"leadFullName": lead.name if lead is not None else None, **page(call, rows)}


def _campaign(call: Call, campaign: Campaign) -> Row:
    now = call.simulator.now
    begun = [one for one in campaign.enrolments.values() if one.created_at <= now - STATS_LAG]
    threads = [thread for thread in call.account.threads if thread.campaign_id == campaign.id]
    answered = sum(any(said.is_reply for said in thread.said) for thread in threads)
    stopped = sum(one.is_stopped for one in begun)
    stats = {
        "totalUsers": len(begun),
        # Counted by lists that lag apart: it has been seen below zero.
        "totalUsersInProgress": len(begun) - answered - len(threads) - stopped,
        "totalUsersPending": 0,
        "totalUsersFinished": answered,
        "totalUsersFailed": 0,
        "totalUsersManuallyStopped": stopped,
        "totalUsersExcluded": 0,
    }
    return {
        "id": campaign.id,
        "name": campaign.name,
        "creationTime": instant(campaign.created_at),
        "linkedInUserListName": campaign.list_name,
        "linkedInUserListId": campaign.list_id,
        "campaignAccountIds": [sender.id for sender in campaign.senders],
        "status": campaign.status_at(now),
        "progressStats": stats,
        "excludeInOtherCampaigns": False,
        "excludeHasOtherAccConversations": False,
        "excludeContactedFromSenderInOtherCampaign": False,
        "excludeListId": None,
        "organizationUnitId": call.account.organization_unit_id,
    }


def _enrolment(one: Enrolment) -> Row:
    return {
        "id": one.id,
        "linkedInUserProfileId": f"ACoEXAMPLE{one.lead.id}",
        "linkedInUserProfile": profile(one.lead),
        "creationTime": instant(one.created_at),
        "lastActionTime": instant(one.last_action_at) if one.last_action_at is not None else None,
        "failedTime": None,
        "leadCampaignStatus": one.campaign_status,
        "leadConnectionStatus": one.connection_status,
        "leadMessageStatus": one.message_status,
        "errorCode": None,
        "leadCampaignStatusMessage": None,
        "linkedInSenderId": one.sender.id,
        "linkedInSenderFullName": one.sender.name,
    }


def _pair(call: Call, pair: object) -> tuple[Mapping[str, object], Sender | None]:
    if not isinstance(pair, dict):
        raise invalid("accountLeadPairs", "field is required")
    lead, number = checked_lead(pair.get("lead"), "accountLeadPairs"), pair.get("linkedInAccountId")
    sender = call.account.sender(number)
    if number is not None and sender is None:
        raise no("The LinkedIn account does not exist.")
    return lead, sender


def _check(node: object, path: str) -> None:
    """As the validator says it: with the way to the node."""
    if not isinstance(node, dict) or node.get("nodeType") not in _NODES:
        raise no(f"{path}: invalid node type.")
    delay, unit = node.get("actionDelay", 0), node.get("actionDelayUnit", "HOUR")
    hours = delay * (24 if unit == "DAY" else 1) if isinstance(delay, int) else 0
    if not 3 <= hours <= 500 * 24:
        raise no(f"{path}: the delay 00:00:00 is out of range.")
    kind, payload = node["nodeType"], node.get("payload")
    if kind in ("MESSAGE", "INMAIL", "CONNECTION_REQUEST"):
        _check_payload(kind, payload if isinstance(payload, dict) else {}, path)
    if kind == "END":
        return
    _check(node.get("unconditionalNode"), f"{path}.unconditionalNode")
    if kind in _BRANCHING or node.get("conditionalNode") is not None:
        if kind not in _BRANCHING:
            raise no(f"{path}: this node cannot have a conditional node.")
        _check(node.get("conditionalNode"), f"{path}.conditionalNode")


def _check_payload(kind: str, payload: JsonObject, path: str) -> None:
    texts = payload.get("messages")
    if "message" in payload:
        raise Refused(500)
    if not isinstance(texts, list) or (not texts and kind != "CONNECTION_REQUEST"):
        raise no(f"{path}: messages are required.")
    if kind == "CONNECTION_REQUEST":
        if payload.get("fallbackMessage") is None:
            raise no(f"{path}: a fallback message is required.")
        if any(len(str(text)) > 300 for text in texts):
            raise no(f"{path}: a note has 300 characters at most.")
