"""The names of Smartlead's webhook types."""

from __future__ import annotations

EMAIL_SENT = "EMAIL_SENT"
FIRST_EMAIL_SENT = "FIRST_EMAIL_SENT"
EMAIL_OPEN = "EMAIL_OPEN"
EMAIL_LINK_CLICK = "EMAIL_LINK_CLICK"
EMAIL_REPLY = "EMAIL_REPLY"
EMAIL_BOUNCE = "EMAIL_BOUNCE"
LEAD_UNSUBSCRIBED = "LEAD_UNSUBSCRIBED"
LEAD_CATEGORY_UPDATED = "LEAD_CATEGORY_UPDATED"
CAMPAIGN_STATUS_CHANGED = "CAMPAIGN_STATUS_CHANGED"
UNTRACKED_REPLIES = "UNTRACKED_REPLIES"
MANUAL_STEP_REACHED = "MANUAL_STEP_REACHED"

EVENT_TYPES = (
    EMAIL_SENT,
    FIRST_EMAIL_SENT,
    EMAIL_OPEN,
    EMAIL_LINK_CLICK,
    EMAIL_REPLY,
    EMAIL_BOUNCE,
    LEAD_UNSUBSCRIBED,
    LEAD_CATEGORY_UPDATED,
    CAMPAIGN_STATUS_CHANGED,
    UNTRACKED_REPLIES,
    MANUAL_STEP_REACHED,
)

# Older code and one page of the provider's documents spell some types otherwise. Registering with these is refused, yet
# a proxy or an old integration may still post them, so they are read and never written.
ALIASES = {
    "EMAIL_OPENED": EMAIL_OPEN,
    "EMAIL_CLICKED": EMAIL_LINK_CLICK,
    "EMAIL_REPLIED": EMAIL_REPLY,
    "LEAD_REPLIED": EMAIL_REPLY,
    "EMAIL_BOUNCED": EMAIL_BOUNCE,
    "EMAIL_UNSUBSCRIBED": LEAD_UNSUBSCRIBED,
}

# Their payloads name no time at all: the same bytes may be a repetition or a second occurrence (pause, resume, pause).
WITHOUT_TIME = frozenset({CAMPAIGN_STATUS_CHANGED, MANUAL_STEP_REACHED})


def canonical(name: str) -> str:
    """The wire name for `name`; an unknown one is returned as it is."""
    return ALIASES.get(name, name)
