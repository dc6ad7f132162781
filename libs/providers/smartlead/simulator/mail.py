"""Mail as the API answers it: what was sent, histories, the inbox, and the counters over all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from libs.providers.fields import read_moment
from libs.providers.simulation.faults import FaultKind, cut
from libs.providers.smartlead.simulator.model import CATEGORIES, Account, Campaign, Enrolment, Sent
from libs.providers.smartlead.simulator.payloads import zulu_time
from libs.providers.smartlead.simulator.resources import Resource, at_or_none

# What `email_status` of the statistics can ask for.
MAIL_STATUSES: dict[str, Callable[[Sent], bool]] = {
    "opened": lambda sent: bool(sent.opens),
    "clicked": lambda sent: bool(sent.clicks),
    "replied": lambda sent: sent.replied_at is not None,
    "unsubscribed": lambda sent: sent.is_unsubscribed,
    "bounced": lambda sent: sent.bounced_at is not None,
}


def statistics(
    found: Campaign,
    *,
    offset: int,
    limit: int,
    step_number: int | None = None,
    mail_status: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    fault: FaultKind | None = None,
) -> Resource:
    """One row per e-mail of the sequence, in order of time; answers by hand are none of them."""
    matches = MAIL_STATUSES[mail_status] if mail_status else None
    pairs = [
        (enrolment, sent)
        for enrolment in found.enrolments
        for sent in enrolment.sent
        if sent.step is not None
        and (step_number is None or sent.step.number == step_number)
        and (matches is None or matches(sent))
        and (since is None or sent.at >= since)
        and (until is None or sent.at < until)
    ]
    pairs.sort(key=lambda pair: (pair[1].at, pair[1].stats_id))
    page = [_statistics_row(enrolment, sent) for enrolment, sent in cut(pairs, offset, limit, fault)]
    return {"total_stats": str(len(pairs)), "offset": offset, "limit": limit, "data": page}


def _statistics_row(enrolment: Enrolment, sent: Sent) -> Resource:
    assert sent.step is not None
    return {
        "stats_id": sent.stats_id,
        "lead_name": enrolment.lead.name,
        "lead_email": enrolment.lead.address,
        "lead_category": next((name for number, name, _ in CATEGORIES if number == enrolment.category_id), None),
        "sequence_number": sent.step.number,
        "email_campaign_seq_id": sent.step.id,
        "seq_variant_id": sent.variant_id or sent.step.variant_id,
        "email_subject": sent.subject,
        "email_message": sent.html,
        "sent_time": zulu_time(sent.at),
        "open_time": at_or_none(sent.opens[0] if sent.opens else None),
        "click_time": at_or_none(sent.clicks[0] if sent.clicks else None),
        "reply_time": at_or_none(sent.replied_at),
        "open_count": len(sent.opens),
        "click_count": len(sent.clicks),
        "is_unsubscribed": sent.is_unsubscribed,
        "is_bounced": sent.bounced_at is not None,
        "ignore_reply": False,
    }


def message_history(found: Campaign, lead_id: str, *, known_until: datetime) -> Resource:
    """{} for a lead who is not in the campaign. Replies are known a while after they were told."""
    enrolment = found.enrolment(lead_id)
    if enrolment is None:
        return {}
    rows = _history(enrolment, known_until)
    return {"history": rows, "from": enrolment.mailbox.address, "to": enrolment.lead.address}


def _history(enrolment: Enrolment, known_until: datetime) -> list[Resource]:
    rows: list[tuple[datetime, Resource]] = []
    for sent in enrolment.sent:
        row: Resource = {
            "stats_id": sent.stats_id,
            "type": "SENT",
            "message_id": sent.message_id,
            "time": zulu_time(sent.at),
            "email_body": sent.html,
            "subject": sent.subject,
            "email_seq_number": str(sent.step.number) if sent.step is not None else None,
            "open_count": len(sent.opens),
            "click_count": len(sent.clicks),
            "click_details": {},
            "from": sent.mailbox.address,
            "to": enrolment.lead.address,
            "cc": [],
            "bcc": [],
        }
        rows.append((sent.at, row))
        for reply in sent.replies:
            if reply.at > known_until:
                continue
            row = {"stats_id": sent.stats_id, "type": "REPLY", "message_id": reply.message_id}
            rows.append((reply.at, row | {"time": zulu_time(reply.at), "email_body": reply.html}))
    rows.sort(key=lambda pair: pair[0])
    return [row for _, row in rows]


def inbox(
    account: Account, filters: dict[str, object], *, offset: int, limit: int, fault: FaultKind | None
) -> list[Resource]:
    """Those who replied, the latest reply first."""
    campaigns, clients = filters.get("campaignId"), filters.get("campaignClientId")
    wanted, search = filters.get("leadCategories"), str(filters.get("search") or "").lower()
    only = wanted.get("categoryIdsIn") if isinstance(wanted, dict) else None
    between = filters.get("replyTimeBetween")
    first, last = (read_moment(one) for one in between) if isinstance(between, list) else (None, None)
    found = [
        (max(reply.at for reply in enrolment.replies), campaign, enrolment)
        for campaign in account.campaigns
        for enrolment in campaign.enrolments
        if enrolment.replies
        and (not isinstance(campaigns, list) or campaign.id in campaigns)
        and (not isinstance(clients, list) or campaign.client_id in clients)
        and (not isinstance(only, list) or enrolment.category_id in only)
        and (search in enrolment.lead.address or search in enrolment.lead.name.lower())
    ]
    found = [entry for entry in found if (first is None or entry[0] >= first) and (last is None or entry[0] <= last)]
    found.sort(key=lambda entry: (entry[0], entry[2].map_id), reverse=True)
    return [inbox_row(campaign, enrolment) for _, campaign, enrolment in cut(found, offset, limit, fault)]


def inbox_row(campaign: Campaign, enrolment: Enrolment) -> Resource:
    mail = enrolment.of_sequence
    last = mail[-1].step if mail else None
    return {
        "email_lead_map_id": enrolment.map_id,
        "email_lead_id": str(enrolment.lead.id),
        "lead_first_name": enrolment.lead.first_name,
        "lead_last_name": enrolment.lead.last_name,
        "lead_email": enrolment.lead.address,
        "lead_status": enrolment.status,
        "lead_category_id": enrolment.category_id,
        "current_sequence_number": last.number if last is not None else None,
        "last_sent_time": at_or_none(max((sent.at for sent in enrolment.sent), default=None)),
        "last_reply_time": at_or_none(max((reply.at for reply in enrolment.replies), default=None)),
        "has_new_unread_email": True,
        "email_account_id": enrolment.mailbox.id,
        "revenue": 0,
        "email_campaign_id": campaign.id,
        "email_campaign_name": campaign.name,
        "email_campaign_seq_id": last.id if last is not None else None,
        "client_id": campaign.client_id,
        "sub_sequence_id": None,
        "belongs_to_sub_sequence": False,
        "is_important": False,
        "is_archived": False,
        "is_snoozed": False,
        "team_member_id": None,
        "campaign_sending_schedule": campaign.settings.schedule,
    }


def with_history(row: Resource, enrolment: Enrolment, known_until: datetime) -> Resource:
    return {**row, "email_history": _history(enrolment, known_until)}


# Counters


def analytics(account: Account, found: Campaign, now: datetime) -> Resource:
    """Counts in quotes. Replies are counted by lead, so statistics, which mark mails, say more."""
    client = next((one for one in account.clients if one.id == found.client_id), None)
    stages = [enrolment.status for enrolment in found.enrolments]
    return {
        "id": found.id,
        "user_id": account.user_id,
        "created_at": zulu_time(found.created_at),
        "status": found.status_at(now),
        "name": found.name,
        **{name: str(number) for name, number in _counted(_mail(found)).items()},
        "block_count": str(sum(stage == "BLOCKED" for stage in stages)),
        "total_count": str(sum(len(enrolment.of_sequence) for enrolment in found.enrolments)),
        "drafted_count": str(sum(len(found.steps) - len(one.of_sequence) for one in found.enrolments)),
        "sequence_count": str(len(found.steps)),
        "tags": [],
        "client_id": found.client_id,
        "client_name": client.name if client else None,
        "client_email": client.email if client else None,
        "client_company_name": None,
        "parent_campaign_id": None,
        "send_as_plain_text": found.settings.send_as_plain_text,
        "campaign_lead_stats": {
            "total": len(stages),
            "notStarted": stages.count("STARTED"),
            "inprogress": stages.count("INPROGRESS"),
            "completed": stages.count("COMPLETED"),
            "paused": stages.count("PAUSED"),
            "stopped": stages.count("STOPPED"),
            "blocked": stages.count("BLOCKED"),
            "interested": sum(enrolment.category_id == 1 for enrolment in found.enrolments),
            "revenue": 0,
        },
    }


def analytics_by_date(account: Account, found: Campaign, now: datetime, first: str, last: str) -> Resource:
    whole = analytics(account, found, now)
    between = [(one, sent) for one, sent in _mail(found) if first <= f"{sent.at:%Y-%m-%d}" <= last]
    counted = {name: str(number) for name, number in _counted(between).items()}
    del whole["campaign_lead_stats"]
    return {**whole, **counted, "start_date": first, "end_date": last}


def sequence_analytics(found: Campaign, first: str, last: str) -> Resource:
    """By the step's id; the number is not told."""
    rows: list[Resource] = []
    for step in found.steps:
        mail = [
            (one, sent)
            for one, sent in _mail(found)
            if sent.step is not None and sent.step.id == step.id and first <= f"{sent.at:%Y-%m-%d %H:%M:%S}" <= last
        ]
        counted = _counted(mail)
        rows.append(
            {
                "email_campaign_seq_id": step.id,
                "sent_count": counted["sent_count"],
                "skipped_count": 0,
                "open_count": counted["open_count"],
                "click_count": counted["click_count"],
                "reply_count": counted["reply_count"],
                "bounce_count": counted["bounce_count"],
                "unsubscribed_count": counted["unsubscribed_count"],
                "failed_count": 0,
                "stopped_count": 0,
                "ln_connection_req_pending_count": 0,
                "ln_connection_req_accepted_count": 0,
                "ln_connection_req_skipped_sent_msg_count": 0,
                "positive_reply_count": sum(bool(sent.replies) and one.category_id in (1, 2, 5) for one, sent in mail),
            }
        )
    return {"ok": True, "data": rows}


def _mail(found: Campaign) -> list[tuple[Enrolment, Sent]]:
    return [(enrolment, sent) for enrolment in found.enrolments for sent in enrolment.of_sequence]


def _counted(mail: Iterable[tuple[Enrolment, Sent]]) -> dict[str, int]:
    mail = list(mail)

    def leads(fits: Callable[[Sent], bool]) -> int:
        return len({one.map_id for one, sent in mail if fits(sent)})

    return {
        "sent_count": len(mail),
        "unique_sent_count": len({one.map_id for one, _ in mail}),
        "open_count": sum(len(sent.opens) for _, sent in mail),
        "unique_open_count": leads(lambda sent: bool(sent.opens)),
        "click_count": sum(len(sent.clicks) for _, sent in mail),
        "unique_click_count": leads(lambda sent: bool(sent.clicks)),
        "reply_count": leads(lambda sent: bool(sent.replies)),
        "bounce_count": sum(sent.bounced_at is not None for _, sent in mail),
        "unsubscribed_count": sum(sent.is_unsubscribed for _, sent in mail),
    }
