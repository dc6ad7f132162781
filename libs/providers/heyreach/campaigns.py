"""Campaigns as the API tells them, and what their status words mean."""

from __future__ import annotations

from libs.providers.fields import Fields
from libs.providers.heyreach.transport import required
from libs.providers.records import Campaign
from libs.providers.sightings import CampaignStatus

STATUSES = {
    "DRAFT": CampaignStatus.DRAFT,
    "SCHEDULED": CampaignStatus.ACTIVE,  # started by its owner; it waits for its hour alone
    "STARTING": CampaignStatus.ACTIVE,
    "IN_PROGRESS": CampaignStatus.ACTIVE,
    "PAUSED": CampaignStatus.PAUSED,
    "FINISHED": CampaignStatus.COMPLETED,
    "CANCELED": CampaignStatus.STOPPED,
    "FAILED": CampaignStatus.STOPPED,
}


def read_status(fields: Fields) -> CampaignStatus | None:
    """None when not stated. A word we do not know replaces what we knew: the old status is wrong in any case."""
    word = fields.filled("status")
    return STATUSES.get(word.strip().upper(), CampaignStatus.UNKNOWN) if word else None


def read_campaign(fields: Fields) -> Campaign:
    senders = fields.raw.get("campaignAccountIds")
    if senders is not None and not isinstance(senders, list):
        raise fields.refuse("campaignAccountIds", "is not a list")
    return Campaign(
        external_id=required(fields.identifier("id"), "campaign.id"),
        name=fields.text("name") or "",
        status=read_status(fields) or CampaignStatus.UNKNOWN,
        created_at=fields.moment("creationTime"),
        sender_external_ids=None if senders is None else tuple(_sender(sender) for sender in senders),
    )


def _sender(value: object) -> str:
    return required(Fields({"campaignAccountIds[]": value}).identifier("campaignAccountIds[]"), "campaignAccountIds[]")
