"""The inbox: conversations of all senders with filters, one conversation, an answer."""

from __future__ import annotations

from collections.abc import Mapping

from libs.providers.fields import read_moment
from libs.providers.heyreach.simulator.model import Said, Thread
from libs.providers.heyreach.simulator.on_leads import profile
from libs.providers.heyreach.simulator.payloads import instant
from libs.providers.heyreach.simulator.routing import PAGE, Call, Refused, Row, invalid, no, page
from libs.providers.simulation.faults import cut

DEFAULT_PAGE = 10  # of V3


async def list_by_offset(call: Call) -> object:
    """V1 and V2."""
    return page(call, [_conversation(thread, with_fields=True) for thread in _found(call)])


async def list_by_cursor(call: Call) -> object:
    """V3. A cursor says from where on, and is refused when somebody edited it."""
    found = _found(call)
    since, until = (read_moment(call.body.get(name)) for name in ("from", "to"))
    if since is not None and until is not None and since > until:
        raise no("The from date must be before the to date.")
    found = [
        thread
        for thread in found
        if (since is None or thread.said[-1].at >= since) and (until is None or thread.said[-1].at <= until)
    ]
    limit, cursor = call.number("limit", DEFAULT_PAGE, PAGE), call.body.get("cursor")
    if cursor is not None and not (isinstance(cursor, str) and cursor.startswith("c-") and cursor[2:].isdigit()):
        raise no("The cursor is invalid.")
    offset = int(cursor[2:]) if isinstance(cursor, str) else 0
    end = min(offset + limit, len(found))
    rows = cut(found, offset, limit, call.page_fault)
    has_more = end < len(found)
    return {
        "totalCount": len(found),
        "items": [_conversation(thread, with_fields=False) for thread in rows],
        "nextCursor": f"c-{end}" if has_more else None,
        "hasNextPage": has_more,
    }


async def get_chatroom(call: Call) -> object:
    """It lags behind the lists."""
    thread = _thread(call, call.ids["conversation"], int(call.ids["sender"]), 404)
    told = [said for said in thread.said if said.at <= call.simulator.now - call.simulator.chatroom_lag]
    return _conversation(thread, with_fields=True) | {"messages": [_message(thread, said) for said in told]}


async def send_message(call: Call) -> object:
    thread = _thread(call, call.text("conversationId"), call.body.get("linkedInAccountId"), 400)
    call.simulator.live.answer(thread, call.text("message"))
    return None


async def set_seen(call: Call) -> object:
    thread = _thread(call, call.text("conversationId"), call.body.get("linkedInAccountId"), 400)
    thread.is_read = call.body.get("seen") is True
    return None


def _thread(call: Call, conversation_id: str, sender: object, status: int) -> Thread:
    for thread in call.account.threads:
        if thread.conversation_id == conversation_id and thread.sender.id == sender and thread.said:
            return thread
    raise Refused(status, {"errorMessage": "The conversation does not exist."})


def _found(call: Call) -> list[Thread]:
    """The latest message first. Filters outside of `filters` are none."""
    filters = call.body.get("filters")
    wanted: Mapping[str, object] = filters if isinstance(filters, dict) else {}
    found = [thread for thread in call.account.threads if thread.said]
    senders, campaigns = wanted.get("linkedInAccountIds"), wanted.get("campaignIds")
    if senders:
        found = [thread for thread in found if isinstance(senders, list) and thread.sender.id in senders]
    if campaigns:
        if not isinstance(campaigns, list):
            raise invalid("campaignIds", "field is not a list of ids")
        in_campaigns = [call.account.campaign(str(one)) for one in campaigns]
        if None in in_campaigns:
            raise no("The campaign does not exist.")
        ids = {lead for campaign in in_campaigns if campaign is not None for lead in campaign.enrolments}
        found = [thread for thread in found if thread.lead.id in ids]
    lead = wanted.get("leadProfileUrl") or wanted.get("leadLinkedInId")
    if lead:
        known = call.account.lead_at(str(lead)) or next((one for one in call.account.leads if one.id == lead), None)
        if known is None:
            raise no("The lead does not exist.")
        found = [thread for thread in found if thread.lead is known]
    words = wanted.get("searchString")
    if isinstance(words, str) and words:
        found = [thread for thread in found if words.lower() in thread.lead.name.lower()]
    if isinstance(wanted.get("seen"), bool):
        found = [thread for thread in found if thread.is_read is wanted["seen"]]
    tags = wanted.get("tags")
    if isinstance(tags, list) and tags:
        if not call.account.tags.issuperset(tags):
            raise no("The tag does not exist.")
        found = [thread for thread in found if set(tags) & set(thread.lead.tags)]
    return sorted(found, key=lambda thread: thread.said[-1].at, reverse=True)


def _conversation(thread: Thread, *, with_fields: bool) -> Row:
    """V3 leaves out addresses and variables, and has automatic tags instead."""
    last, sender = thread.said[-1], thread.sender
    person = profile(thread.lead) | {"tags": list(thread.lead.tags)}
    if with_fields:
        person |= {"enrichedEmailAddress": None, "customEmailAddress": None, "customFields": []}
    else:
        del person["emailAddress"]
        person["autoTags"] = []
    return {
        "id": thread.conversation_id,
        "read": thread.is_read,
        "groupChat": False,
        "blockedByMe": False,
        "blockedByParticipant": False,
        "lastMessageAt": instant(last.at),
        "lastMessageText": last.text,
        "lastMessageType": "TEXT",
        "lastMessageSender": "CORRESPONDENT" if last.is_reply else "ME",
        "totalMessages": len(thread.said),
        "linkedInAccountId": sender.id,
        "correspondentProfile": person,
        "linkedInAccount": {
            "id": sender.id,
            "emailAddress": sender.address,
            "firstName": sender.first_name,
            "lastName": sender.last_name,
            "authIsValid": True,
            "isValidNavigator": False,
            "isValidRecruiter": False,
            "profileUrl": sender.profile_url,
        },
        "messages": [_message(thread, said) for said in thread.said],
    }


def _message(thread: Thread, said: Said) -> Row:
    return {
        "createdAt": instant(said.at),
        "body": said.text,
        "subject": None,
        "postLink": None,
        "isInMail": thread.is_inmail,
        "sender": "CORRESPONDENT" if said.is_reply else "ME",
    }
