"""What the door needs of a delivery: its dedupe key, or why it is no HeyReach payload at all."""

from __future__ import annotations

from libs.errors import ContractViolated
from libs.providers.dedupe import LONGEST_EVENT_TYPE, digest, nested, occurrence_of_its_own, scalar
from libs.providers.fields import read_moment
from libs.providers.heyreach import events, keys
from libs.providers.heyreach.profiles import read_profile
from libs.providers.payloads import parse
from libs.providers.sightings import DoorReading


def event_type_of(payload: dict[str, object]) -> str | None:
    """The type in capitals; None when the payload names none. Receivers that read `eventType` too have never shown one."""
    value = payload.get("event_type")
    return events.canonical(value[:LONGEST_EVENT_TYPE]) or None if isinstance(value, str) else None


def read_at_door(body: bytes) -> DoorReading:
    """See WebhookParsing. Says nothing of the meaning: a known type with absurd fields gets its key like any other."""
    try:
        payload = parse(body)
    except ContractViolated as refusal:
        return DoorReading(quarantine_reason=str(refusal))
    if not isinstance(payload, dict):
        return DoorReading(quarantine_reason="not a JSON object")
    event_type = event_type_of(payload)
    if event_type is None:
        return DoorReading(quarantine_reason="no event_type")
    return DoorReading(dedupe_key=_dedupe_key(event_type, payload), event_type=event_type)


def _dedupe_key(event_type: str, payload: dict[str, object]) -> bytes:
    # correlation_id stays out: nobody knows whether a retry, or the second of two registrations, repeats it. The type
    # stays in: one reply is told by EVERY_MESSAGE_REPLY_RECEIVED and MESSAGE_REPLY_RECEIVED, and either may know more.
    message = _message(event_type, payload.get("recent_messages"))
    at = _moment(payload.get("timestamp"))
    if message is None and not at and event_type not in events.ONCE:
        return occurrence_of_its_own()
    lead = nested(payload, "lead")
    profile, conversation = lead.get("profile_url"), payload.get("conversation_id")
    return digest(
        (
            event_type,
            scalar(nested(payload, "campaign").get("id")),
            (read_profile(profile) if isinstance(profile, str) else None) or scalar(lead.get("id")),
            scalar(nested(payload, "sender").get("id")),
            conversation.strip() if isinstance(conversation, str) else scalar(conversation),  # capitals count in base64
            # The message's own time names it; the envelope's may be that of the delivery.
            message or ("" if event_type in events.ONCE else at),
        )
    )


def _message(event_type: str, value: object) -> str | None:
    """The message that a type of messages is about: the newest one from its side; None if none has a time."""
    if event_type not in events.OUTBOUND | events.INBOUND or not isinstance(value, list):
        return None
    found = []
    for row in value:
        if isinstance(row, dict) and row.get("is_reply") is (event_type in events.INBOUND):
            at, text = read_moment(row.get("creation_time")), row.get("message")
            if at is not None:
                found.append((at, keys.bare(text) if isinstance(text, str) else scalar(text)))
    if not found:
        return None
    at, text = max(found)
    return f"{at.isoformat()}\x1f{text}"


def _moment(value: object) -> str:
    found = read_moment(value)
    return found.isoformat() if found is not None else scalar(value)
