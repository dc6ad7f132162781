"""Leads by call: making, completing, attaching, stopping, removing, and leaving alone."""

from __future__ import annotations

import random

from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.live import DELETES_AFTER
from libs.providers.emailbison.simulator.model import Campaign, Lead, new_uuid, whole_second
from libs.providers.emailbison.simulator.routing import Answer, Call, Route, invalid, paged, route, wrapped
from libs.providers.fields import read_address

MOST_LEADS = 500
PRIVATE_HOSTS = ("gmail.com", "outlook.com", "yahoo.com")  # skipped by the calls for many, unless switched on
_NOBODY_ADDED = (
    "No leads were added because they are either in other sequences, have previously bounced, or unsubscribed"
)


async def _list_leads(call: Call) -> Answer:
    found = [lead for lead in call.account.leads.values() if call.finds(lead.address, lead.name, lead.company)]
    return 200, paged(call, [resources.lead(call.account, lead) for lead in found])


async def _get_lead(call: Call) -> Answer:
    return 200, {"data": resources.lead(call.account, call.lead())}


async def _create_lead(call: Call) -> Answer:
    """No upsert."""
    address = _address(call.given, "email")
    if address in call.account.leads:
        raise invalid("email", "The email has already been taken.")
    return 201, {"data": resources.lead(call.account, _write(call, address, call.given))}


async def _change_lead(call: Call) -> Answer:
    """Merges; a lead's address stays."""
    found = call.lead()
    return 200, {"data": resources.lead(call.account, _write(call, found.address, call.given))}


async def _replace_lead(call: Call) -> Answer:
    """What is left out is cleared."""
    found = call.lead()
    _check_variables(call, call.given)
    found.first_name, found.last_name, found.company, found.title, found.notes = "", "", "", "", None
    found.variables = {}
    return await _change_lead(call)


async def _delete_lead(call: Call) -> Answer:
    """By the queue, some time later."""
    found, account = call.lead(), call.account

    def go() -> None:
        account.leads.pop(found.address, None)
        for campaign in account.campaigns:
            campaign.enrolments = [one for one in campaign.enrolments if one.lead is not found]

    call.simulator.live.after(DELETES_AFTER, go)
    return 200, {"data": {"success": True, "message": "Lead deletion process started."}}


async def _create_many(call: Call) -> Answer:
    """No upsert either."""
    rows = call.given.get("leads")
    for index, row in enumerate(rows if isinstance(rows, list) else ()):
        if _address(row, f"leads.{index}.email") in call.account.leads:
            raise invalid(f"leads.{index}.email", f"The leads.{index}.email has already been taken.")
    return await _write_many(call)


async def _create_or_update(call: Call) -> Answer:
    if call.text("existing_lead_behavior") not in ("put", "patch"):
        raise invalid("existing_lead_behavior", "The selected existing lead behavior is invalid.")
    return await _write_many(call)


async def _write_many(call: Call) -> Answer:
    rows = call.given.get("leads")
    if not isinstance(rows, list) or not rows or len(rows) > MOST_LEADS:
        raise invalid("leads", f"The leads field must have between 1 and {MOST_LEADS} items.")
    addresses = [_address(row, f"leads.{index}.email") for index, row in enumerate(rows)]
    for row in rows:
        _check_variables(call, row)
    taken = [(one, row) for one, row in zip(addresses, rows, strict=True) if one.partition("@")[2] not in PRIVATE_HOSTS]
    return 201, {"data": [resources.lead(call.account, _write(call, one, row)) for one, row in taken]}


def _address(row: object, name: str) -> str:
    address = read_address(str(row.get("email"))) if isinstance(row, dict) else None
    if address is None:
        raise invalid(name, f"The {name} field must be a valid email address.")
    return address


def _check_variables(call: Call, row: object) -> dict[str, str]:
    told = row.get("custom_variables") if isinstance(row, dict) else None
    found = {}
    for one in told if isinstance(told, list) else ():
        name = str(one["name"])
        if name.lower() not in call.account.variable_names:
            sentence = f"You do not have a custom variable named {name}. Please create it first"
            raise invalid("custom_variables", sentence)
        found[name.lower()] = str(one.get("value"))
    return found


