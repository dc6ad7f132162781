"""The simulated API: an ASGI app for any number of workspaces, told apart by their keys.

As odd as the real one where its oddity was seen: reads by POST, drafts that GetById denies, empty answers, two shapes of
errors, an organization's key refused with 200, no rate-limit header anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from enum import StrEnum

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from libs import clock
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.model import Account, Campaign, Registration
from libs.providers.heyreach.simulator.payloads import instant
from libs.providers.heyreach.simulator.simulator import HeyReachSimulator
from libs.providers.simulation import FaultKind, Faults, SlidingWindow

PREFIX = "/api/public"
PAGE = 100
STATS_LAG = timedelta(minutes=5)  # progressStats follow what happens by minutes


class Created(StrEnum):
    """What CreateWebhook answers: sources disagree."""

    ID = "id"
    OBJECT = "object"
    NOTHING = "nothing"


class _Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class _Call:
    """An authenticated request and its body, {} without one. Members that nobody asks for are ignored."""

    simulator: HeyReachSimulator
    request: Request
    body: Mapping[str, object]
    created: Created

    @property
    def account(self) -> Account:
        return self.simulator.account

    def query_number(self, name: str) -> int:
        text = self.request.query_params.get(name, "")
        if not text.isdigit():
            raise _invalid(name, "field is required")
        return int(text)

    def number(self, name: str, default: int, most: int | None = None) -> int:
        value = self.body.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0 or (most is not None and value > most):
            raise _invalid(name, "field is out of range")
        return value


class HeyReachApp:
    """The ASGI app. `faults` makes next calls fail; `calls` lists every call as "POST /campaign/GetAll"."""

    def __init__(
        self,
        simulators: Iterable[HeyReachSimulator],
        *,
        limit: SlidingWindow | None,
        organization_keys: Iterable[str],
        created: Created,
    ) -> None:
        self.simulators = {simulator.api_key: simulator for simulator in simulators}
        self.faults = Faults()
        self.calls: list[str] = []
        self._limit = limit
        self._organization_keys = frozenset(organization_keys)
        self._created = created

    def add(self, simulator: HeyReachSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PREFIX)
        self.calls.append(f"{request.method} {path}")
        key = request.headers.get("x-api-key", "")
        fault = self.faults.take(path)
        if fault is not None:
            response = await self._fail(fault)
        elif self._limit is not None and not self._limit.take(key):
            response = Response(b"", 429)
        else:
            response = await self._route(request, path, key)
        response.headers["date"] = format_datetime(clock.now(), usegmt=True)
        return response

    async def _route(self, request: Request, path: str, key: str) -> Response:
        if key in self._organization_keys:
            return PlainTextResponse("The provided API key is not a workspace-level key.")
        simulator = self.simulators.get(key)
        if simulator is None:  # a Bearer header too
            return Response(b"", 401)
        methods = _ROUTES.get(path, {}) if request.url.path.startswith(PREFIX) else {}
        if not methods:
            return Response(b"", 404)
        handle = methods.get(request.method)
        if handle is None:
            return Response(b"", 405)
        try:
            call = _Call(simulator, request, await _body(request), self._created)
            return _json(await handle(call))
        except _Refused as refusal:
            return _json(refusal.body, refusal.status)

    async def _fail(self, fault: FaultKind) -> Response:
        match fault:
            case FaultKind.RATE_LIMITED:  # nobody has seen the hint, some clients look for it
                return Response(b"", 429, headers={"retry-after": str(self.faults.retry_after_seconds)})
            case FaultKind.RATE_LIMITED_WITHOUT_HINT:
                return Response(b"", 429)
            case FaultKind.RATE_LIMITED_PAGE:
                return HTMLResponse("<html><body>Too many requests</body></html>", 429)
            case FaultKind.SERVER_ERROR:
                return Response(b"", 500)
            case FaultKind.PAGE:
                return HTMLResponse("<html><body>We will be back soon</body></html>", 200)
            case FaultKind.EMPTY:
                return Response(b"", 200)
            case FaultKind.HANGS:
                await asyncio.sleep(self.faults.hang_seconds)
                return Response(b"", 504)


def heyreach_app(
    *simulators: HeyReachSimulator,
    calls_per_minute: int | None = None,
    organization_keys: Iterable[str] = (),
    created: Created = Created.ID,
) -> HeyReachApp:
    """The API of these workspaces, under /api/public; unlimited without `calls_per_minute` (the real one allows 300)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return HeyReachApp(simulators, limit=limit, organization_keys=organization_keys, created=created)


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to stop; servers want to hear it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _check_key(_: _Call) -> object:
    return None


async def _list_campaigns(call: _Call) -> object:
    wanted = call.body.get("statuses")
    found = [_campaign(call, campaign) for campaign in call.account.campaigns]
    if isinstance(wanted, list) and wanted:
        found = [campaign for campaign in found if campaign["status"] in wanted]
    return _page(call, found)


async def _get_campaign(call: _Call) -> object:
    found = call.account.campaign(str(call.query_number("campaignId")))
    if found is None or found.status_at(call.simulator.now) == "DRAFT":
        raise _Refused(404, {"errorMessage": "There is no campaign with provided id."})
    return _campaign(call, found)


