"""Leads as the API writes and reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from libs.errors import ContractViolated, Unsupported
from libs.providers.fields import Fields, JsonObject
from libs.providers.records import Addition, LeadAddition, LeadsAdded, LeadState, NamedLead, NewLead
from libs.providers.sightings import LeadSighting
from libs.providers.smartlead import keys
from libs.providers.smartlead.transport import count

STATES = {
    "STARTED": LeadState.WAITING,  # queued; nothing was sent
    "INPROGRESS": LeadState.ACTIVE,
    "PAUSED": LeadState.PAUSED,
    "STOPPED": LeadState.STOPPED,
    "COMPLETED": LeadState.COMPLETED,
    "BLOCKED": LeadState.BLOCKED,
}
# Why a lead of a batch was not added, by the counter that says so.
REFUSALS = {
    "block_count": "on a block list",
    "duplicate_count": "twice in the batch or in another campaign",
    "invalid_email_count": "no valid address",
    "unsubscribed_leads": "unsubscribed",
    "lead_import_stopped_count": "import stopped",
    "bounce_count": "bounced before",
}
# The lists that name who was not added, at times in place of a counter.
_NAMED = {"invalid_emails": "invalid_email_count", "unsubscribed_leads": "unsubscribed_leads"}


@dataclass(frozen=True, slots=True)
class KnownLead:
    """A lead as the search by address tells it, and when the provider told so."""

    id: str
    fields: Fields
    seen_at: datetime | None

    def as_sighting(self, address: str) -> LeadSighting:
        seen_at = self.seen_at or self.fields.moment("created_at")
        if seen_at is None:
            raise ContractViolated("lead.created_at is missing")
        return read_lead(self.fields, self.id, address, seen_at)

    def enrolment(self, campaign: str) -> Fields | None:
        """The lead's row in this campaign; None when it is in none such."""
        rows = self.fields.rows("lead_campaign_data")
        return next((row for row in rows if row.identifier("campaign_id") == campaign), None)


def read_state(fields: Fields) -> LeadState:
    return STATES.get((fields.filled("status") or "").strip().upper(), LeadState.UNKNOWN)


def read_lead(fields: Fields, lead_id: str | None, address: str, seen_at: datetime) -> LeadSighting:
    return LeadSighting(
        key=keys.lead(address),
        seen_at=seen_at,
        external_id=lead_id,
        email=address,
        profile_url=fields.filled("linkedin_profile"),
        first_name=fields.filled("first_name"),
        last_name=fields.filled("last_name"),
        company_name=fields.filled("company_name"),
        phone=fields.filled("phone_number"),
        location=fields.filled("location"),
    )


def name_lead(lead: NewLead) -> NamedLead:
    address = (lead.email or "").strip().lower()
    return NamedLead(key=keys.lead(address), email=address)


def lead_to_write(lead: NewLead) -> JsonObject:
    """There is no field for a title: it travels among the custom ones, where texts find it as {{title}}.

    Raises:
        Unsupported: a lead without an address.
    """
    if lead.email is None:
        raise Unsupported("Smartlead knows leads by their e-mail address: give each one")
    told = {
        "email": lead.email,
        "first_name": lead.first_name,
        "last_name": lead.last_name,
        "phone_number": lead.phone,
        "company_name": lead.company_name,
        "location": lead.location,
        "linkedin_profile": lead.profile_url,
    }
    custom = {**({"title": lead.title} if lead.title else {}), **lead.fields}
    written: JsonObject = {name: value for name, value in told.items() if value is not None}
    return {**written, "custom_fields": custom} if custom else written


def read_added(answer: Fields) -> LeadsAdded:
    refused = {why: count(answer, name) for name, why in REFUSALS.items()}
    if answer.flag("is_lead_limit_exhausted"):
        refused["the account's limit of leads is reached"] = 1
    return LeadsAdded(
        added=count(answer, "upload_count"),
        known=count(answer, "already_added_to_campaign"),
        refused={why: number for why, number in refused.items() if number},
        leads=tuple(
            LeadAddition(keys.lead(address.strip().lower()), Addition.REFUSED, REFUSALS[counter])
            for name, counter in _NAMED.items()
            if isinstance(named := answer.raw.get(name), list)
            for address in named
            if isinstance(address, str)
        ),
    )
