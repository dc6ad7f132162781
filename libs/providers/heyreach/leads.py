"""Leads as the API writes and reads them."""

from __future__ import annotations

import re
from datetime import datetime

from libs.errors import Invalid, Unsupported
from libs.providers.fields import Fields, JsonObject, read_address
from libs.providers.heyreach import keys
from libs.providers.heyreach.profiles import profile_url, read_profile
from libs.providers.heyreach.transport import as_number, required
from libs.providers.records import CampaignLead, LeadsAdded, LeadState, NamedLead, NewLead
from libs.providers.sightings import LeadSighting

# A stopped lead has no word of its own.
STATES = {
    "PENDING": LeadState.WAITING,
    "INSEQUENCE": LeadState.ACTIVE,
    "FINISHED": LeadState.COMPLETED,
    "PAUSED": LeadState.PAUSED,
    "FAILED": LeadState.FAILED,
}
DROPPED = "dropped without a word"
NO_REASON = "refused; the provider gives no reason"
_ADDRESSES = ("emailAddress", "customEmailAddress", "enrichedEmailAddress")
_VARIABLE = re.compile(r"[A-Za-z0-9_]+")


def read_state(fields: Fields, name: str) -> LeadState:
    return STATES.get((fields.filled(name) or "").strip().upper(), LeadState.UNKNOWN)


def read_profile_of(fields: Fields, name: str) -> str:
    """Whose row it is: the one name of a person that all lists share.

    Raises:
        ContractViolated: no page of LinkedIn.
    """
    profile = read_profile(required(fields.filled("profileUrl"), f"{name}.profileUrl"))
    if profile is None:
        raise fields.refuse("profileUrl", "is not a LinkedIn profile")
    return profile


def read_lead(fields: Fields, name: str, seen_at: datetime) -> LeadSighting:
    profile = read_profile_of(fields, name)
    addresses = (fields.filled(one) for one in _ADDRESSES)
    return LeadSighting(
        key=keys.lead(profile),
        seen_at=seen_at,
        external_id=fields.token("linkedin_id"),
        email=next(filter(None, (read_address(address) for address in addresses if address)), None),
        profile_url=profile_url(profile),
        first_name=fields.filled("firstName"),
        last_name=fields.filled("lastName"),
        company_name=fields.filled("companyName"),
        title=fields.filled("position"),
        location=fields.filled("location"),
    )


def read_campaign_lead(row: Fields, answered_at: datetime | None) -> CampaignLead:
    """By the provider's clock at the time of the answer; the row's own times are older than what it says."""
    seen_at = answered_at or row.moment("lastActionTime", "creationTime")
    if seen_at is None:
        raise row.refuse("creationTime", "is missing")
    return CampaignLead(
        lead=read_lead(row.nested("linkedInUserProfile"), "linkedInUserProfile", seen_at),
        state=read_state(row, "leadCampaignStatus"),
        added_at=row.moment("creationTime"),
        enrolment_external_id=required(row.identifier("id"), "leads.items[].id"),
    )


def name_lead(lead: NewLead) -> NamedLead:
    profile = read_profile(lead.profile_url or "") or ""
    return NamedLead(key=keys.lead(profile), profile_url=profile_url(profile))


def lead_to_write(lead: NewLead) -> JsonObject:
    """A member of accountLeadPairs.

    Raises:
        Unsupported: a lead without a profile.
        Invalid: the profile is none, or a variable has a name that the provider refuses.
    """
    if lead.profile_url is None:
        raise Unsupported("HeyReach knows leads by their LinkedIn profile: give each one its profile_url")
    profile = read_profile(lead.profile_url)
    if profile is None:
        raise Invalid("profile_url is not a LinkedIn profile", pointer="/profile_url")
    odd = next((name for name in lead.fields if not _VARIABLE.fullmatch(name)), None)
    if odd is not None:
        raise Invalid(f"HeyReach's variables are named with letters, digits and _: {odd[:50]!r}", pointer="/fields")
    told = {
        "firstName": lead.first_name,
        "lastName": lead.last_name,
        "profileUrl": profile_url(profile),
        "location": lead.location,
        "companyName": lead.company_name,
        "position": lead.title,
        "emailAddress": lead.email,
    }
    written: JsonObject = {name: value for name, value in told.items() if value is not None}
    if lead.fields:
        written["customUserFields"] = [{"name": name, "value": value} for name, value in lead.fields.items()]
    pair: JsonObject = {"lead": written}
    if lead.sender_external_id is not None:  # without, the provider shares leads out among the senders
        pair["linkedInAccountId"] = as_number(lead.sender_external_id, "sender_external_id")
    return pair


def read_added(answer: Fields, batch: int) -> LeadsAdded:
    counts = [answer.identifier(name) for name in ("addedLeadsCount", "updatedLeadsCount", "failedLeadsCount")]
    added, known, failed = (int(required(count, "answer.addedLeadsCount and others")) for count in counts)
    refused = {NO_REASON: failed} if failed else {}
    if batch and not added + known + failed:
        refused = {DROPPED: batch}
    return LeadsAdded(added=added, known=known, refused=refused)
