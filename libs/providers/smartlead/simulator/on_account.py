"""The account by call: its webhooks on three levels, its clients, its mailboxes."""

from __future__ import annotations

from collections.abc import Iterable

from libs.providers.simulation.faults import cut
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator import resources
from libs.providers.smartlead.simulator.joi import Key, no, number, refusal
from libs.providers.smartlead.simulator.model import CATEGORIES, Client, Mailbox, Registration
from libs.providers.smartlead.simulator.routing import Call, Route, done, route

MAILBOXES_CAP = 100
_IDS = {name: number for number, name, _ in CATEGORIES}
_CREATE = {
    "name": Key(str, required=True),
    "webhook_url": Key(str, required=True),
    "association_type": Key(str, required=True, one_of=("user", "client", "campaign")),
    "email_campaign_id": Key(int),
    "client_id": Key(int),
    "event_type_map": Key(dict, required=True),
    "category_id_map": Key(dict),
    "force_create": Key(bool),
}
_OF_CAMPAIGN = {
    "id": Key(int),
    "name": Key(str, required=True),
    "webhook_url": Key(str, required=True),
    "event_types": Key(list, required=True),
    "categories": Key(list),
}
_CLIENT = {
    "name": Key(str, required=True),
    "email": Key(str, required=True),
    "permission": Key(list, required=True),
    "logo": Key(str),
    "logo_url": Key(str),
    "password": Key(str, required=True),
}
_MAILBOX = {
    "id": Key(int),
    "from_name": Key(str, required=True),
    "from_email": Key(str, required=True),
    "user_name": Key(str),
    "password": Key(str, required=True),
    "smtp_host": Key(str),
    "smtp_port": Key(int),
    "imap_host": Key(str),
    "imap_port": Key(int),
    "max_email_per_day": Key(int),
    "client_id": Key(int),
}


async def _create(call: Call) -> object:
    """A second one of the same address is not prevented."""
    body = await call.body(_CREATE)
    wanted, categories = body["event_type_map"], body.get("category_id_map")
    assert isinstance(wanted, dict)
    if not wanted:
        raise refusal("body", "event_type_map", "is required")
    made = Registration(
        id=call.account.webhook_id + next(call.account.ids),
        name=str(body["name"]),
        url=str(body["webhook_url"]),
        event_types=_known(name for name, is_wanted in wanted.items() if is_wanted or name not in events.EVENT_TYPES),
        created_at=call.simulator.now,
        scope=str(body["association_type"]),
        client_id=_id(body.get("client_id")),
        campaign_id=_id(body.get("email_campaign_id")),
        categories=tuple(int(name) for name, is_wanted in categories.items() if is_wanted)
        if isinstance(categories, dict)
        else (),
    )
    call.account.registrations.append(made)
    return {"ok": True, "id": made.id, "webhook_url": made.url}


async def _get(call: Call) -> object:
    found = _registration(call)
    return {"ok": True, "data": resources.registration(found)} if found is not None else {}


async def _delete(call: Call) -> object:
    found = _registration(call)
    if found is None:
        raise no("Webhook not found - Invalid webhook id.", 404)
    call.account.registrations.remove(found)
    return done()


def _registration(call: Call) -> Registration | None:
    wanted = call.ids["webhook"]
    return next((made for made in call.account.registrations if str(made.id) == wanted), None)


async def _list_of_campaign(call: Call) -> object:
    found = call.campaign()
    if found is None:
        return {}
    return [resources.registration_row(one) for one in call.account.registrations if one.campaign_id == found.id]


async def _save_of_campaign(call: Call) -> object:
    """With an id it changes that one. An empty list of categories is refused; none at all passes."""
    body = await call.body(_OF_CAMPAIGN)
    campaign = call.campaign_to_change()
    types, categories = body["event_types"], body.get("categories")
    assert isinstance(types, list)
    if categories == []:
        raise refusal("body", "categories", "does not contain 1 required value(s)")
    known = [one for one in call.account.registrations if one.campaign_id == campaign.id]
    made = next((one for one in known if one.id == body.get("id")), None)
    if made is None:
        if body.get("id") is not None:
            raise no("Webhook not found - Invalid webhook id.", 404)
        made = Registration(
            call.account.webhook_id + next(call.account.ids), "", "", (), call.simulator.now, "campaign"
        )
        made.campaign_id = campaign.id
        call.account.registrations.append(made)
    made.name, made.url = str(body["name"]), str(body["webhook_url"])
    made.event_types = _known(str(name) for name in types)
    names = categories if isinstance(categories, list) else list(_IDS)
    made.categories = tuple(_IDS[name] for name in names if name in _IDS)
    return resources.registration_echo(made)


