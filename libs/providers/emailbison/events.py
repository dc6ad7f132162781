"""The names of EmailBison's webhook types: payloads write them in capitals, subscriptions in small letters."""

from __future__ import annotations

EMAIL_SENT = "EMAIL_SENT"
LEAD_FIRST_CONTACTED = "LEAD_FIRST_CONTACTED"
EMAIL_OPENED = "EMAIL_OPENED"
LEAD_UNSUBSCRIBED = "LEAD_UNSUBSCRIBED"
LEAD_REPLIED = "LEAD_REPLIED"
LEAD_INTERESTED = "LEAD_INTERESTED"
EMAIL_BOUNCED = "EMAIL_BOUNCED"
UNTRACKED_REPLY_RECEIVED = "UNTRACKED_REPLY_RECEIVED"
MANUAL_EMAIL_SENT = "MANUAL_EMAIL_SENT"
EMAIL_ACCOUNT_ADDED = "EMAIL_ACCOUNT_ADDED"
EMAIL_ACCOUNT_REMOVED = "EMAIL_ACCOUNT_REMOVED"
EMAIL_ACCOUNT_DISCONNECTED = "EMAIL_ACCOUNT_DISCONNECTED"
EMAIL_ACCOUNT_RECONNECTED = "EMAIL_ACCOUNT_RECONNECTED"
TAG_ATTACHED = "TAG_ATTACHED"
TAG_REMOVED = "TAG_REMOVED"
WARMUP_DISABLED_RECEIVING_BOUNCES = "WARMUP_DISABLED_RECEIVING_BOUNCES"
WARMUP_DISABLED_CAUSING_BOUNCES = "WARMUP_DISABLED_CAUSING_BOUNCES"

EVENT_TYPES = (
    EMAIL_SENT,
    LEAD_FIRST_CONTACTED,
    EMAIL_OPENED,
    LEAD_UNSUBSCRIBED,
    LEAD_REPLIED,
    LEAD_INTERESTED,
    EMAIL_BOUNCED,
    UNTRACKED_REPLY_RECEIVED,
    MANUAL_EMAIL_SENT,
    EMAIL_ACCOUNT_ADDED,
    EMAIL_ACCOUNT_REMOVED,
    EMAIL_ACCOUNT_DISCONNECTED,
    EMAIL_ACCOUNT_RECONNECTED,
    TAG_ATTACHED,
    TAG_REMOVED,
    WARMUP_DISABLED_RECEIVING_BOUNCES,
    WARMUP_DISABLED_CAUSING_BOUNCES,
)

# A campaign step was sent. The first one ever to a lead is told twice, once as each.
SENDINGS = frozenset({EMAIL_SENT, LEAD_FIRST_CONTACTED})

# Their payloads name no time of the occurrence (a mailbox's `updated_at` is that of its row), nor anything that tells a
# second occurrence from a repetition: disconnected, reconnected, disconnected.
WITHOUT_TIME = frozenset(
    {
        EMAIL_ACCOUNT_ADDED,
        EMAIL_ACCOUNT_REMOVED,
        EMAIL_ACCOUNT_DISCONNECTED,
        EMAIL_ACCOUNT_RECONNECTED,
        TAG_ATTACHED,
        TAG_REMOVED,
        WARMUP_DISABLED_RECEIVING_BOUNCES,
        WARMUP_DISABLED_CAUSING_BOUNCES,
    }
)


def canonical(name: str) -> str:
    """The name as payloads write it; one audit claims small letters there, so they are read as well."""
    return name.upper()


def subscription_id(event_type: str) -> str:
    return event_type.lower()
