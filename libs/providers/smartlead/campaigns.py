"""What a campaign's status words mean. Reading and writing use different ones (START is never read back)."""

from __future__ import annotations

from libs.providers.fields import Fields
from libs.providers.sightings import CampaignStatus

STATUSES = {
    "DRAFTED": CampaignStatus.DRAFT,
    "ACTIVE": CampaignStatus.ACTIVE,
    "PAUSED": CampaignStatus.PAUSED,
    "STOPPED": CampaignStatus.STOPPED,
    "COMPLETED": CampaignStatus.COMPLETED,
    "ARCHIVED": CampaignStatus.ARCHIVED,
}


def read_status(fields: Fields, name: str = "status") -> CampaignStatus | None:
    """None when not stated. A word we do not know replaces what we knew: the old status is wrong in any case."""
    word = fields.filled(name)
    return STATUSES.get(word.strip().upper(), CampaignStatus.UNKNOWN) if word else None
