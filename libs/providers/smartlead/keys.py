"""Natural keys of what Smartlead speaks of: equal whoever tells it (webhook or pull), in whatever spelling."""

from __future__ import annotations

import re
from datetime import datetime

from libs.clock import rfc3339
from libs.providers.keys import part

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


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
    return f"sent:{part(stats_id)}"


def reply(internet_message_id: str) -> str:
    return f"reply:{part(internet_message_id)}"


def opened(stats_id: str, at: datetime) -> str:
    return f"opened:{part(stats_id)}:{rfc3339(at)}"


def clicked(stats_id: str, at: datetime, link: str) -> str:
    return f"clicked:{part(stats_id)}:{rfc3339(at)}:{part(link)}"


def bounced(stats_id: str) -> str:
    return f"bounced:{part(stats_id)}"


def unsubscribed(campaign: str, lead_key: str) -> str:
    return f"unsubscribed:{campaign}:{lead_key}"


def categorized(campaign: str, lead_key: str, at: datetime) -> str:
    return f"categorized:{campaign}:{lead_key}:{rfc3339(at)}"


def stats_id_of(internet_message_id: str | None) -> str | None:
    """The stats id that Smartlead writes into its own mails' Message-ID, before the @."""
    if internet_message_id is None:
        return None
    local = internet_message_id.strip().lstrip("<").partition("@")[0]
    return local.lower() if _UUID.fullmatch(local) else None
