"""What the door needs of a delivery: its dedupe key, or why it is no HeyReach payload at all."""

from __future__ import annotations

import hashlib

from libs.errors import ContractViolated
from libs.ids import new_id
from libs.providers.fields import read_moment
from libs.providers.heyreach import events, keys
from libs.providers.heyreach.profiles import read_profile
from libs.providers.payloads import parse
from libs.providers.sightings import DoorReading

LONGEST_EVENT_TYPE = 100  # a label in lists and metrics, not a text


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
        # Nothing tells a repetition from a second occurrence: each delivery counts as one of its own.
        return hashlib.sha256(new_id().bytes).digest()
    lead = _object(payload, "lead")
    profile = lead.get("profile_url")
    parts = (
        event_type,
        _scalar(_object(payload, "campaign").get("id")),
        (read_profile(profile) if isinstance(profile, str) else None) or _scalar(lead.get("id")),
        _scalar(_object(payload, "sender").get("id")),
        _scalar(payload.get("conversation_id")),
        # The message's own time names it; the envelope's may be that of the delivery.
        message or ("" if event_type in events.ONCE else at),
    )
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def _message(event_type: str, value: object) -> str | None:
    """The message that a type of messages is about: the newest one from its side; None if none has a time."""
    if event_type not in events.OUTBOUND | events.INBOUND or not isinstance(value, list):
        return None
    found = []
    for row in value:
        if isinstance(row, dict) and row.get("is_reply") is (event_type in events.INBOUND):
            at, text = read_moment(row.get("creation_time")), row.get("message")
            if at is not None:
                found.append((at, keys.bare(text) if isinstance(text, str) else _scalar(text)))
    if not found:
        return None
    at, text = max(found)
    return f"{at.isoformat()}\x1f{text}"


def _object(payload: dict[str, object], name: str) -> dict[str, object]:
    value = payload.get(name)
    return value if isinstance(value, dict) else {}


def _moment(value: object) -> str:
    found = read_moment(value)
    return found.isoformat() if found is not None else _scalar(value)


def _scalar(value: object) -> str:
    if value is None:
        return ""
    # Only the kind of a container: its text may be deeper than Python can print.
    return str(value).strip() if isinstance(value, str | int | float) else type(value).__name__
