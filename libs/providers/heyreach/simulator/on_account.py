"""The workspace itself: its key, its senders, its counters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from libs.providers.fields import read_moment
from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.simulator.journal import Happened, Note
from libs.providers.heyreach.simulator.model import Sender
from libs.providers.heyreach.simulator.routing import Call, Refused, Row, invalid, no, page


async def check_key(_: Call) -> object:
    return None


async def list_senders(call: Call) -> object:
    return page(call, [_sender(call, sender) for sender in call.account.senders])


async def get_sender(call: Call) -> object:
    found = call.account.sender(call.query_number("accountId"))
    if found is None:
        raise Refused(404)
    return _sender(call, found)


async def is_connection(call: Call) -> object:
    sender = call.account.sender(call.body.get("senderAccountId"))
    if sender is None:
        raise no("The LinkedIn account does not exist.")
    if call.body.get("leadProfileUrl") and call.body.get("leadLinkedInId"):
        raise no("Only one of leadProfileUrl and leadLinkedInId can be given.")
    lead = call.lead_named("leadProfileUrl", "leadLinkedInId")
    enrolments = (one for campaign in call.account.campaigns for one in campaign.enrolments.values())
    accepted = any(
        one.lead is lead and one.sender is sender and one.connection_status == "ConnectionAccepted"
        for one in enrolments
    )
    return {"isConnection": accepted}


async def stats(call: Call) -> object:
    notes = _counted(call)
    days = sorted({note.at.date() for note in notes if note.at is not None})
    by_day = {
        f"{day.isoformat()}T00:00:00Z": _counters(call, [one for one in notes if one.at and one.at.date() == day])
        for day in days
    }
    return {"byDayStats": by_day, "overallStats": _counters(call, notes)}


async def stats_by_campaign(call: Call) -> object:
    notes = _counted(call)
    by_day: dict[str, list[Row]] = {}
    for day in sorted({note.at.date() for note in notes if note.at is not None}):
        of_day = [note for note in notes if note.at and note.at.date() == day]
        by_day[f"{day.isoformat()}T00:00:00Z"] = [
            {"campaignId": int(campaign), **_counters(call, [note for note in of_day if note.campaign == campaign])}
            for campaign in sorted({note.campaign for note in of_day})
        ]
    return {"byDayStats": by_day, "overallStats": _counters(call, notes)}


def _counted(call: Call) -> list[Note]:
    accounts, campaigns = call.rows("accountIds"), call.rows("campaignIds")
    since, until = (_moment(call, name) for name in ("startDate", "endDate"))
    if any(call.account.campaign(str(one)) is None for one in campaigns):
        raise no("The campaign does not exist.")
    wanted = {str(one) for one in campaigns}
    senders = {
        (campaign.external_id, _key(one.lead.profile_url)): one.sender.id
        for campaign in call.account.campaigns
        for one in campaign.enrolments.values()
    }
    return [
        note
        for note in call.simulator.journal.notes
        if note.campaign
        and (not wanted or note.campaign in wanted)
        and (not accounts or senders.get((note.campaign, note.lead_key.removeprefix("linkedin:"))) in accounts)
        and note.at is not None
        and since <= note.at <= until
    ]


def _moment(call: Call, name: str) -> datetime:
    found = read_moment(call.body.get(name))
    if found is None:
        raise invalid(name, "field is required")
    return found


def _key(profile_url: str) -> str:
    return read_profile(profile_url) or ""


def _counters(call: Call, notes: Iterable[Note]) -> Row:
    told = list(notes)
    inmail = {thread.lead.key for thread in call.account.threads if thread.is_inmail}

    def count(what: Happened, *, by_inmail: bool | None = None) -> int:
        return len([note for note in told if note.what is what and by_inmail in (None, note.lead_key in inmail)])

    def leads(what: Happened, *, by_inmail: bool) -> int:
        found = [note for note in told if note.what is what and (note.lead_key in inmail) is by_inmail]
        return len({(note.campaign, note.lead_key) for note in found})

    started, replied = (leads(what, by_inmail=False) for what in (Happened.SENT, Happened.REPLIED))
    inmail_started, inmail_replied = (leads(what, by_inmail=True) for what in (Happened.SENT, Happened.REPLIED))
    asked, accepted = count(Happened.CONNECTION_REQUESTED), count(Happened.CONNECTION_ACCEPTED)
    return {
        "profileViews": count(Happened.PROFILE_VIEWED),
        "postLikes": count(Happened.LIKED),
        "follows": count(Happened.FOLLOWED),
        "messagesSent": count(Happened.SENT, by_inmail=False),
        "totalMessageStarted": started,
        "totalMessageReplies": replied,
        "inmailMessagesSent": count(Happened.SENT, by_inmail=True),
        "totalInmailStarted": inmail_started,
        "totalInmailReplies": inmail_replied,
        "connectionsSent": asked,
        "connectionsAccepted": accepted,
        "messageReplyRate": _rate(replied, started),
        "inMailReplyRate": _rate(inmail_replied, inmail_started),
        "connectionAcceptanceRate": _rate(accepted, asked),
    }


def _rate(some: int, of: int) -> float:
    return round(some / of, 4) if of else 0.0


def _sender(call: Call, sender: Sender) -> Row:
    return {
        "id": sender.id,
        "emailAddress": sender.address,
        "firstName": sender.first_name,
        "lastName": sender.last_name,
        "isActive": True,
        "activeCampaigns": sum(sender in campaign.senders for campaign in call.account.campaigns),
        "authIsValid": True,
        "isValidNavigator": False,
        "isValidRecruiter": False,
    }
