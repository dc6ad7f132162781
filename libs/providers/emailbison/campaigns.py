"""What a campaign's status words mean."""

from __future__ import annotations

from libs.providers.fields import Fields
from libs.providers.sightings import CampaignStatus

STATUSES = {
    "draft": CampaignStatus.DRAFT,
    # After `resume` a campaign is queued, then launching, then active, within moments and by itself.
    "queued": CampaignStatus.ACTIVE,
    "launching": CampaignStatus.ACTIVE,
    "active": CampaignStatus.ACTIVE,
    "paused": CampaignStatus.PAUSED,
    "stopped": CampaignStatus.STOPPED,
    "failed": CampaignStatus.STOPPED,  # it does not send until a person mends it
    "completed": CampaignStatus.COMPLETED,
    "archived": CampaignStatus.ARCHIVED,
    "pending deletion": CampaignStatus.ARCHIVED,
    "deleted": CampaignStatus.ARCHIVED,
}


def read_status(fields: Fields, name: str = "status") -> CampaignStatus | None:
    """None when not stated. The documents write Active, the wire active; a word we do not know is UNKNOWN."""
    word = fields.filled(name)
    if word is None:
        return None
    return STATUSES.get(word.strip().lower().replace("_", " "), CampaignStatus.UNKNOWN)
