"""Leads as the API writes and reads them."""

from __future__ import annotations

from datetime import datetime

from libs.errors import Unsupported
from libs.providers.emailbison import keys
from libs.providers.emailbison.story import lead_sighting
from libs.providers.emailbison.transport import required
from libs.providers.emailbison.webhooks import INTERESTED
from libs.providers.fields import Fields, JsonObject, read_address
from libs.providers.records import CampaignLead, LeadState, NamedLead, NewLead

_STATES = {
    "never_contacted": LeadState.WAITING,
    "in_sequence": LeadState.ACTIVE,
    "sending_paused": LeadState.PAUSED,
    "stopped": LeadState.STOPPED,
    "sequence_stopped": LeadState.STOPPED,
    "replied": LeadState.STOPPED,
    "sequence_finished": LeadState.COMPLETED,
    "bounced": LeadState.BLOCKED,
    "unsubscribed": LeadState.BLOCKED,
}
_NOT_WRITTEN_TO = ("bounced", "unsubscribed")


def enrolments_of(lead: Fields) -> list[Fields]:
    """A list on the wire, one object in the documents."""
    if isinstance(lead.raw.get("lead_campaign_data"), dict):
        return [lead.nested("lead_campaign_data")]
    return list(lead.rows("lead_campaign_data"))


def enrolment_in(lead: Fields, campaign: str) -> Fields | None:
    return next((one for one in enrolments_of(lead) if one.identifier("campaign_id") == campaign), None)


def as_campaign_lead(lead: Fields, enrolment: Fields, seen_at: datetime | None) -> CampaignLead:
    lead_id = required(lead, "id", lead.identifier("id"))
    address = required(lead, "email", lead.address("email"))
    at = seen_at or lead.moment("updated_at", "created_at")
    if at is None:
        raise lead.refuse("updated_at", "is missing")
    word = _word(enrolment)
    interested = enrolment.flag("interested")
    return CampaignLead(
        lead=lead_sighting(lead, lead_id, address, at),
        state=LeadState.BLOCKED if _word(lead) in _NOT_WRITTEN_TO else _STATES.get(word, LeadState.UNKNOWN),
        category=None if interested is None else INTERESTED if interested else "",
        is_unsubscribed=_word(lead) == "unsubscribed" if lead.filled("status") else None,
    )


def address_of(lead: NewLead) -> str:
    """Raises: Unsupported: EmailBison knows people by their address alone."""
    address = read_address(lead.email or "")
    if address is None:
        raise Unsupported("EmailBison adds leads by their e-mail address, and one has none that is whole")
    return address


def name_lead(lead: NewLead) -> NamedLead:
    address = address_of(lead)
    return NamedLead(key=keys.lead(address), email=address)


def variables_of(lead: NewLead) -> dict[str, str]:
    """What has no field of its own is a variable, and so the texts can use it."""
    own = {"phone": lead.phone, "location": lead.location}
    return {**{name: value for name, value in own.items() if value}, **lead.fields}


def to_write(lead: NewLead) -> JsonObject:
    fields = {
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "company": lead.company_name,
        "title": lead.title,
    }
    written: JsonObject = {"email": address_of(lead), **{name: value for name, value in fields.items() if value}}
    variables = variables_of(lead)
    if variables:
        written["custom_variables"] = [{"name": name, "value": value} for name, value in variables.items()]
    return written


def why_not_attached(lead: Fields, campaign: str, *, also: tuple[str, ...] = ()) -> str | None:
    """What keeps a lead out of a campaign, as far as the lead tells it: one lead who is kept out keeps out its batch.
    `also` are states elsewhere that count as being in a sequence."""
    word = _word(lead)
    if word in _NOT_WRITTEN_TO:
        return f"has {word}"
    elsewhere = [one for one in enrolments_of(lead) if one.identifier("campaign_id") != campaign]
    if any(_word(one) in ("in_sequence", *also) for one in elsewhere):
        return "is in the sequence of another campaign"
    return None


def _word(fields: Fields) -> str:
    return (fields.filled("status") or "").strip().lower().replace(" ", "_")
