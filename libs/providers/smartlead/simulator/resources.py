"""The account's state as the API answers it: the names, types and envelopes differ from those of the webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from libs.providers.smartlead.simulator.model import CATEGORIES, Account, Campaign, Enrolment, Lead, Registration, Sent
from libs.providers.smartlead.simulator.payloads import zulu_time

Resource = dict[str, object]

# What `email_status` of the statistics can ask for.
MAIL_STATUSES: dict[str, Callable[[Sent], bool]] = {
    "opened": lambda sent: bool(sent.opens),
    "clicked": lambda sent: bool(sent.clicks),
    "replied": lambda sent: sent.replied_at is not None,
    "unsubscribed": lambda sent: sent.is_unsubscribed,
    "bounced": lambda sent: sent.bounced_at is not None,
}


def campaign(account: Account, found: Campaign, now: datetime) -> Resource:
    return {
        "id": found.id,
        "user_id": account.user_id,
        "created_at": zulu_time(found.created_at),
        "updated_at": zulu_time(found.updated_at),
        "status": found.status_at(now),
        "name": found.name,
        "track_settings": [],
        "scheduler_cron_value": {
            "tz": "Europe/Lisbon",
            "days": [1, 2, 3, 4, 5],
            "startHour": "09:00",
            "endHour": "17:00",
        },
        "min_time_btwn_emails": 20,
        "max_leads_per_day": 100,
        "stop_lead_settings": "REPLY_TO_AN_EMAIL",
        "schedule_start_time": None,
        "enable_ai_esp_matching": False,
        "send_as_plain_text": False,
        "follow_up_percentage": 100,
        "unsubscribe_text": None,
        "parent_campaign_id": None,
        "client_id": found.client_id,
    }


def sequences(found: Campaign) -> list[Resource]:
    """The copy of a step is in its variants; the step's own subject and body are blank."""
    at = zulu_time(found.created_at)
    return [
        {
            "id": step.id,
            "created_at": at,
            "updated_at": at,
            "email_campaign_id": found.id,
            "seq_number": step.number,
            "seq_delay_details": {"delayInDays": step.delay_days},
            "subject": "",
            "email_body": "",
            "sequence_variants": [
                {
                    "id": step.variant_id,
                    "created_at": at,
                    "updated_at": at,
                    "is_deleted": False,
                    "subject": step.subject,
                    "email_body": step.body,
                    "email_campaign_seq_id": step.id,
                    "variant_label": "A",
                    "variant_distribution_percentage": None,
                }
            ],
        }
        for step in found.steps
    ]


def statistics(
    found: Campaign, *, offset: int, limit: int, step_number: int | None = None, mail_status: str | None = None
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
    ]
    pairs.sort(key=lambda pair: (pair[1].at, pair[1].stats_id))
    page = [_statistics_row(enrolment, sent) for enrolment, sent in pairs[offset : offset + limit]]
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
        "seq_variant_id": sent.step.variant_id,
        "email_subject": sent.subject,
        "email_message": sent.html,
        "sent_time": zulu_time(sent.at),
        "open_time": _time(sent.opens[0] if sent.opens else None),
        "click_time": _time(sent.clicks[0] if sent.clicks else None),
        "reply_time": _time(sent.replied_at),
        "open_count": len(sent.opens),
        "click_count": len(sent.clicks),
        "is_unsubscribed": sent.is_unsubscribed,
        "is_bounced": sent.bounced_at is not None,
        "ignore_reply": False,
    }


def roster(found: Campaign, *, offset: int, limit: int) -> Resource:
    rows: list[Resource] = [
        {
            "campaign_lead_map_id": str(enrolment.map_id),
            "lead_category_id": enrolment.category_id,
            "status": enrolment.status,
            "created_at": zulu_time(enrolment.created_at),
            "lead": {"id": enrolment.lead.id, **_person(enrolment.lead)},
        }
        for enrolment in found.enrolments
    ]
    return {"total_leads": str(len(rows)), "data": rows[offset : offset + limit], "offset": offset, "limit": limit}


