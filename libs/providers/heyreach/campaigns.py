"""What a campaign's status words mean."""

from __future__ import annotations

from libs.providers.fields import Fields
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
