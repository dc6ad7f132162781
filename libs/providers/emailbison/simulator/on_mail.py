"""Mail by call: what was and will be sent, the master inbox, answering, judging."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.model import Campaign, InboxRow, Lead, whole_second
from libs.providers.emailbison.simulator.resources import Resource
from libs.providers.emailbison.simulator.routing import Answer, Call, Route, invalid, missing, paged, route
from libs.providers.fields import read_address


async def _list_campaign_mails(call: Call) -> Answer:
    return 200, paged(call, _mails(call, call.campaign(), None))


async def _list_lead_mails(call: Call) -> Answer:
    return 200, paged(call, _mails(call, None, call.lead()))


async def _list_lead_sent(call: Call) -> Answer:
    return 200, paged(call, [row for row in _mails(call, None, call.lead()) if row["sent_at"] is not None])


def _mails(call: Call, campaign: Campaign | None, lead: Lead | None) -> list[Resource]:
    wanted = call.text("status")
    rows = [
        resources.scheduled_email(found, enrolment, mail, tells_bounce=call.habits.tells_bounce)
        for found in call.account.campaigns
        if campaign is None or found is campaign
        for enrolment in found.enrolments
        if lead is None or enrolment.lead.id == lead.id
        for mail in enrolment.mails
    ]
    rows = [row for row in rows if not wanted or row["status"] == wanted]
    criteria, value = call.text("scheduled_date_local[criteria]"), call.text("scheduled_date_local[value]")
    if criteria == ">=" and value:  # the one that is asked for; times are text of one form, which sorts as they do
        rows = [row for row in rows if str(row["scheduled_date_local"]) >= value]
    return rows


async def _list_replies(call: Call) -> Answer:
    return 200, paged(call, _replies(call, None, None), is_inbox=True)


async def _list_campaign_replies(call: Call) -> Answer:
    return 200, paged(call, _replies(call, call.campaign(), None), is_inbox=True)


async def _list_lead_replies(call: Call) -> Answer:
    return 200, paged(call, _replies(call, None, call.lead()), is_inbox=True)


_STATUSES: Mapping[str, Callable[[InboxRow], bool]] = {
    "interested": lambda row: row.is_interested,
    "automated_reply": lambda row: row.is_automated,
    "not_automated_reply": lambda row: not row.is_automated,
}


def _replies(call: Call, campaign: Campaign | None, lead: Lead | None) -> list[Resource]:
    """Our own outgoing mail and bounces are among them."""
    folder, status, read = call.text("folder"), call.text("status"), call.text("read").lower()
    filters = {name: call.text(name) for name in ("campaign_id", "lead_id", "sender_email_id")}
    rows = [
        resources.reply(row)
        for row in call.account.inbox
        if (campaign is None or row.campaign is campaign)
        and (lead is None or (row.lead is not None and row.lead.id == lead.id))
        and (folder in ("", "all") or row.folder.lower() == folder)
        and (read == "" or row.is_read is (read in ("1", "true")))
        and (status not in _STATUSES or _STATUSES[status](row))
        and call.finds(row.subject, row.text, row.from_address, row.to_address)
    ]
    return [row for row in rows if all(not wanted or str(row[name]) == wanted for name, wanted in filters.items())]


async def _get_reply(call: Call) -> Answer:
    return 200, {"data": resources.reply(_row(call))}


def _row(call: Call) -> InboxRow:
    found = next((row for row in call.account.inbox if str(row.id) == call.ids["reply"]), None)
    if found is None:
        raise missing("reply", call.ids["reply"])
    return found


async def _answer(call: Call) -> Answer:
    answered = _row(call)
    mailbox = next((one for one in call.account.mailboxes if one.id == call.given.get("sender_email_id")), None)
    if mailbox is None:
        raise invalid("sender_email_id", "The selected sender email id is invalid.")
    if not call.text("message"):
        raise invalid("message", "The message field is required.")
    to, cc, bcc = (_people(call, name) for name in ("to_emails", "cc_emails", "bcc_emails"))
    if not to:
        raise invalid("to_emails", "The to emails field is required.")
    now, message = whole_second(call.simulator.now), call.text("message")
    subject = answered.subject if answered.subject.startswith("Re: ") else f"Re: {answered.subject}"
    row = InboxRow(
        id=call.account.new_id("replies"),
        uuid=call.simulator.live.new_uuid(),
        type="Outgoing Email",
        folder="Sent",
        subject=subject,
        text=message,
        received_at=now,
        created_at=now,
        updated_at=now,
        from_name=mailbox.name,
        from_address=mailbox.address,
        to_name=to[0][0],
        to_address=to[0][1],
        message_id=f"<{call.simulator.live.new_uuid()}@{mailbox.address.partition('@')[2]}>",
        mailbox=mailbox,
        lead=answered.lead,
        campaign=answered.campaign,
        mail=answered.mail,
        written_html=message if call.text("content_type") == "html" else None,
        cc=tuple(address for _, address in cc),
        bcc=tuple(address for _, address in bcc),
    )
    call.simulator.live.write_by_hand(answered, row)
    told = {"success": True, "message": "Successfully sent email", "reply": resources.reply(row)}
    return 200, {"data": told}


def _people(call: Call, name: str) -> list[tuple[str, str]]:
    rows = call.given.get(name)
    if not isinstance(rows, list):
        raise invalid(name, f"The {name.replace('_', ' ')} field must be an array.")
    found = []
    for index, row in enumerate(rows):
        address = read_address(str(row.get("email_address"))) if isinstance(row, dict) else None
        if address is None:
            raise invalid(f"{name}.{index}.email_address", f"The {name}.{index}.email_address field is required.")
        found.append((str(row.get("name") or ""), address))
    return found


async def _mark_interested(call: Call) -> Answer:
    return _judge(call, True)


async def _mark_not_interested(call: Call) -> Answer:
    return _judge(call, False)


def _judge(call: Call, is_interested: bool) -> Answer:
    row = _row(call)
    call.simulator.live.judge(row, is_interested, skip_webhooks=call.given.get("skip_webhooks") is True)
    return 200, {"data": resources.reply(row)}


async def _mark_read(call: Call) -> Answer:
    row = _row(call)
    row.is_read = call.given.get("read") is True
    return 200, {"data": resources.reply(row)}


async def _thread(call: Call) -> Answer:
    """What was written between the same lead and campaign; untracked mail is alone."""
    row = _row(call)
    others = [
        one
        for one in call.account.inbox
        if one is not row and row.lead is not None and one.lead is row.lead and one.campaign is row.campaign
    ]
    return 200, {
        "data": {
            "current_reply": resources.reply(row),
            "older_messages": [resources.reply(one) for one in others if one.received_at < row.received_at],
            "newer_messages": [resources.reply(one) for one in others if one.received_at >= row.received_at],
        }
    }


_REPLY = "/replies/{reply}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/campaigns/{campaign}/scheduled-emails", _list_campaign_mails),
    route("GET", "/campaigns/{campaign}/replies", _list_campaign_replies),
    route("GET", "/leads/{lead}/scheduled-emails", _list_lead_mails),
    route("GET", "/leads/{lead}/sent-emails", _list_lead_sent),
    route("GET", "/leads/{lead}/replies", _list_lead_replies),
    route("GET", "/replies", _list_replies),
    route("GET", _REPLY, _get_reply),
    route("GET", f"{_REPLY}/conversation-thread", _thread),
    route("POST", f"{_REPLY}/reply", _answer),
    route("PATCH", f"{_REPLY}/mark-as-interested", _mark_interested),
    route("PATCH", f"{_REPLY}/mark-as-not-interested", _mark_not_interested),
    route("PATCH", f"{_REPLY}/mark-as-read-or-unread", _mark_read),
)
