"""Natural keys of what EmailBison speaks of: equal whoever tells it (webhook or pull), in whatever spelling.

Ids are numbers that repeat in every workspace and on every instance. An account is one workspace on one instance and
every key lives within its account, so neither is a part of a key.
"""

from __future__ import annotations


def lead(address: str) -> str:
    """By address: the lead block is missing where no campaign is known (an untracked reply, a mail by hand), and there
    only an address names the person. Wherever a lead's id is told, the address is told beside it."""
    return f"email:{address}"


def address_of(lead_key: str) -> str:
    return lead_key.removeprefix("email:")


def conversation(campaign: str, lead_key: str) -> str:
    return f"{campaign}:{lead_key}"


def untracked_conversation(mailbox: str, correspondent: str) -> str:
    return f"untracked:{mailbox}:{correspondent}"


def sent(scheduled_email_id: str) -> str:
    """A campaign's mail, by the id of its scheduled e-mail: every event about it and every list tells that id."""
    return f"sent:{scheduled_email_id}"


def reply(reply_id: str) -> str:
    return f"reply:{reply_id}"


def manual(reply_id: str) -> str:
    """A mail that a person wrote: a row of the master inbox as replies are, numbered with them."""
    return f"manual:{reply_id}"


def opened(campaign_event_id: str) -> str:
    """By the event's id, not its time: times are whole seconds, and two openings fit into one."""
    return f"opened:{campaign_event_id}"


def bounced(scheduled_email_id: str) -> str:
    """Once per mail, however many servers complain of it."""
    return f"bounced:{scheduled_email_id}"


def unsubscribed(campaign: str, lead_key: str) -> str:
    return f"unsubscribed:{campaign}:{lead_key}"


def interested(reply_id: str) -> str:
    return f"interested:{reply_id}"
