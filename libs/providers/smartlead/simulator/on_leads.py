"""Leads by call: adding, pausing, sorting, removing, and leaving alone."""

from __future__ import annotations

from libs.providers.fields import read_address
from libs.providers.smartlead.simulator import people
from libs.providers.smartlead.simulator.joi import Key, day, no, number, refusal
from libs.providers.smartlead.simulator.model import CATEGORIES, WAITING, Lead
from libs.providers.smartlead.simulator.routing import Call, Route, done, plain, route, success

ROSTER_CAP = 100
MOST_LEADS = 400  # in one call; older documents say 350 and 100
MOST_CUSTOM_FIELDS = 200
_TEXTS = ("phone_number", "website", "location", "linkedin_profile", "company_url")
_LEAD = {
    "email": Key(str, required=True),
    "first_name": Key(str),
    "last_name": Key(str),
    "company_name": Key(str),
    "custom_fields": Key(dict),
    **{name: Key((str, int)) for name in _TEXTS},
}
_SETTINGS = {
    "ignore_global_block_list": Key(bool),
    "ignore_unsubscribe_list": Key(bool),
    "ignore_community_bounce_list": Key(bool),
    "ignore_duplicate_leads_in_other_campaign": Key(bool),
    "return_lead_ids": Key(bool),
}
_BLOCK = {"domain_block_list": Key(list, required=True), "client_id": Key(int)}


async def _roster(call: Call) -> object:
    found = call.campaign()
    if found is None:
        return {}
    category = call.query.get("lead_category_id")
    return people.roster(
        found,
        offset=number(call.query, "offset", default=0),
        limit=number(call.query, "limit", default=ROSTER_CAP, least=1, most=ROSTER_CAP),
        status=call.query.get("status") or None,
        category_id=int(category) if category else None,
        created_after=day(call.query, "created_at_gt"),
        fault=call.page_fault,
    )


async def _add(call: Call) -> object:
    body = await call.body(
        {
            "lead_list": Key(list, required=True, most=MOST_LEADS, items=_LEAD),
            "settings": Key(dict, keys=_SETTINGS),
        }
    )
    campaign, account = call.campaign_to_change(), call.account
    rows, settings = body["lead_list"], body.get("settings")
    assert isinstance(rows, list)
    wishes = settings if isinstance(settings, dict) else {}
    counts = dict.fromkeys(
        ("upload_count", "block_count", "duplicate_count", "already_added_to_campaign", "bounce_count"), 0
    )
    invalid: list[str] = []
    unsubscribed: list[str] = []
    present = {enrolment.lead.address for enrolment in campaign.enrolments}
    seen: set[str] = set()
    for row in rows:
        address = read_address(str(row["email"]))
        if address is None:
            invalid.append(str(row["email"]))
        elif address in seen:
            counts["duplicate_count"] += 1
        elif address in present:
            counts["already_added_to_campaign"] += 1
        elif account.is_blocked(address) and not wishes.get("ignore_global_block_list"):
            counts["block_count"] += 1
        elif address in account.leads and account.leads[address].is_unsubscribed:
            unsubscribed.append(address)
        else:
            call.simulator.live.enrol(campaign, _lead(call, address, row))
            counts["upload_count"] += 1
        if address is not None:
            seen.add(address)
    return {
        "ok": True,
        "upload_count": counts["upload_count"],
        "total_leads": len(rows),
        "block_count": counts["block_count"],
        "duplicate_count": counts["duplicate_count"],
        "invalid_email_count": len(invalid),
        "invalid_emails": invalid,
        "already_added_to_campaign": counts["already_added_to_campaign"],
        "unsubscribed_leads": unsubscribed,
        "is_lead_limit_exhausted": False,
        "lead_import_stopped_count": 0,
        "bounce_count": counts["bounce_count"],
    }


def _lead(call: Call, address: str, row: dict[str, object]) -> Lead:
    """One person in the whole account, whatever campaigns they are in; what is told anew is taken over."""
    custom = row.get("custom_fields")
    if isinstance(custom, dict) and len(custom) > MOST_CUSTOM_FIELDS:
        raise refusal(
            "body", "lead_list[0].custom_fields", f"must have less than or equal to {MOST_CUSTOM_FIELDS} keys"
        )
    lead = call.account.leads.get(address)
    if lead is None:
        lead = Lead(4_156_000_000 + next(call.account.ids), address, "", "", "", call.simulator.now)
        call.account.leads[address] = lead
    for name in ("first_name", "last_name", "company_name", *_TEXTS):
        if row.get(name) is not None:
            setattr(lead, name, str(row[name]))
    if isinstance(custom, dict):
        lead.custom_fields |= custom
    return lead


async def _update(call: Call) -> object:
    body = await call.body(_LEAD)
    _, enrolment = call.enrolment_to_change()
    _lead(call, enrolment.lead.address, {**body, "email": enrolment.lead.address})
    return done()


