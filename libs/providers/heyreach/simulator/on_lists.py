"""Lists of leads: each campaign has one, and one may be made by itself, filled and emptied."""

from __future__ import annotations

from collections.abc import Mapping

from libs.providers.heyreach.profiles import read_profile
from libs.providers.heyreach.simulator.model import Campaign, Lead, UserList
from libs.providers.heyreach.simulator.on_leads import checked_lead, new_lead, profile
from libs.providers.heyreach.simulator.payloads import instant
from libs.providers.heyreach.simulator.routing import Call, Row, invalid, no, page

LARGEST_PAGE = 1000  # of the leads of a list
LARGEST_BATCH = 100


async def list_lists(call: Call) -> object:
    rows = [*map(_of_campaign, call.account.campaigns), *map(_by_itself, call.account.lists)]
    return page(call, [row for row in rows if call.finds(row["name"])])


async def get_list(call: Call) -> object:
    found = _found(call, call.query_number("listId"))
    return _of_campaign(found) if isinstance(found, Campaign) else _by_itself(found)


async def create_empty(call: Call) -> object:
    made = UserList(next(call.account.ids), call.text("name"), call.simulator.now)
    call.account.lists.append(made)
    return {
        "id": made.id,
        "name": made.name,
        "count": 0,
        "listType": "USER_LIST",
        "creationTime": instant(made.created_at),
        "isDeleted": False,
        "campaigns": [],
        "search": None,
        "status": "UNKNOWN",
    }


async def list_leads(call: Call) -> object:
    found = _found(call, call.body.get("listId"))
    if isinstance(found, Campaign):
        rows = [_row(one.id, one.lead, one.custom_fields) for one in found.enrolments.values()]
    else:
        rows = [_row(int(lead.id), lead, {}) for lead in found.leads.values()]
    return page(call, [row for row in rows if call.finds(row["firstName"], row["lastName"])], LARGEST_PAGE)


async def add_leads(call: Call) -> object:
    """V2: counts. V1 answers the number of those that are new."""
    found, told = _found(call, call.body.get("listId")), call.rows("leads")
    if isinstance(found, Campaign):
        raise no("The list belongs to a campaign.")
    if len(told) > LARGEST_BATCH:
        raise invalid("leads", "field holds too many items")
    checked, before = [checked_lead(one, "leads") for one in told], len(found.leads)
    for one in checked:
        lead = call.account.lead_at(str(one["profileUrl"])) or new_lead(call, one)
        found.leads[lead.id] = lead
    added = len(found.leads) - before
    return {"addedLeadsCount": added, "updatedLeadsCount": len(checked) - added, "failedLeadsCount": 0}


async def add_leads_v1(call: Call) -> object:
    counts = await add_leads(call)
    assert isinstance(counts, dict)
    return counts["addedLeadsCount"]


async def delete_leads(call: Call) -> object:
    """By the ids that the list tells."""
    found, gone = _own(call), call.rows("leadMemberIds")
    for lead in list(found.leads.values()):
        if _id_in_lists(lead) in gone:
            del found.leads[lead.id]
    return None


async def delete_leads_by_profile(call: Call) -> object:
    """A yes also when none was there."""
    found, missing = _own(call), []
    for url in call.rows("profileUrls"):
        lead = call.account.lead_at(str(url))
        if lead is None or found.leads.pop(lead.id, None) is None:
            missing.append(str(read_profile(str(url)) or url).rpartition("/")[2])
    return {"notFoundInList": missing}


async def lists_of_lead(call: Call) -> object:
    lead = call.lead_named("profileUrl", "linkedinId", "email")
    rows: list[Row] = [
        {"listId": campaign.list_id, "listName": campaign.list_name}
        for campaign in call.account.campaigns
        if lead is not None and lead.id in campaign.enrolments
    ]
    rows += [
        {"listId": one.id, "listName": one.name}
        for one in call.account.lists
        if lead is not None and lead.id in one.leads
    ]
    return page(call, rows)


def _found(call: Call, list_id: object) -> Campaign | UserList:
    campaign = next((campaign for campaign in call.account.campaigns if campaign.list_id == list_id), None)
    found = campaign or next((one for one in call.account.lists if one.id == list_id), None)
    if found is None:
        raise no("The list does not exist!")
    return found


def _own(call: Call) -> UserList:
    found = _found(call, call.body.get("listId"))
    if isinstance(found, Campaign):
        raise no("The list belongs to a campaign.")
    return found


def _of_campaign(campaign: Campaign) -> Row:
    return {
        "id": campaign.list_id,
        "name": campaign.list_name,
        "totalItemsCount": len(campaign.enrolments),
        "listType": "USER_LIST",
        "creationTime": instant(campaign.created_at),
        "campaignIds": [campaign.id],
    }


def _by_itself(one: UserList) -> Row:
    return {
        "id": one.id,
        "name": one.name,
        "totalItemsCount": len(one.leads),
        "listType": "USER_LIST",
        "creationTime": instant(one.created_at),
        "campaignIds": [],
    }


def _id_in_lists(lead: Lead) -> str:
    """Another one than campaigns tell: the profile is what they share."""
    return f"9{lead.id}"


def _row(number: int, lead: Lead, custom: Mapping[str, str]) -> Row:
    return {
        "id": number,
        **(profile(lead) | {"linkedin_id": _id_in_lists(lead)}),
        "tags": list(lead.tags),
        "autoTags": [],
        "enrichedEmailAddress": None,
        "customEmailAddress": None,
        "customFields": [{"name": name, "value": value} for name, value in custom.items()],
    }
