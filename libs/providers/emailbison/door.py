"""What the door needs of a delivery: its dedupe key, or why it is no EmailBison payload at all."""

from __future__ import annotations

from libs.errors import ContractViolated
from libs.providers.dedupe import LONGEST_EVENT_TYPE, digest, nested, occurrence_of_its_own, scalar
from libs.providers.emailbison import events
from libs.providers.payloads import parse
from libs.providers.sightings import DoorReading


def event_type_of(payload: dict[str, object]) -> str | None:
    """The canonical type; None when the payload names none. `event.name` is a label for people and differs from it."""
    value = nested(payload, "event").get("type")
    if isinstance(value, str) and value.strip():
        return events.canonical(value.strip())[:LONGEST_EVENT_TYPE]
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
        return DoorReading(quarantine_reason="no event.type")
    return DoorReading(dedupe_key=_dedupe_key(event_type, payload), event_type=event_type)


def _dedupe_key(event_type: str, payload: dict[str, object]) -> bytes:
    # The envelope has no event id and no time. A scheduled e-mail's id is shared by all that happens to that mail, a
    # reply's id by LEAD_REPLIED and LEAD_INTERESTED, and an event's id by EMAIL_SENT and LEAD_FIRST_CONTACTED: hence
    # the type and all three. Counters, names and `updated_at` stay out, as a replay may be written anew; so does
    # instance_url, which some payloads lack. Two registrations of one URL post the same body twice: a duplicate.
    data = nested(payload, "data")
    happening, mail, reply = (
        scalar(nested(data, name).get("id")) for name in ("campaign_event", "scheduled_email", "reply")
    )
    # An opening, an unsubscription or a bounce is not told apart by the mail that it befell; a sending is.
    if not (happening or reply or (mail and event_type in events.SENDINGS)):
        return occurrence_of_its_own()
    workspace = scalar(nested(payload, "event").get("workspace_id"))
    return digest((event_type, workspace, happening, mail, reply))