def _campaign(call: _Call, campaign: Campaign) -> dict[str, object]:
    now = call.simulator.now
    begun = sum(at <= now - STATS_LAG for at, _ in campaign.leads)
    threads = [thread for thread in call.account.threads if thread.campaign_id == campaign.id]
    answered = sum(any(said.is_reply for said in thread.said) for thread in threads)
    stats = {
        "totalUsers": begun,
        # Counted by lists that lag apart: it has been seen below zero.
        "totalUsersInProgress": begun - answered - len(threads),
        "totalUsersPending": 0,
        "totalUsersFinished": answered,
        "totalUsersFailed": 0,
        "totalUsersManuallyStopped": 0,
        "totalUsersExcluded": 0,
    }
    return {
        "id": campaign.id,
        "name": campaign.name,
        "creationTime": instant(campaign.created_at),
        "linkedInUserListName": campaign.list_name,
        "linkedInUserListId": campaign.list_id,
        "campaignAccountIds": [sender.id for sender in campaign.senders],
        "status": campaign.status_at(now),
        "progressStats": stats,
        "excludeInOtherCampaigns": False,
        "excludeHasOtherAccConversations": False,
        "excludeContactedFromSenderInOtherCampaign": False,
        "excludeListId": None,
        "organizationUnitId": call.account.organization_unit_id,
    }


async def _list_senders(call: _Call) -> object:
    return _page(
        call,
        [
            {
                "id": sender.id,
                "emailAddress": sender.address,
                "firstName": sender.first_name,
                "lastName": sender.last_name,
                "isActive": True,
                "activeCampaigns": sum(sender in campaign.senders for campaign in call.account.campaigns),
                "authIsValid": True,
                "isValidNavigator": False,
                "isValidRecruiter": False,
            }
            for sender in call.account.senders
        ],
    )


async def _create_webhook(call: _Call) -> object:
    name, url, event_type = (call.body.get(field) for field in ("webhookName", "webhookUrl", "eventType"))
    if not isinstance(name, str) or not 3 <= len(name) <= 25:
        raise _invalid("webhookName", "field must be between 3 and 25 characters long")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise _invalid("webhookUrl", "field is not a valid URL")
    if not isinstance(event_type, str) or event_type not in events.EVENT_TYPES:
        raise _Refused(400, {"errorMessage": f"The event type {event_type} is not supported."})
    account = call.account
    made = Registration(
        id=account.first_webhook_id + len(account.registrations),
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


async def _list_webhooks(call: _Call) -> object:
    return _page(call, [_webhook(made) for made in call.account.registrations])


async def _get_webhook(call: _Call) -> object:
    return _webhook(_registration(call))


async def _update_webhook(call: _Call) -> object:
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


async def _delete_webhook(call: _Call) -> object:
    call.account.registrations.remove(_registration(call))
    return None


def _registration(call: _Call) -> Registration:
    wanted = call.query_number("webhookId")
    found = next((made for made in call.account.registrations if made.id == wanted), None)
    if found is None:
        raise _Refused(404)
    return found


def _scope(call: _Call, event_type: str) -> list[int]:
    wanted = call.body.get("campaignIds") or []
    if not isinstance(wanted, list) or not all(isinstance(one, int) for one in wanted):
        raise _invalid("campaignIds", "field is not a list of ids")
    return [] if event_type in events.OF_THE_WORKSPACE else wanted


def _webhook(made: Registration) -> dict[str, object]:
    return {
        "id": made.id,
        "webhookName": made.name,
        "webhookUrl": made.url,
        "eventType": made.event_type,
        "campaignIds": made.campaign_ids,
        "isActive": made.is_active,
    }


_Handle = Callable[[_Call], Awaitable[object]]
_ROUTES: dict[str, dict[str, _Handle]] = {
    "/auth/CheckApiKey": {"GET": _check_key},
    "/campaign/GetAll": {"POST": _list_campaigns},
    "/campaign/GetById": {"GET": _get_campaign},
    "/li_account/GetAll": {"POST": _list_senders},
    "/webhooks/CreateWebhook": {"POST": _create_webhook},
    "/webhooks/GetAllWebhooks": {"POST": _list_webhooks},
    "/webhooks/GetWebhookById": {"GET": _get_webhook},
    "/webhooks/UpdateWebhook": {"PATCH": _update_webhook},
    "/webhooks/DeleteWebhook": {"DELETE": _delete_webhook},
}


async def _body(request: Request) -> Mapping[str, object]:
    text = await request.body()
    if not text:
        return {}
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise _invalid("body", "field is required")
    return body


def _page(call: _Call, rows: list[dict[str, object]]) -> object:
    offset, limit = call.number("offset", 0), call.number("limit", PAGE, PAGE)
    return {"totalCount": len(rows), "items": rows[offset : offset + limit]}


def _invalid(name: str, problem: str) -> _Refused:
    """ASP.NET's way to say so: it writes fields in PascalCase though they came in camelCase."""
    field = name[0].upper() + name[1:]
    errors = {field: [f"The {field} {problem}."]}
    return _Refused(400, {"title": "One or more validation errors occurred.", "status": 400, "errors": errors})


def _json(value: object, status: int = 200) -> Response:
    if value is None:
        return Response(b"", status)
    return Response(orjson.dumps(value), status, media_type="application/json; charset=utf-8")