def lead_by_address(account: Account, address: str) -> Resource:
    """{} for an unknown one. The id is text here, and a number in the roster."""
    lead = account.leads.get(address.strip().lower())
    if lead is None:
        return {}
    pairs = [
        (found, enrolment) for found in account.campaigns for enrolment in found.enrolments if enrolment.lead is lead
    ]
    clients = dict(account.clients)
    return {
        "id": str(lead.id),
        "created_at": zulu_time(lead.created_at),
        **_person(lead),
        "lead_campaign_data": [
            {
                "campaign_lead_map_id": str(enrolment.map_id),
                "campaign_id": found.id,
                "campaign_name": found.name,
                "client_id": found.client_id,
                "client_email": f"client{found.client_id}@agency.example.com" if found.client_id in clients else None,
                "lead_category_id": enrolment.category_id,
                "last_sent_at": _time(max((sent.at for sent in enrolment.sent), default=None)),
                "last_reply_at": _time(
                    max((reply.at for sent in enrolment.sent for reply in sent.replies), default=None)
                ),
                "last_activity_at": _time(max(_activity(enrolment), default=None)),
            }
            for found, enrolment in pairs
        ],
    }


def message_history(found: Campaign, lead_id: str) -> Resource:
    """{} for a lead who is not in the campaign."""
    enrolment = next((enrolment for enrolment in found.enrolments if str(enrolment.lead.id) == lead_id), None)
    if enrolment is None:
        return {}
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
            row = {"stats_id": sent.stats_id, "type": "REPLY", "message_id": reply.message_id}
            rows.append((reply.at, row | {"time": zulu_time(reply.at), "email_body": reply.html}))
    rows.sort(key=lambda pair: pair[0])
    return {"history": [row for _, row in rows], "from": enrolment.mailbox.address, "to": enrolment.lead.address}


def categories(account: Account) -> list[Resource]:
    born = zulu_time(account.webhook_created_at)
    return [
        {"id": number, "name": name, "sentiment_type": sentiment, "created_at": born}
        for number, name, sentiment in CATEGORIES
    ]


def mailboxes(account: Account) -> list[Resource]:
    """With passwords, as the real answer has them: whoever stores or logs a row of these leaks one."""
    return [
        {
            "id": mailbox.id,
            "from_name": mailbox.name,
            "from_email": mailbox.address,
            "username": mailbox.address,
            "password": mailbox.password,
            "type": "SMTP",
            "is_smtp_success": True,
            "is_imap_success": True,
            "message_per_day": 40,
            "client_id": None,
        }
        for mailbox in account.mailboxes
    ]


def clients(account: Account) -> list[Resource]:
    """`client_permision` and `retricted_category` are the provider's own spelling."""
    born = zulu_time(account.webhook_created_at)
    return [
        {
            "id": client_id,
            "name": name,
            "email": f"client{client_id}@agency.example.com",
            "uuid": f"00000000-0000-4000-8000-{client_id:012d}",
            "created_at": born,
            "user_id": account.user_id,
            "logo": None,
            "logo_url": None,
            "client_permision": {"permission": ["reply_master_inbox"], "retricted_category": []},
        }
        for client_id, name in account.clients
    ]


def registration(found: Registration) -> Resource:
    return {
        "id": found.id,
        "name": found.name,
        "webhook_url": found.url,
        "event_type_map": dict.fromkeys(found.event_types, True),
    }


def _person(lead: Lead) -> Resource:
    return {
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "email": lead.address,
        "phone_number": None,
        "company_name": lead.company_name,
        "website": None,
        "location": None,
        "custom_fields": {},
        "linkedin_profile": None,
        "company_url": None,
        "is_unsubscribed": lead.is_unsubscribed,
        "unsubscribed_client_id_map": {},
    }


def _activity(enrolment: Enrolment) -> Sequence[datetime]:
    return [at for sent in enrolment.sent for at in (sent.at, *sent.opens, *sent.clicks, *(r.at for r in sent.replies))]


def _time(at: datetime | None) -> str | None:
    return zulu_time(at) if at is not None else None
