"""Leads whatever campaign they are in: profiles and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping

from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.simulator.model import Lead
from libs.providers.heyreach.simulator.routing import Call, Refused, Row, invalid, no

_VARIABLE = re.compile(r"[A-Za-z0-9_]+")


async def get_lead(call: Call) -> object:
    lead = call.lead_named("profileUrl")
    if lead is None:
        raise Refused(404, {"errorMessage": "The lead does not exist."})
    return {
        **profile(lead),
        "username": lead.profile_url.rpartition("/")[2],
        "fullName": lead.name,
        "experiences": "[]",
        "education": "[]",
        "emailEnrichments": [],
    }


async def get_tags(call: Call) -> object:
    lead = _lead(call, "profileUrl")
    return {"tags": sorted(lead.tags)}


async def add_tags(call: Call) -> object:
    return _tag(call, replace=False)


async def replace_tags(call: Call) -> object:
    return _tag(call, replace=True)


def profile(lead: Lead) -> Row:
    return {
        "linkedin_id": lead.id,
        "profileUrl": lead.profile_url,
        "firstName": lead.first_name,
        "lastName": lead.last_name,
        "headline": lead.position,
        "imageUrl": None,
        "location": lead.location,
        "companyName": lead.company_name,
        "companyUrl": None,
        "position": lead.position,
        "about": None,
        "connections": 0,
        "followers": 0,
        "emailAddress": lead.address,
    }


def _lead(call: Call, *names: str) -> Lead:
    found = call.lead_named(*names)
    if found is None:
        raise no("The lead does not exist.")
    return found


def _tag(call: Call, *, replace: bool) -> object:
    lead, tags = _lead(call, "leadProfileUrl", "leadLinkedInId"), call.rows("tags")
    if not all(isinstance(tag, str) for tag in tags):
        raise invalid("tags", "field is required")
    wanted = list(dict.fromkeys(str(tag) for tag in tags))
    known = call.account.tags
    if not known.issuperset(wanted) and call.body.get("createTagIfNotExisting") is not True:
        raise no("The tag does not exist.")
    known.update(wanted)
    before = list(lead.tags)
    call.simulator.live.tag(lead, wanted if replace else list(dict.fromkeys([*before, *wanted])))
    return {"newAssignedTags": [tag for tag in wanted if tag not in before]}


def checked_lead(told: object, name: str) -> Mapping[str, object]:
    """A lead as it is written; `name` is what it is a part of."""
    if not isinstance(told, dict):
        raise invalid(name, "field is required")
    if read_profile(str(told.get("profileUrl") or "")) is None:
        raise invalid("profileUrl", "field is required")
    for one in told.get("customUserFields") or ():
        if not isinstance(one, dict) or not _VARIABLE.fullmatch(str(one.get("name"))) or "value" not in one:
            raise no("Custom field names may contain only letters, digits and underscores.")
    return told


def new_lead(call: Call, told: Mapping[str, object]) -> Lead:
    def text(name: str) -> str | None:
        value = told.get(name)
        return value if isinstance(value, str) and value else None

    made = Lead(
        id=str(next(call.account.ids)),
        profile_url=str(told["profileUrl"]),
        first_name=text("firstName") or "",
        last_name=text("lastName") or "",
        company_name=text("companyName") or "",
        position=text("position"),
        location=text("location"),
        address=text("emailAddress"),
    )
    call.account.leads.append(made)
    return made
