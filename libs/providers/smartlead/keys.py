"""Natural keys of what Smartlead speaks of: equal whoever tells it (webhook or pull), in whatever spelling."""

from __future__ import annotations

import hashlib
from datetime import datetime

from libs.clock import rfc3339

# Keys are indexed, and a B-tree entry of PostgreSQL ends near 2,700 bytes; tracking links alone can be longer.
LONGEST_PART = 200


def lead(address: str) -> str:
    """By address, the only identity that every payload carries: LEAD_UNSUBSCRIBED and statistics rows have no id."""
    return f"email:{address}"


def address_of(lead_key: str) -> str:
    return lead_key.removeprefix("email:")


def conversation(campaign: str, lead_key: str) -> str:
    return f"{campaign}:{lead_key}"


def untracked_conversation(mailbox: str, author: str) -> str:
    return f"untracked:{mailbox}:{author}"


def sent(stats_id: str) -> str:
    return f"sent:{_part(stats_id)}"


def reply(internet_message_id: str) -> str:
    return f"reply:{_part(internet_message_id)}"


def opened(stats_id: str, at: datetime) -> str:
    return f"opened:{_part(stats_id)}:{rfc3339(at)}"


def clicked(stats_id: str, at: datetime, link: str) -> str:
    return f"clicked:{_part(stats_id)}:{rfc3339(at)}:{_part(link)}"


def bounced(stats_id: str) -> str:
    return f"bounced:{_part(stats_id)}"


def unsubscribed(campaign: str, lead_key: str) -> str:
    return f"unsubscribed:{campaign}:{lead_key}"


def categorized(campaign: str, lead_key: str, at: datetime) -> str:
    return f"categorized:{campaign}:{lead_key}:{rfc3339(at)}"


def _part(text: str) -> str:
    return text if len(text) <= LONGEST_PART else "sha256-" + hashlib.sha256(text.encode()).hexdigest()
