"""Leads whatever campaign they are in: profiles, tags, and the lists that campaigns are made for."""

from __future__ import annotations

from libs.providers.heyreach.simulator.model import Campaign, Enrolment, Lead
from libs.providers.heyreach.simulator.payloads import instant
from libs.providers.heyreach.simulator.routing import Call, Refused, Row, invalid, no, page

LARGEST_PAGE = 1000  # of the leads of a list


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


async def list_lists(call: Call) -> object:
    return page(call, [_list(campaign) for campaign in call.account.campaigns])


async def get_list(call: Call) -> object:
    return _list(_of_list(call, call.query_number("listId")))


async def list_leads_of_list(call: Call) -> object:
    campaign = _of_list(call, call.body.get("listId"))
    return page(call, [_in_list(one) for one in campaign.enrolments.values()], LARGEST_PAGE)


async def lists_of_lead(call: Call) -> object:
    lead = call.lead_named("profileUrl", "linkedinId", "email")
    rows: list[Row] = [
        {"listId": campaign.list_id, "listName": campaign.list_name}
        for campaign in call.account.campaigns
        if lead is not None and lead.id in campaign.enrolments
    ]
    return page(call, rows)


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


def _of_list(call: Call, list_id: object) -> Campaign:
    found = next((campaign for campaign in call.account.campaigns if campaign.list_id == list_id), None)
    if found is None:
        raise no("The list does not exist!")
    return found


def _list(campaign: Campaign) -> Row:
    return {
        "id": campaign.list_id,
        "name": campaign.list_name,
        "totalItemsCount": len(campaign.enrolments),
        "listType": "USER_LIST",
        "creationTime": instant(campaign.created_at),
        "campaignIds": [campaign.id],
    }


def _in_list(one: Enrolment) -> Row:
    custom = [{"name": name, "value": value} for name, value in one.custom_fields.items()]
    return {
        "id": one.id,
        # Another one than campaigns tell: the profile is what they share.
        **(profile(one.lead) | {"linkedin_id": f"9{one.lead.id}"}),
        "tags": list(one.lead.tags),
        "autoTags": [],
        "enrichedEmailAddress": None,
        "customEmailAddress": None,
        "customFields": custom,
    }
