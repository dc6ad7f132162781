"""What the door needs of a delivery: its dedupe key, or why it is no Smartlead payload at all."""

from __future__ import annotations

from libs.errors import ContractViolated
from libs.providers.dedupe import LONGEST_EVENT_TYPE, digest, nested, occurrence_of_its_own, scalar
from libs.providers.fields import read_moment
from libs.providers.payloads import parse
from libs.providers.sightings import DoorReading
from libs.providers.smartlead import events


def event_type_of(payload: dict[str, object]) -> str | None:
    """The canonical type; None when the payload names none."""
    for name in ("event_type", "event"):
        value = payload.get(name)
        if isinstance(value, str) and value.strip():
            return events.canonical(value.strip()[:LONGEST_EVENT_TYPE])
    return None


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
    # Bodies carry no event id. message_id and stats_id name the e-mail, which its SENT, OPEN, CLICK and BOUNCE share,
    # so neither may decide alone. The webhook's own fields (url, id, name) stay out: a user's and a campaign's webhook
    # tell of the same occurrence.
    at = _moment(payload.get("event_timestamp") or payload.get("timestamp"))
    if not at:  # by nature CAMPAIGN_STATUS_CHANGED and MANUAL_STEP_REACHED
        # Pause, resume, pause, resume: the second resume has the bytes of the first. To drop it as a duplicate would
        # leave us wrong; to read the campaign twice costs a call. So each delivery counts as an occurrence of its own.
        return occurrence_of_its_own()
    correspondence, reply, category = (
        nested(payload, name) for name in ("leadCorrespondence", "reply_message", "lead_category")
    )
    parts = (
        event_type,
        scalar(payload.get("campaign_id")),
        scalar(correspondence.get("targetLeadEmail")),
        *(scalar(payload.get(name)) for name in ("sl_lead_email", "lead_email", "to_email", "sender_detail")),
        scalar(nested(payload, "lead").get("email")),
        scalar(payload.get("stats_id")),
        scalar(payload.get("sequence_number")),
        at,
        scalar(reply.get("message_id")),
        scalar(payload.get("bounce_reply_message_id")),
        scalar(category.get("new_id")),
        *_links(payload.get("link_clicked")),
    )
    return digest(parts)


def _moment(value: object) -> str:
    found = read_moment(value)
    return found.isoformat() if found is not None else scalar(value)


def _links(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else (scalar(value),)
