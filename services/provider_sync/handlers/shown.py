"""Campaigns, leads and the inbox as they are shown. An unknown id and a foreign one get the same answer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.errors import NotFound
from libs.ids import parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.provider_sync.domain.merging import provenance
from services.provider_sync.domain.people import MOST_SHOWN
from services.provider_sync.repository.lists import ShownRepository
from services.provider_sync.schemas import (
    CampaignDetail,
    CampaignOut,
    Channel,
    ConversationDetail,
    ConversationOut,
    EnrolmentOut,
    LeadDetail,
    LeadOut,
    MessageOut,
    Page,
)

Position = tuple[datetime, UUID]


async def list_campaigns(
    work: UnitOfWork, cursors: Cursors, *, channel: Channel, after: str | None, limit: int
) -> Page[CampaignOut]:
    """Newest first."""
    shown, query = ShownRepository(work.session), f"campaigns {channel}"
    position = _timed(cursors.read(after, org_id=work.org_id, query=query))
    rows, more = page(await shown.campaigns(channel, position, limit), limit)
    return Page(
        data=[_campaign(row) for row in rows],
        has_more=more,
        next_cursor=_cursor(cursors, work, query, rows[-1], "created_at") if more else None,
        as_of=now(),
        last_webhook_at=await shown.last_webhook_at(channel=channel),
    )


async def show_campaign(work: UnitOfWork, *, channel: Channel, campaign_id: str) -> CampaignDetail:
    shown = ShownRepository(work.session)
    row = _found("cam", await shown.campaign(channel, parse_public_id("cam", campaign_id)))
    heard = await shown.last_webhook_at(row["account_id"])
    return CampaignDetail(**dict(_campaign(row)), as_of=now(), last_webhook_at=heard)


async def list_leads(
    work: UnitOfWork,
    cursors: Cursors,
    *,
    channel: Channel | None,
    campaign_id: str | None,
    email: str | None,
    after: str | None,
    limit: int,
) -> Page[LeadOut]:
    """Newest first, over all channels unless one is named. A campaign that does not exist has no leads."""
    shown, query = ShownRepository(work.session), f"leads {channel or ''} {campaign_id or ''} {email or ''}"
    position = _timed(cursors.read(after, org_id=work.org_id, query=query))
    campaign = None if campaign_id is None else parse_public_id("cam", campaign_id)
    address = None if email is None else email.strip().lower()
    found = await shown.leads(position, limit, channel=channel, campaign_id=campaign, email=address)
    rows, more = page(found, limit)
    return Page(
        data=await _leads(shown, rows),
        has_more=more,
        next_cursor=_cursor(cursors, work, query, rows[-1], "created_at") if more else None,
        as_of=now(),
        last_webhook_at=await shown.last_webhook_at(channel=channel),
    )


async def show_lead(work: UnitOfWork, *, lead_id: str) -> LeadDetail:
    shown = ShownRepository(work.session)
    row = _found("led", await shown.lead(parse_public_id("led", lead_id)))
    (lead,) = await _leads(shown, [row])
    heard = await shown.last_webhook_at(row["account_id"])
    return LeadDetail(**dict(lead), as_of=now(), last_webhook_at=heard)


async def list_conversations(
    work: UnitOfWork,
    cursors: Cursors,
    *,
    channel: Channel | None,
    campaign_id: str | None,
    after: str | None,
    limit: int,
) -> Page[ConversationOut]:
    """Newest activity first, over all channels unless one is named."""
    shown, query = ShownRepository(work.session), f"conversations {channel or ''} {campaign_id or ''}"
    position = _maybe_timed(cursors.read(after, org_id=work.org_id, query=query))
    campaign = None if campaign_id is None else parse_public_id("cam", campaign_id)
    rows, more = page(await shown.conversations(position, limit, channel=channel, campaign_id=campaign), limit)
    return Page(
        data=[_conversation(row) for row in rows],
        has_more=more,
        next_cursor=_cursor(cursors, work, query, rows[-1], "last_activity_at") if more else None,
        as_of=now(),
        last_webhook_at=await shown.last_webhook_at(channel=channel),
    )


async def show_conversation(work: UnitOfWork, *, conversation_id: str) -> ConversationDetail:
    shown = ShownRepository(work.session)
    row = _found("cnv", await shown.conversation(parse_public_id("cnv", conversation_id)))
    heard = await shown.last_webhook_at(row["account_id"])
    return ConversationDetail(**dict(_conversation(row)), as_of=now(), last_webhook_at=heard)


async def list_messages(
    work: UnitOfWork, cursors: Cursors, *, conversation_id: str, after: str | None, limit: int
) -> Page[MessageOut]:
    """Oldest first, with their texts."""
    shown, query = ShownRepository(work.session), f"messages {conversation_id}"
    conversation = _found("cnv", await shown.conversation(parse_public_id("cnv", conversation_id)))
    position = _maybe_timed(cursors.read(after, org_id=work.org_id, query=query))
    rows, more = page(await shown.messages(conversation["id"], position, limit), limit)
    return Page(
        data=[_message(row) for row in rows],
        has_more=more,
        next_cursor=_cursor(cursors, work, query, rows[-1], "occurred_at") if more else None,
        as_of=now(),
        last_webhook_at=await shown.last_webhook_at(conversation["account_id"]),
    )


def _found(prefix: str, row: asyncpg.Record | None) -> asyncpg.Record:
    if row is None:
        raise NotFound(f"there is no {prefix}_ object with this id")
    return row


def _cursor(cursors: Cursors, work: UnitOfWork, query: str, last: asyncpg.Record, sorted_by: str) -> str:
    return cursors.write([last[sorted_by], last["id"]], org_id=work.org_id, query=query)


def _timed(position: list[Any] | None) -> Position | None:
    return None if position is None else (datetime.fromisoformat(position[0]), UUID(position[1]))


def _maybe_timed(position: list[Any] | None) -> tuple[datetime | None, UUID] | None:
    if position is None:
        return None
    return None if position[0] is None else datetime.fromisoformat(position[0]), UUID(position[1])


def _id(prefix: str, value: UUID | None) -> str | None:
    return None if value is None else public_id(prefix, value)


def _same(row: asyncpg.Record, names: str) -> dict[str, Any]:
    return {name: row[name] for name in names.split()}


def _campaign(row: asyncpg.Record) -> CampaignOut:
    return CampaignOut(
        id=public_id("cam", row["id"]),
        account_id=public_id("acc", row["account_id"]),
        company_id=public_id("cmp", row["company_id"]),
        source=provenance(row["sources"]).value,
        **_same(row, "channel external_id name status created_at updated_at"),
    )


async def _leads(shown: ShownRepository, rows: Sequence[asyncpg.Record]) -> list[LeadOut]:
    others: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
    for other in await shown.same_people(rows, MOST_SHOWN) if rows else ():
        others[other["lead_id"]].append(other)
    enrolled: dict[UUID, list[EnrolmentOut]] = defaultdict(list)
    for one in await shown.enrolments(rows, MOST_SHOWN) if rows else ():
        enrolled[one["lead_id"]].append(
            EnrolmentOut(
                campaign_id=public_id("cam", one["campaign_id"]),
                state=one["state"],
                state_seen_at=one["state_seen_at"] if one["state"] is not None else None,
            )
        )
    return [_lead(row, others[row["id"]], enrolled[row["id"]]) for row in rows]


def _lead(row: asyncpg.Record, others: Sequence[asyncpg.Record], campaigns: list[EnrolmentOut]) -> LeadOut:
    return LeadOut(
        id=public_id("led", row["id"]),
        account_id=public_id("acc", row["account_id"]),
        channels=sorted({row["channel"], *(other["channel"] for other in others)}),
        same_person=[public_id("led", other["id"]) for other in others],
        campaigns=campaigns,
        **_same(row, "channel external_id email profile_url first_name last_name company_name title phone location"),
        **_same(row, "created_at updated_at"),
    )


def _conversation(row: asyncpg.Record) -> ConversationOut:
    return ConversationOut(
        id=public_id("cnv", row["id"]),
        account_id=public_id("acc", row["account_id"]),
        company_id=public_id("cmp", row["company_id"]),
        campaign_id=_id("cam", row["campaign_id"]),
        lead_id=_id("led", row["lead_id"]),
        **_same(
            row,
            "channel lead_email lead_profile_url external_id sender_external_id subject category sentiment "
            "last_activity_at last_direction",
        ),
    )


def _message(row: asyncpg.Record) -> MessageOut:
    return MessageOut(
        id=public_id("msg", row["id"]),
        conversation_id=public_id("cnv", row["conversation_id"]),
        campaign_id=_id("cam", row["campaign_id"]),
        lead_id=public_id("led", row["lead_id"]),
        in_reply_to_id=_id("msg", row["in_reply_to_id"]),
        sequence_step_number=row["step_number"],
        source=provenance(row["sources"]).value,
        **_same(
            row,
            "channel direction occurred_at subject from_address to_address body_text body_html step_source manual inmail",
        ),
    )