def _write(call: Call, address: str, row: object) -> Lead:
    """Merges, variables too."""
    assert isinstance(row, dict)
    variables = _check_variables(call, row)
    found = call.account.leads.get(address)
    if found is None:
        number = call.account.new_id("leads")
        at = whole_second(call.simulator.now)
        uuid = new_uuid(random.Random(number))
        found = Lead(number, uuid, address, "", "", "", "", at, variables={})
        call.account.leads[address] = found
    for name in ("first_name", "last_name", "company", "title", "notes"):
        if row.get(name) is not None:
            setattr(found, name, str(row[name]))
    if variables:
        found.variables = {**(found.variables or {}), **variables}
    return found


async def _unsubscribe(call: Call) -> Answer:
    found = call.lead()
    call.simulator.live.unsubscribes(found)
    return 200, {"data": resources.lead(call.account, found)}


async def _list_members(call: Call) -> Answer:
    found = call.campaign()
    rows = [resources.lead(call.account, one.lead) for one in found.enrolments]
    if call.habits.single_lead_campaign_data:  # as documented
        for row in rows:
            told = row["lead_campaign_data"]
            assert isinstance(told, list)
            row["lead_campaign_data"] = next(one for one in told if one["campaign_id"] == found.id)
    return 200, paged(call, rows)


async def _attach(call: Call) -> Answer:
    """One who is kept out keeps out the whole batch, or (the other report) only those are left out, without a word."""
    found, leads = call.campaign(), _leads(call)
    new = [lead for lead in leads if found.enrolment(lead.id) is None]
    kept_out = [lead for lead in new if not _may_be_attached(call, found, lead)]
    if kept_out and (not call.habits.drops_kept_out_leads or len(kept_out) == len(new)):
        raise wrapped(422, _NOBODY_ADDED)
    for lead in new:
        if lead not in kept_out:
            call.simulator.live.enrol(found, lead)
    return 200, {"data": {"success": True, "message": f"Leads successfully added to {found.name}."}}


def _may_be_attached(call: Call, campaign: Campaign, lead: Lead) -> bool:
    if call.given.get("allow_parallel_sending") is True:
        return True
    elsewhere = [one.enrolment(lead.id) for one in call.account.campaigns if one is not campaign]
    in_sequence = any(one is not None and one.status == "in_sequence" for one in elsewhere)
    return not in_sequence and lead.status not in ("bounced", "unsubscribed")


async def _stop(call: Call) -> Answer:
    """Says yes also of strangers."""
    found = call.campaign()
    for lead in _leads(call):
        enrolment = found.enrolment(lead.id)
        if enrolment is not None and enrolment.status in ("in_sequence", "sending_paused"):
            call.simulator.live.end(found, enrolment, "stopped")
    return 200, {"data": {"success": True, "message": "Future emails were stopped for the leads."}}


async def _remove(call: Call) -> Answer:
    found, gone = call.campaign(), {lead.id for lead in _leads(call)}
    found.enrolments = [one for one in found.enrolments if one.lead.id not in gone]
    return 200, {"success": True, "message": "Leads successfully removed."}


def _leads(call: Call) -> list[Lead]:
    wanted = call.numbers("lead_ids")
    by_id = {lead.id: lead for lead in call.account.leads.values()}
    for index, number in enumerate(wanted):
        if number not in by_id:
            raise invalid(f"lead_ids.{index}", f"The selected lead_ids.{index} is invalid.")
    return [by_id[number] for number in wanted]


_IN = "/campaigns/{campaign}/leads"
ROUTES: tuple[Route, ...] = (
    route("GET", "/leads", _list_leads),
    route("POST", "/leads", _create_lead),
    route("POST", "/leads/create-or-update/multiple", _create_or_update),
    route("POST", "/leads/multiple", _create_many),
    route("GET", "/leads/{lead}", _get_lead),
    route("PATCH", "/leads/{lead}", _change_lead),
    route("PUT", "/leads/{lead}", _replace_lead),
    route("DELETE", "/leads/{lead}", _delete_lead),
    route("PATCH", "/leads/{lead}/unsubscribe", _unsubscribe),
    route("GET", _IN, _list_members),
    route("DELETE", _IN, _remove),
    route("POST", f"{_IN}/attach-leads", _attach),
    route("POST", f"{_IN}/stop-future-emails", _stop),
)
