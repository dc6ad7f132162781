"""Mail by call: statistics, histories, the master inbox, answers, counters."""

from __future__ import annotations

from datetime import datetime

from libs.providers.smartlead.simulator import mail
from libs.providers.smartlead.simulator.joi import Key, day, no, number, refusal
from libs.providers.smartlead.simulator.resources import Resource
from libs.providers.smartlead.simulator.routing import Call, Route, plain, route

STATISTICS_CAP = 1000
INBOX_CAP = 20
LONGEST_SEARCH = 30
_FILTERS = {
    "emailStatus": Key(str),
    "campaignId": Key(list),
    "campaignClientId": Key(list),
    "leadCategories": Key(dict, keys={"categoryIdsIn": Key(list), "unassigned": Key(bool)}),
    "replyTimeBetween": Key(list),
    "search": Key(str),
}
_INBOX = {
    "offset": Key(int, least=0),
    "limit": Key(int, least=1, most=INBOX_CAP),
    "filters": Key(dict, keys=_FILTERS),
    "sortBy": Key(str, one_of=("REPLY_TIME_DESC", "SENT_TIME_DESC")),
}
_REPLY = {
    "email_stats_id": Key(str, required=True),
    "email_body": Key(str, required=True),
    "reply_message_id": Key(str),
    "reply_email_time": Key(str),
    "reply_email_body": Key(str),
    "to_email": Key(str),
    "cc": Key(str),
    "bcc": Key(str),
    "scheduled_time": Key(str),
    "add_signature": Key(bool),
    "attachments": Key(list),
}


async def _statistics(call: Call) -> object:
    status = call.query.get("email_status") or None
    if status is not None and status not in mail.MAIL_STATUSES:
        raise refusal("query", "email_status", f"must be one of [{', '.join(mail.MAIL_STATUSES)}]")
    step = call.query.get("email_sequence_number")
    found = call.campaign()
    if found is None:
        return {}
    return mail.statistics(
        found,
        offset=number(call.query, "offset", default=0),
        limit=number(call.query, "limit", default=100, least=1, most=STATISTICS_CAP),
        step_number=number(call.query, "email_sequence_number", default=1, least=1, most=20) if step else None,
        mail_status=status,
        since=day(call.query, "sent_time_start_date"),
        until=day(call.query, "sent_time_end_date", end=True),
        fault=call.page_fault,
    )


async def _history(call: Call) -> object:
    found = call.campaign()
    return mail.message_history(found, call.ids["lead"], known_until=_known_until(call)) if found is not None else {}


async def _inbox(call: Call) -> object:
    body = await call.body(_INBOX)
    filters = body.get("filters")
    wanted = filters if isinstance(filters, dict) else {}
    if len(str(wanted.get("search") or "")) > LONGEST_SEARCH:
        raise refusal(
            "body", "filters.search", f"length must be less than or equal to {LONGEST_SEARCH} characters long"
        )
    offset, limit = body.get("offset", 0), body.get("limit", INBOX_CAP)
    assert isinstance(offset, int)
    assert isinstance(limit, int)
    rows = mail.inbox(call.account, wanted, offset=offset, limit=limit, fault=call.page_fault)
    if call.query.get("fetch_message_history") == "true":
        rows = [_with_history(call, row) for row in rows]
    return {"ok": True, "data": rows, "offset": offset, "limit": limit}


async def _inbox_one(call: Call) -> object:
    for campaign in call.account.campaigns:
        for enrolment in campaign.enrolments:
            if str(enrolment.map_id) == call.ids["map"]:
                return {"ok": True, "data": _with_history(call, mail.inbox_row(campaign, enrolment))}
    return {}


def _with_history(call: Call, row: Resource) -> Resource:
    found = next(
        enrolment
        for campaign in call.account.campaigns
        for enrolment in campaign.enrolments
        if enrolment.map_id == row["email_lead_map_id"]
    )
    return mail.with_history(row, found, _known_until(call))


async def _reply(call: Call) -> object:
    """Answered in words: the mail goes out later, and only the history will tell its id."""
    body = await call.body(_REPLY)
    campaign = call.campaign_to_change()
    for enrolment in campaign.enrolments:
        for sent in enrolment.sent:
            if sent.stats_id == body["email_stats_id"]:
                call.simulator.live.answer(enrolment, campaign, sent, str(body["email_body"]))
                return plain("Email added to the queue, will be sent out soon!")
    raise no("Email not found - Invalid email_stats_id.", 404)


async def _analytics(call: Call) -> object:
    found = call.campaign()
    return mail.analytics(call.account, found, call.simulator.now) if found is not None else {}


async def _analytics_by_date(call: Call) -> object:
    first, last = _days(call, "%Y-%m-%d")
    found = call.campaign()
    return mail.analytics_by_date(call.account, found, call.simulator.now, first, last) if found is not None else {}


async def _sequence_analytics(call: Call) -> object:
    first, last = _days(call, "%Y-%m-%d %H:%M:%S")
    found = call.campaign()
    return mail.sequence_analytics(found, first, last) if found is not None else {}


def _days(call: Call, form: str) -> tuple[str, str]:
    found = []
    for name in ("start_date", "end_date"):
        text = call.query.get(name)
        if not text:
            raise refusal("query", name, "is required")
        try:
            found.append(datetime.fromisoformat(text).strftime(form))
        except ValueError:
            raise refusal("query", name, "must be a valid date") from None
    return found[0], found[1]


def _known_until(call: Call) -> datetime:
    return call.simulator.now - call.simulator.history_lag


_ONE = "/campaigns/{campaign}"
ROUTES: tuple[Route, ...] = (
    route("GET", f"{_ONE}/statistics", _statistics),
    route("GET", f"{_ONE}/leads/{{lead}}/message-history", _history),
    route("POST", f"{_ONE}/reply-email-thread", _reply),
    route("GET", f"{_ONE}/analytics", _analytics),
    route("GET", f"{_ONE}/analytics-by-date", _analytics_by_date),
    route("GET", f"{_ONE}/sequence-analytics", _sequence_analytics),
    route("POST", "/master-inbox/inbox-replies", _inbox),
    route("GET", "/master-inbox/{map}", _inbox_one),
)
