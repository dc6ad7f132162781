"""Webhooks: one event type each, as many of one kind as are asked for."""

from __future__ import annotations

from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.heyreach.simulator.routing import Call, Created, Refused, Row, invalid, page


async def create_webhook(call: Call) -> object:
    name, url, event_type = (call.body.get(field) for field in ("webhookName", "webhookUrl", "eventType"))
    if not isinstance(name, str) or not 3 <= len(name) <= 25:
        raise invalid("webhookName", "field must be between 3 and 25 characters long")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise invalid("webhookUrl", "field is not a valid URL")
    if not isinstance(event_type, str) or event_type not in events.EVENT_TYPES:
        raise Refused(400, {"errorMessage": f"The event type {event_type} is not supported."})
    account = call.account
    made = Registration(
        id=account.new_webhook_id(),
        name=name,
        url=url,
        event_type=event_type,
        campaign_ids=_scope(call, event_type),
        is_active=call.body.get("isActive") is not False,
    )
    account.registrations.append(made)  # a second one of the same type and URL is not prevented
    match call.created:
        case Created.ID:
            return {"webhookId": made.id}
        case Created.OBJECT:
            return _webhook(made)
        case Created.NOTHING:
            return None


async def list_webhooks(call: Call) -> object:
    return page(call, [_webhook(made) for made in call.account.registrations])


async def get_webhook(call: Call) -> object:
    return _webhook(_registration(call))


async def update_webhook(call: Call) -> object:
    made, body = _registration(call), call.body
    if body.get("webhookName") is not None:
        made.name = str(body["webhookName"])
    if body.get("webhookUrl") is not None:
        made.url = str(body["webhookUrl"])
    if body.get("isActive") is not None:
        made.is_active = body["isActive"] is True
    if body.get("campaignIds") is not None:
        made.campaign_ids = _scope(call, made.event_type)
    return None


async def delete_webhook(call: Call) -> object:
    call.account.registrations.remove(_registration(call))
    return None


def _registration(call: Call) -> Registration:
    wanted = call.query_number("webhookId")
    found = next((made for made in call.account.registrations if made.id == wanted), None)
    if found is None:
        raise Refused(404)
    return found


def _scope(call: Call, event_type: str) -> list[int]:
    wanted = call.body.get("campaignIds") or []
    if not isinstance(wanted, list) or not all(isinstance(one, int) for one in wanted):
        raise invalid("campaignIds", "field is not a list of ids")
    return [] if event_type in events.OF_THE_WORKSPACE else wanted


def _webhook(made: Registration) -> Row:
    return {
        "id": made.id,
        "webhookName": made.name,
        "webhookUrl": made.url,
        "eventType": made.event_type,
        "campaignIds": made.campaign_ids,
        "isActive": made.is_active,
    }