async def _pause(call: Call) -> object:
    await call.body({})
    _, enrolment = call.enrolment_to_change()
    if enrolment.status in WAITING:
        enrolment.paused_in, enrolment.status = enrolment.status, "PAUSED"
    return success()


async def _resume(call: Call) -> object:
    await call.body({"resume_lead_with_delay_days": Key(int, least=0)})
    _, enrolment = call.enrolment_to_change()
    if enrolment.status == "PAUSED":
        enrolment.status, enrolment.paused_in = enrolment.paused_in or "INPROGRESS", None
    return success()


async def _remove(call: Call) -> object:
    campaign, enrolment = call.enrolment_to_change()
    campaign.enrolments.remove(enrolment)
    return plain("success")


async def _unsubscribe(call: Call) -> object:
    await call.body({})
    campaign, enrolment = call.enrolment_to_change()
    call.simulator.live.unsubscribes(campaign, enrolment, None)
    return done()


async def _unsubscribe_everywhere(call: Call) -> object:
    """Also keeps the lead from being added again."""
    await call.body({})
    lead = call.account.lead(call.ids["lead"])
    if lead is None:
        raise no("Lead not found - Invalid lead_id.", 404)
    lead.is_unsubscribed = True
    for campaign in call.account.campaigns:
        for enrolment in campaign.enrolments:
            if enrolment.lead is lead:
                call.simulator.live.unsubscribes(campaign, enrolment, None)
    return done()


async def _categorize(call: Call) -> object:
    body = await call.body({"category_id": Key(int), "pause_lead": Key(bool)})
    campaign, enrolment = call.enrolment_to_change()
    category = body.get("category_id")
    if category is not None and category not in {number for number, _, _ in CATEGORIES}:
        raise no("Invalid category_id.")
    call.simulator.live.categorize(campaign, enrolment, category if isinstance(category, int) else None)
    if body.get("pause_lead") and enrolment.status in WAITING:
        enrolment.paused_in, enrolment.status = enrolment.status, "PAUSED"
    return done()


async def _complete_manually(call: Call) -> object:
    """Takes the id of the pair, where all its siblings take the lead's."""
    campaign = call.campaign_to_change()
    found = next((one for one in campaign.enrolments if str(one.map_id) == call.ids["map"]), None)
    if found is None:
        raise no("Lead not found - Invalid campaign_lead_map_id.", 404)
    following = call.simulator.live.manual_step_done(campaign, found)
    if following is None:
        return {"ok": True, "status": {"isLastSequence": True, "nextSequence": None}}
    step = campaign.steps[following]
    then = {"id": step.id, "delayInDays": step.delay_days}
    return {"ok": True, "status": {"isLastSequence": False, "nextSequence": then}}


async def _find(call: Call) -> object:
    return people.lead_by_address(call.account, call.query.get("email", ""))


async def _get(call: Call) -> object:
    found = call.account.lead(call.ids["lead"])
    return people.lead_by_id(found) if found is not None else {}


async def _campaigns(call: Call) -> object:
    return [
        {"id": campaign.id, "status": campaign.status_at(call.simulator.now), "name": campaign.name}
        for campaign in call.account.campaigns
        if campaign.enrolment(call.ids["lead"]) is not None
    ]


async def _categories(call: Call) -> object:
    return people.categories(call.account)


async def _block(call: Call) -> object:
    body = await call.body(_BLOCK)
    listed = body["domain_block_list"]
    assert isinstance(listed, list)
    for entry in listed:
        call.account.blocked[next(call.account.ids)] = str(entry).lower()
    return done()


async def _unblock(call: Call) -> object:
    call.account.blocked.pop(number(call.query, "id", default=0), None)
    return done()


_IN = "/campaigns/{campaign}/leads/{lead}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/campaigns/{campaign}/leads", _roster),
    route("POST", "/campaigns/{campaign}/leads", _add),
    route("POST", _IN, _update),
    route("DELETE", _IN, _remove),
    route("POST", f"{_IN}/pause", _pause),
    route("POST", f"{_IN}/resume", _resume),
    route("POST", f"{_IN}/unsubscribe", _unsubscribe),
    route("POST", f"{_IN}/category", _categorize),
    route("POST", "/campaigns/{campaign}/leads/{map}/manual-complete", _complete_manually),
    route("GET", "/leads", _find),
    route("GET", "/leads/{lead}", _get),
    route("GET", "/leads/{lead}/campaigns", _campaigns),
    route("POST", "/leads/{lead}/unsubscribe", _unsubscribe_everywhere),
    route("GET", "/leads/fetch-categories", _categories),
    route("POST", "/leads/add-domain-block-list", _block),
    route("DELETE", "/leads/delete-domain-block-list", _unblock),
)
