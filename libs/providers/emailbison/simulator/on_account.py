"""What belongs to the workspace: who it is, mailboxes, tags, variables, webhooks and their log."""

from __future__ import annotations

from libs import clock
from libs.providers.emailbison import events
from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.model import Registration, whole_second
from libs.providers.emailbison.simulator.routing import Answer, Call, Route, invalid, missing, paged, route, wrapped


async def _get_user(call: Call) -> Answer:
    return 200, {"data": resources.user(call.account, team=call.habits.team)}


async def _list_workspaces(call: Call) -> Answer:
    return 200, {"data": [resources.workspace(call.account)]}


async def _list_mailboxes(call: Call) -> Answer:
    return 200, paged(call, [resources.sender_email(mailbox) for mailbox in call.account.mailboxes])


async def _list_events(call: Call) -> Answer:
    wanted = call.text("type").upper()
    rows = [
        resources.event(number, told)
        for number, told in enumerate(call.simulator.log, start=1)
        if (call.simulator.now - told.at).days < 10 and (not wanted or told.event_type == wanted)
    ]
    return 200, paged(call, rows)


async def _list_event_types(call: Call) -> Answer:
    if not call.habits.has_event_types:
        raise wrapped(404, f"The route api{call.path} could not be found.", record_not_found=None)
    return 200, {"data": resources.event_types()}


async def _list_webhooks(call: Call) -> Answer:
    return 200, {"data": [resources.registration(found) for found in call.account.registrations]}


async def _get_webhook(call: Call) -> Answer:
    return 200, {"data": resources.registration(_webhook(call))}


async def _create_webhook(call: Call) -> Answer:
    name, url, wanted = _webhook_fields(call)
    now = whole_second(clock.now())
    made = Registration(call.account.new_id("webhooks"), name, url, wanted, now, now)
    call.account.registrations.append(made)  # a second one of the same URL is not prevented
    return 201, {"data": resources.registration(made)}


async def _replace_webhook(call: Call) -> Answer:
    found = _webhook(call)
    found.name, found.url, found.event_ids = _webhook_fields(call)
    found.updated_at = whole_second(clock.now())
    return 200, {"data": resources.registration(found)}


async def _delete_webhook(call: Call) -> Answer:
    found = _webhook(call)
    call.account.registrations.remove(found)
    return 200, {"data": {"success": True, "message": f"{found.name} webhook url was successfully deleted"}}


def _webhook(call: Call) -> Registration:
    wanted = call.ids["webhook"]
    found = next((made for made in call.account.registrations if str(made.id) == wanted), None)
    if found is None:
        raise missing("webhook_url", wanted)
    return found


def _webhook_fields(call: Call) -> tuple[str, str, tuple[str, ...]]:
    for name in ("name", "url", "events"):
        if not call.given.get(name):
            raise invalid(name, f"The {name} field is required.")
    wanted = call.given["events"]
    if not isinstance(wanted, list):
        raise invalid("events", "The events field must be an array.")
    for index, event_id in enumerate(wanted):
        if event_id not in {events.subscription_id(name) for name in events.EVENT_TYPES}:
            raise invalid(f"events.{index}", f"The selected events.{index} is invalid.")
    return call.text("name"), call.text("url"), tuple(str(event_id) for event_id in wanted)


async def _list_variables(call: Call) -> Answer:
    return 200, paged(call, [resources.variable(number, name) for number, name in call.account.variables])


async def _create_variable(call: Call) -> Answer:
    name = call.text("name").strip().lower()
    if not name:
        raise invalid("name", "The name field is required.")
    if name in call.account.variable_names:
        raise invalid("name", "The name has already been taken.")
    made = (call.account.new_id("variables"), name)
    call.account.variables.append(made)
    return 201, {"data": resources.variable(*made)}


async def _list_tags(call: Call) -> Answer:
    return 200, {"data": [resources.tag(number, name) for number, name in call.account.tags]}


ROUTES: tuple[Route, ...] = (
    route("GET", "/users", _get_user),
    route("GET", "/workspaces/v1.1", _list_workspaces),
    route("GET", "/sender-emails", _list_mailboxes),
    route("GET", "/tags", _list_tags),
    route("GET", "/custom-variables", _list_variables),
    route("POST", "/custom-variables", _create_variable),
    route("GET", "/events", _list_events),
    route("GET", "/webhook-events/event-types", _list_event_types),
    route("GET", "/webhook-url", _list_webhooks),
    route("POST", "/webhook-url", _create_webhook),
    route("GET", "/webhook-url/{webhook}", _get_webhook),
    route("PUT", "/webhook-url/{webhook}", _replace_webhook),
    route("DELETE", "/webhook-url/{webhook}", _delete_webhook),
)
