"""Rows of a message history: the same in LEAD_CATEGORY_UPDATED and in the API's answer."""

from __future__ import annotations

from datetime import datetime

from libs.providers.fields import Fields
from libs.providers.sightings import Direction, MessageSighting, Source
from libs.providers.smartlead import keys

SENT = "SENT"
REPLY = "REPLY"


def read_row(
    row: Fields, *, campaign: str, lead_key: str, source: Source, seen_at: datetime | None
) -> MessageSighting | None:
    """One row as a message; None for a row of another type or one that names neither message nor time.

    `seen_at` None: the row's own time counts, as nothing else in the answer is the provider's. A SENT row without a
    step number is an answer that a person wrote by hand in the inbox: it belongs to no step.

    Raises:
        ContractViolated: a field is not what it should be.
    """
    kind = row.text("type")
    if kind not in (SENT, REPLY):
        return None
    occurred_at = row.moment("time")
    version = seen_at or occurred_at
    stats_id, message_id = row.token("stats_id"), row.token("message_id")
    if kind == SENT:
        stats_id = stats_id or keys.stats_id_of(message_id)
    key = (stats_id and keys.sent(stats_id)) if kind == SENT else (message_id and keys.reply(message_id))
    if not key or version is None:
        return None
    step = row.step("email_seq_number")
    sender, recipient = row.address("from"), row.address("to")
    return MessageSighting(
        key=key,
        conversation_key=keys.conversation(campaign, lead_key),
        lead_key=lead_key,
        direction=Direction.OUTBOUND if kind == SENT else Direction.INBOUND,
        seen_at=version,
        campaign_external_id=campaign,
        step_number=step,
        step_source=source if step is not None else None,
        occurred_at=occurred_at,
        from_address=sender,
        to_address=recipient,
        subject=row.text("subject"),
        body_html=row.filled("email_body"),
        internet_message_id=message_id,
        # Stated by null, not by absence: the webhooks' shorter rows leave the field out of every mail.
        is_manual=True if kind == SENT and row.states("email_seq_number") and step is None else None,
        in_reply_to_key=keys.sent(stats_id) if kind == REPLY and stats_id else None,
    )
