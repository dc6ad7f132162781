"""Leads as the API answers them: a lead's id is a number in one place and text in another."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import datetime

import orjson

from libs.providers.simulation.faults import FaultKind, cut
from libs.providers.smartlead.simulator.model import CATEGORIES, Account, Campaign, Enrolment, Lead
from libs.providers.smartlead.simulator.payloads import zulu_time
from libs.providers.smartlead.simulator.resources import Resource, at_or_none

_CSV = (
    "id campaign_lead_map_id status category is_interested created_at first_name last_name email phone_number company_name "
    "website location custom_fields linkedin_profile company_url is_unsubscribed unsubscribed_client_id_map "
    "last_email_sequence_sent open_count click_count reply_count"
).split()


def roster(
    found: Campaign,
    *,
    offset: int,
    limit: int,
    status: str | None = None,
    category_id: int | None = None,
    created_after: datetime | None = None,
    fault: FaultKind | None = None,
) -> Resource:
    rows: list[Resource] = [
        {
            "campaign_lead_map_id": str(enrolment.map_id),
            "lead_category_id": enrolment.category_id,
            "status": enrolment.status,
            "created_at": zulu_time(enrolment.created_at),
            "lead": {"id": enrolment.lead.id, **_person(enrolment.lead)},
        }
        for enrolment in found.enrolments
        if (status is None or enrolment.status == status)
        and (category_id is None or enrolment.category_id == category_id)
        and (created_after is None or enrolment.created_at > created_after)
    ]
    return {"total_leads": str(len(rows)), "data": cut(rows, offset, limit, fault), "offset": offset, "limit": limit}


def lead_by_address(account: Account, address: str) -> Resource:
    """{} for an unknown one. The id is text here, and a number in the roster."""
    lead = account.leads.get(address.strip().lower())
    if lead is None:
        return {}
    pairs = [
        (found, enrolment) for found in account.campaigns for enrolment in found.enrolments if enrolment.lead is lead
    ]
    emails = {client.id: client.email for client in account.clients}
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
                "client_email": emails.get(found.client_id) if found.client_id else None,
                "lead_category_id": enrolment.category_id,
                "last_sent_at": at_or_none(max((sent.at for sent in enrolment.sent), default=None)),
                "last_reply_at": at_or_none(max((reply.at for reply in enrolment.replies), default=None)),
                "last_activity_at": at_or_none(max(_activity(enrolment), default=None)),
            }
            for found, enrolment in pairs
        ],
    }


def lead_by_id(lead: Lead) -> Resource:
    """In a list of one, without categories and campaigns."""
    row = {"id": str(lead.id), "created_at": zulu_time(lead.created_at), **_person(lead)}
    return {"ok": True, "message": "Lead details fetched successfully", "data": [row]}


def export(found: Campaign) -> bytes:
    """CSV, in the code page of a desktop and without saying so."""
    names = {number: name for number, name, _ in CATEGORIES}
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(_CSV)
    for one in found.enrolments:
        person = _person(one.lead)
        mail = one.of_sequence
        row = {
            **person,
            "id": one.lead.id,
            "campaign_lead_map_id": one.map_id,
            "status": one.status,
            "category": names.get(one.category_id or 0, ""),
            "is_interested": one.category_id in (1, 2, 5),
            "created_at": zulu_time(one.created_at),
            "custom_fields": orjson.dumps(one.lead.custom_fields).decode(),
            "unsubscribed_client_id_map": "{}",
            "last_email_sequence_sent": len(mail),
            "open_count": sum(len(sent.opens) for sent in mail),
            "click_count": sum(len(sent.clicks) for sent in mail),
            "reply_count": len(one.replies),
        }
        table.writerow(["" if row[name] is None else row[name] for name in _CSV])
    return text.getvalue().encode("cp1252", errors="replace")


def categories(account: Account) -> list[Resource]:
    born = zulu_time(account.webhook_created_at)
    return [
        {"id": number, "name": name, "sentiment_type": sentiment, "created_at": born}
        for number, name, sentiment in CATEGORIES
    ]


def _person(lead: Lead) -> Resource:
    return {
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "email": lead.address,
        "phone_number": lead.phone_number,
        "company_name": lead.company_name,
        "website": lead.website,
        "location": lead.location,
        "custom_fields": lead.custom_fields,
        "linkedin_profile": lead.linkedin_profile,
        "company_url": lead.company_url,
        "is_unsubscribed": lead.is_unsubscribed,
        "unsubscribed_client_id_map": {},
    }


def _activity(enrolment: Enrolment) -> Sequence[datetime]:
    return [at for sent in enrolment.sent for at in (sent.at, *sent.opens, *sent.clicks, *(r.at for r in sent.replies))]