async def _delete_of_campaign(call: Call) -> object:
    """The id is in the body, which a DELETE has here."""
    body = await call.body({"id": Key(int, required=True)})
    campaign = call.campaign_to_change()
    found = [one for one in call.account.registrations if one.campaign_id == campaign.id and one.id == body["id"]]
    if not found:
        raise no("Webhook not found - Invalid webhook id.", 404)
    call.account.registrations.remove(found[0])
    return done()


def _known(names: Iterable[str]) -> tuple[str, ...]:
    """One wrong name refuses them all."""
    wanted = tuple(names)
    wrong = [name for name in wanted if name not in events.EVENT_TYPES]
    if wrong:
        raise no(f"Invalid event_types - {', '.join(wrong)}")
    return wanted


async def _list_clients(call: Call) -> object:
    return [resources.client(call.account, client) for client in call.account.clients]


async def _save_client(call: Call) -> object:
    """Answers with the password that it was given."""
    body = await call.body(_CLIENT)
    address = str(body["email"])
    if address in {client.email for client in call.account.clients}:
        message = f"Client with {address} already exist in the system. Please contact support over chat/email."
        raise no_message(message)
    made = Client(next(call.account.ids), str(body["name"]), address, call.simulator.now)
    permission = body["permission"]
    assert isinstance(permission, list)
    made.permission = [str(one) for one in permission]
    call.account.clients.append(made)
    return {"ok": True, "clientId": made.id, "name": made.name, "email": address, "password": body["password"]}


async def _list_mailboxes(call: Call) -> object:
    offset = number(call.query, "offset", default=0)
    limit = number(call.query, "limit", default=MAILBOXES_CAP, least=1, most=MAILBOXES_CAP)
    return [resources.mailbox(one) for one in cut(call.account.mailboxes, offset, limit, call.page_fault)]


async def _get_mailbox(call: Call) -> object:
    found = next((one for one in call.account.mailboxes if str(one.id) == call.ids["mailbox"]), None)
    return resources.mailbox(found) if found is not None else {}


async def _save_mailbox(call: Call) -> object:
    body = await call.body(_MAILBOX)
    address = str(body["from_email"])
    if address in {one.address for one in call.account.mailboxes}:
        raise no_message(
            "Email account already exists!", ok=False, errorCode="ACCOUNT_ALREADY_EXIST", emailAccountId=body.get("id")
        )
    made = Mailbox(next(call.account.ids), str(body["from_name"]), address, str(body["password"]))
    call.account.mailboxes.append(made)
    return {
        "ok": True,
        "message": "Email account added/updated successfully!",
        "emailAccountId": made.id,
        "warmupKey": "apple-keyes",
    }


def no_message(message: str, **more: object) -> Exception:
    """Some parts of the API say their no under `message`."""
    refused = no("")
    refused.body = {**more, "message": message}
    return refused


def _id(value: object) -> int | None:
    return value if isinstance(value, int) else None


ROUTES: tuple[Route, ...] = (
    route("POST", "/webhook/create", _create),
    route("GET", "/webhook/{webhook}", _get),
    route("DELETE", "/webhook/delete/{webhook}", _delete),
    route("GET", "/campaigns/{campaign}/webhooks", _list_of_campaign),
    route("POST", "/campaigns/{campaign}/webhooks", _save_of_campaign),
    route("DELETE", "/campaigns/{campaign}/webhooks", _delete_of_campaign),
    route("GET", "/client", _list_clients),
    route("POST", "/client/save", _save_client),
    route("GET", "/email-accounts", _list_mailboxes),
    route("GET", "/email-accounts/{mailbox}", _get_mailbox),
    route("POST", "/email-accounts/save", _save_mailbox),
)
