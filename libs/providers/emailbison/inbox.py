"""Rows of the master inbox: the `reply` block of webhooks and the rows of the reply lists.

One table holds what leads answer, what people write by hand, and the notices of mail servers.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from libs.providers.emailbison import keys
from libs.providers.fields import Fields
from libs.providers.sightings import Direction, MessageSighting, Source


class RowKind(Enum):
    REPLY = "reply"
    MANUAL = "mail by hand"
    BOUNCE = "bounce"


_TYPES = {
    "tracked reply": RowKind.REPLY,
    "untracked reply": RowKind.REPLY,
    "outgoing email": RowKind.MANUAL,
    "bounced": RowKind.BOUNCE,
}
_FOLDERS = {
    "inbox": RowKind.REPLY,
    "spam": RowKind.REPLY,  # a lead's answer, wherever a filter put it
    "sent": RowKind.MANUAL,
    "bounced": RowKind.BOUNCE,
}


def kind_of(row: Fields) -> RowKind | None:
    """By its type, else by its folder; None when neither is a word we know."""
    kind = _TYPES.get((row.filled("type") or "").strip().lower())
    return kind or _FOLDERS.get((row.filled("folder") or "").strip().lower())


def id_of(row: Fields) -> str:
    found = row.identifier("id")
    if found is None:
        raise row.refuse("id", "is missing")
    return found


def version_of(row: Fields) -> datetime | None:
    """When the row became what it is. `date_received` can be hours earlier: the mailbox is read now and then."""
    return row.moment("updated_at", "created_at", "date_received")


def correspondent_of(row: Fields) -> str:
    """To whom an outgoing row was written; a forwarded one to somebody who is no lead."""
    address = row.address("primary_to_email_address")
    if address is None:
        address = next((to.address("address") for to in row.rows("to")), None)
    if address is None:
        raise row.refuse("primary_to_email_address", "is missing")
    return address


def read_row(
    row: Fields,
    kind: RowKind,
    *,
    conversation_key: str,
    lead_key: str,
    campaign: str | None,
    mailbox: str | None,
    seen_at: datetime,
    answers: str | None = None,
    step: int | None = None,
    step_source: Source | None = None,
) -> MessageSighting:
    """One row as a message. `answers` is the id of the scheduled e-mail that it belongs to.

    The subject is `email_subject` in webhooks and `subject` in lists. `parent_id` is null in all that anybody saw.

    Raises:
        ContractViolated: a field is not what it should be, or the row says that it is of another kind.
    """
    if kind_of(row) not in (kind, None):
        raise row.refuse("type", f"is not that of a {kind.value}")
    is_manual = kind is RowKind.MANUAL
    return MessageSighting(
        key=keys.manual(id_of(row)) if is_manual else keys.reply(id_of(row)),
        conversation_key=conversation_key,
        lead_key=lead_key,
        direction=Direction.OUTBOUND if is_manual else Direction.INBOUND,
        seen_at=seen_at,
        campaign_external_id=campaign,
        # A mail by hand belongs to no step, though the row names the sequence's mail before it.
        step_number=None if is_manual else step,
        step_source=None if is_manual or step is None else step_source,
        occurred_at=row.moment("date_received", "created_at"),
        from_address=row.address("from_email_address") or (mailbox if is_manual else None),
        to_address=correspondent_of(row) if is_manual else mailbox or row.address("primary_to_email_address"),
        subject=row.text("email_subject", "subject"),
        body_text=row.filled("text_body"),
        body_html=row.filled("html_body"),
        internet_message_id=row.token("raw_message_id"),
        in_reply_to_key=keys.sent(answers) if answers is not None and not is_manual else None,
        is_manual=True if is_manual else None,
    )
