"""Campaigns by call: what can be asked of them, and what they refuse."""

from __future__ import annotations

import random

from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.live import DELETES_AFTER
from libs.providers.emailbison.simulator.model import DAYS, Campaign, Mailbox, Settings, new_uuid, whole_second
from libs.providers.emailbison.simulator.routing import Answer, Call, Route, invalid, paged, route, wrapped


async def _list_campaigns(call: Call) -> Answer:
    wanted = call.text("status")
    rows = [
        resources.campaign(found, title_case=call.habits.title_case_statuses)
        for found in call.account.campaigns
        if (not wanted or found.status == wanted) and call.finds(found.name)
    ]
    return 200, paged(call, rows)


async def _get_campaign(call: Call) -> Answer:
    found = call.campaign()
    if found.status == "pending deletion":  # until the queue has done it
        return 200, {"data": []}
    return 200, {"data": resources.campaign(found, title_case=call.habits.title_case_statuses)}


async def _create_campaign(call: Call) -> Answer:
    if not call.text("name"):
        raise invalid("name", "The name field is required.")
    account, now = call.account, whole_second(call.simulator.now)
    number = account.new_id("campaigns")
    made = Campaign(
        id=number,
        uuid=new_uuid(random.Random(number)),
        sequence_id=account.new_id("sequences"),
        name=call.text("name"),
        created_at=now,
        updated_at=now,
        steps=[],
        status="draft",
    )
    account.campaigns.append(made)
    return 201, {"data": _resource(call, made)}


async def _update_campaign(call: Call) -> Answer:
    """Not partial: what is left out becomes what a campaign begins with, and a flag false."""
    found, given, base = call.campaign(), call.given, Settings()
    numbers = {}
    for name, present in (
        ("max_emails_per_day", base.max_emails_per_day),
        ("max_new_leads_per_day", base.max_new_leads_per_day),
    ):
        value = given.get(name, present)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise invalid(name, f"The {name.replace('_', ' ')} field must be at least 1.")
        numbers[name] = value
    if numbers["max_new_leads_per_day"] > numbers["max_emails_per_day"]:
        name = "max_new_leads_per_day"
        raise invalid(name, "The max new leads per day field must not be greater than max emails per day.")
    order = given.get("sequence_prioritization", base.sequence_prioritization)
    if order not in ("followups", "new_leads"):
        raise invalid("sequence_prioritization", "The selected sequence prioritization is invalid.")
    unsubscribe_text = given.get("unsubscribe_text")
    found.settings = Settings(
        **numbers,
        plain_text=given.get("plain_text") is True,
        can_unsubscribe=given.get("can_unsubscribe") is True,
        unsubscribe_text=str(unsubscribe_text) if unsubscribe_text is not None else None,
        sequence_prioritization=str(order),
    )
    found.name = call.text("name") or found.name
    found.open_tracking = given.get("open_tracking") is True
    found.tells_automated = given.get("include_auto_replies_in_stats") is True
    found.updated_at = whole_second(call.simulator.now)
    return 200, {"data": _resource(call, found)}


async def _pause(call: Call) -> Answer:
    found = call.campaign()
    call.simulator.live.pause(found)
    return 200, {"data": _resource(call, found)}


async def _resume(call: Call) -> Answer:
    """Launches a draft as well."""
    found = call.campaign()
    parts = {"steps": found.steps, "schedule": found.schedule, "senders": found.sender_ids, "leads": found.enrolments}
    missing = [name for name, there in parts.items() if not there]
    if missing:
        raise wrapped(422, f"The campaign is incomplete: it has no {', '.join(missing)}.")
    if found.status not in ("queued", "launching", "active"):
        call.simulator.live.launch(found)
    return 200, {"data": _resource(call, found)}


async def _archive(call: Call) -> Answer:
    found = call.campaign()
    call.simulator.live.set_status(found, "archived")
    return 200, {"data": _resource(call, found)}


async def _delete(call: Call) -> Answer:
    found = call.campaign()
    _delete_later(call, found)
    return 200, {"data": {"success": True, "message": f"{found.name} was queued for deletion."}}


def _delete_later(call: Call, found: Campaign) -> None:
    campaigns = call.account.campaigns
    call.simulator.live.set_status(found, "pending deletion")
    call.simulator.live.after(DELETES_AFTER, lambda: campaigns.remove(found) if found in campaigns else None)


async def _get_schedule(call: Call) -> Answer:
    found = call.campaign()
    if found.schedule is None:
        raise wrapped(200, "Schedule does not exist")
    return 200, {"data": resources.schedule(found)}


async def _create_schedule(call: Call) -> Answer:
    found = call.campaign()
    if found.schedule is not None:
        raise wrapped(200, "Schedule already exists")
    found.schedule = _schedule(call)
    return 200, {"data": resources.schedule(found)}


async def _replace_schedule(call: Call) -> Answer:
    found = call.campaign()
    if found.schedule is None:
        raise wrapped(200, "Schedule does not exist")
    found.schedule = _schedule(call)
    return 200, {"data": resources.schedule(found)}


def _schedule(call: Call) -> dict[str, object]:
    for name in (*DAYS, "save_as_template"):
        if not isinstance(call.given.get(name), bool):
            raise invalid(name, f"The {name.replace('_', ' ')} field is required.")
    for name in ("start_time", "end_time", "timezone"):
        if not call.text(name):
            raise invalid(name, f"The {name.replace('_', ' ')} field is required.")
    return {name: call.given[name] for name in (*DAYS, "start_time", "end_time", "timezone")}


async def _list_senders(call: Call) -> Answer:
    wanted = call.campaign().sender_ids
    return 200, paged(call, [resources.sender_email(one) for one in call.account.mailboxes if one.id in wanted])


async def _attach_senders(call: Call) -> Answer:
    found, new = call.campaign(), [one.id for one in _senders(call)]
    attached = [number for number in new if number not in found.sender_ids]
    if not attached:
        return 200, {"success": False, "message": "No sender emails were attached."}
    found.sender_ids += attached
    return 200, {"success": True, "message": "Sender emails successfully attached."}


async def _remove_senders(call: Call) -> Answer:
    found, gone = call.campaign(), {one.id for one in _senders(call)}
    if found.status not in ("draft", "paused"):
        return 400, {"success": False, "message": "Sender emails can only be removed from draft or paused campaigns."}
    found.sender_ids = [number for number in found.sender_ids if number not in gone]
    return 200, {"success": True, "message": "Sender emails successfully removed."}


def _senders(call: Call) -> list[Mailbox]:
    wanted = call.numbers("sender_email_ids")
    found = [one for one in call.account.mailboxes if one.id in wanted]
    if len(found) != len(set(wanted)):
        raise invalid("sender_email_ids.0", "The selected sender_email_ids.0 is invalid.")
    return found


async def _stats(call: Call) -> Answer:
    """A POST that only reads."""
    for name in ("start_date", "end_date"):
        if not call.text(name):
            raise invalid(name, f"The {name.replace('_', ' ')} field is required.")
    return 200, {"data": resources.stats(call.campaign())}


def _resource(call: Call, found: Campaign) -> dict[str, object]:
    return resources.campaign(found, title_case=call.habits.title_case_statuses)


_ONE = "/campaigns/{campaign}"
ROUTES: tuple[Route, ...] = (
    route("GET", "/campaigns", _list_campaigns),
    route("POST", "/campaigns", _create_campaign),
    route("GET", _ONE, _get_campaign),
    route("DELETE", _ONE, _delete),
    route("PATCH", f"{_ONE}/update", _update_campaign),
    route("PATCH", f"{_ONE}/pause", _pause),
    route("PATCH", f"{_ONE}/resume", _resume),
    route("PATCH", f"{_ONE}/archive", _archive),
    route("GET", f"{_ONE}/schedule", _get_schedule),
    route("POST", f"{_ONE}/schedule", _create_schedule),
    route("PUT", f"{_ONE}/schedule", _replace_schedule),
    route("GET", f"{_ONE}/sender-emails", _list_senders),
    route("POST", f"{_ONE}/attach-sender-emails", _attach_senders),
    route("DELETE", f"{_ONE}/remove-sender-emails", _remove_senders),
    route("POST", f"{_ONE}/stats", _stats),
)
