"""The simulated API: an ASGI app for any number of accounts, told apart by their keys.

As strict as the real one where its strictness was seen, and as odd: no single error shape, an HTML 404 for an unknown
route, 200 with `{}` for an unknown campaign.
"""

from __future__ import annotations

import asyncio
import html
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import format_datetime

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from libs import clock
from libs.providers.simulation import FaultKind, Faults, SlidingWindow
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator import resources
from libs.providers.smartlead.simulator.model import Account, Campaign, Registration
from libs.providers.smartlead.simulator.simulator import SmartleadSimulator

PREFIX = "/api/v1"
STATISTICS_CAP = 1000
ROSTER_CAP = 100


class _Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class _Call:
    """An authenticated request; `ids` are those in its path."""

    simulator: SmartleadSimulator
    request: Request
    ids: Mapping[str, str]

    @property
    def account(self) -> Account:
        return self.simulator.account

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query_params

    def campaign(self) -> Campaign | None:
        return self.account.campaign(self.ids["campaign"])


class SmartleadApp:
    """The ASGI app. `faults` makes next calls fail; `calls` lists every call as "GET /campaigns", queries left out."""

    def __init__(self, simulators: Iterable[SmartleadSimulator], *, limit: SlidingWindow | None) -> None:
        self.simulators = {simulator.api_key: simulator for simulator in simulators}
        self.faults = Faults()
        self.calls: list[str] = []
        self._limit = limit

    def add(self, simulator: SmartleadSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path.rstrip("/").removeprefix(PREFIX) or "/"  # a slash at the end makes no other route
        self.calls.append(f"{request.method} {path}")
        fault = self.faults.take(path)
        key = request.query_params.get("api_key", "")
        if fault is not None:
            response = await self._fail(fault)
        else:
            response = self._limited(key) or await self._route(request, path, key)
        response.headers["date"] = format_datetime(clock.now(), usegmt=True)
        self._tell_limit(response, key)
        return response

    async def _route(self, request: Request, path: str, key: str) -> Response:
        for method, pattern, handle in _ROUTES if request.url.path.startswith(PREFIX) else ():
            found = pattern.fullmatch(path)
            if found is None or method != request.method:
                continue
            try:
                return _json(await handle(_Call(self._account(key), request, found.groupdict())))
            except _Refused as refusal:
                return _json(refusal.body, refusal.status)
        title = html.escape(f"Cannot {request.method} {request.url.path}")
        return HTMLResponse(f"<!DOCTYPE html><html><body><pre>{title}</pre></body></html>", 404)

    def _account(self, key: str) -> SmartleadSimulator:
        if not key:
            raise _Refused(401, {"message": "API key is required."})
        simulator = self.simulators.get(key)
        if simulator is None:
            raise _Refused(401, {"message": "Invalid API Key"})
        return simulator

    def _limited(self, key: str) -> Response | None:
        if self._limit is None:
            return None
        if self._limit.take(key):
            return None
        return _rate_limited(math.ceil(self._limit.free_in_seconds(key)), with_hint=True)

    def _tell_limit(self, response: Response, key: str) -> None:
        if self._limit is None:
            return
        response.headers["x-ratelimit-limit"] = str(self._limit.limit)
        response.headers["x-ratelimit-remaining"] = str(self._limit.left(key))
        response.headers["x-ratelimit-reset"] = str(math.ceil(time.time() + self._limit.free_in_seconds(key)))

    async def _fail(self, fault: FaultKind) -> Response:
        match fault:
            case FaultKind.RATE_LIMITED:
                return _rate_limited(self.faults.retry_after_seconds, with_hint=True)
            case FaultKind.RATE_LIMITED_WITHOUT_HINT:
                return _rate_limited(30, with_hint=False)
            case FaultKind.RATE_LIMITED_PAGE:
                return HTMLResponse("<html><body>Too many requests</body></html>", 429)
            case FaultKind.SERVER_ERROR:
                return _json({"error": "Internal Server Error"}, 500)
            case FaultKind.PAGE:
                return HTMLResponse("<html><body>We will be back soon</body></html>", 200)
            case FaultKind.EMPTY:
                return Response(b"", 200)
            case FaultKind.HANGS:
                await asyncio.sleep(self.faults.hang_seconds)
                return Response(b"", 504)


def smartlead_app(*simulators: SmartleadSimulator, calls_per_minute: int | None = None) -> SmartleadApp:
    """The API of these accounts, under /api/v1; unlimited without `calls_per_minute` (60 is what one page promises)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return SmartleadApp(simulators, limit=limit)


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to stop; servers want to hear it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _list_campaigns(call: _Call) -> object:
    client_id = call.query.get("client_id")
    return [
        resources.campaign(call.account, campaign, call.simulator.now)
        for campaign in call.account.campaigns
        if client_id is None or str(campaign.client_id) == client_id
    ]


async def _get_campaign(call: _Call) -> object:
    found = call.campaign()
    return resources.campaign(call.account, found, call.simulator.now) if found is not None else {}


async def _get_sequences(call: _Call) -> object:
    found = call.campaign()
    return resources.sequences(found) if found is not None else {}


async def _get_statistics(call: _Call) -> object:
    mail_status = call.query.get("email_status")
    if mail_status is not None and mail_status not in resources.MAIL_STATUSES:
        raise _joi("query", "email_status", f"must be one of [{', '.join(resources.MAIL_STATUSES)}]")
    step = call.query.get("email_sequence_number")
    found = call.campaign()
    if found is None:
        return {}
    return resources.statistics(
        found,
        offset=_number(call, "offset", default=0, least=0),
        limit=_number(call, "limit", default=100, least=1, most=STATISTICS_CAP),
        step_number=_number(call, "email_sequence_number", default=1, least=1, most=20) if step else None,
        mail_status=mail_status,
    )


async def _get_roster(call: _Call) -> object:
    found = call.campaign()
    if found is None:
        return {}
    limit = _number(call, "limit", default=ROSTER_CAP, least=1, most=ROSTER_CAP)
    return resources.roster(found, offset=_number(call, "offset", default=0, least=0), limit=limit)


async def _find_lead(call: _Call) -> object:
    return resources.lead_by_address(call.account, call.query.get("email", ""))


async def _get_history(call: _Call) -> object:
    found = call.campaign()
    return resources.message_history(found, call.ids["lead"]) if found is not None else {}


async def _get_categories(call: _Call) -> object:
    return resources.categories(call.account)


async def _get_clients(call: _Call) -> object:
    return resources.clients(call.account)


async def _get_mailboxes(call: _Call) -> object:
    return resources.mailboxes(call.account)


async def _create_webhook(call: _Call) -> object:
    body = await _body(call.request)
    known = {
        "name": str,
        "webhook_url": str,
        "association_type": str,
        "email_campaign_id": int,
        "client_id": int,
        "event_type_map": dict,
        "category_id_map": dict,
        "force_create": bool,
    }
    for name, value in body.items():
        if name not in known:
            raise _joi("body", name, "is not allowed")
        if value is not None and not isinstance(value, known[name]):
            raise _joi("body", name, "must be of type " + {str: "string", int: "number"}.get(known[name], "object"))
    for name in ("name", "webhook_url", "association_type", "event_type_map"):
        if not body.get(name):
            raise _joi("body", name, "is required")
    if body["association_type"] not in ("user", "client", "campaign"):
        raise _joi("body", "association_type", "must be one of [user, client, campaign]")
    event_types = body["event_type_map"]
    assert isinstance(event_types, dict)
    wrong = [name for name in event_types if name not in events.EVENT_TYPES]
    if wrong:  # one wrong name refuses them all
        raise _Refused(400, {"error": f"Invalid event_types - {', '.join(wrong)}"})
    account = call.account
    made = Registration(
        id=account.webhook_id + len(account.registrations),
        name=str(body["name"]),
        url=str(body["webhook_url"]),
        event_types=tuple(name for name, wanted in event_types.items() if wanted),
        created_at=clock.now(),
    )
    account.registrations.append(made)  # a second one of the same URL is not prevented
    return {"ok": True, "id": made.id, "webhook_url": made.url}


async def _get_webhook(call: _Call) -> object:
    found = next((made for made in call.account.registrations if str(made.id) == call.ids["webhook"]), None)
    return {"ok": True, "data": resources.registration(found)} if found is not None else {}


async def _delete_webhook(call: _Call) -> object:
    registrations = call.account.registrations
    registrations[:] = [made for made in registrations if str(made.id) != call.ids["webhook"]]
    return {"ok": True}


_Handle = Callable[[_Call], Awaitable[object]]
_ROUTES: tuple[tuple[str, re.Pattern[str], _Handle], ...] = (
    ("GET", re.compile(r"/campaigns"), _list_campaigns),
    ("GET", re.compile(r"/campaigns/(?P<campaign>\d+)"), _get_campaign),
    ("GET", re.compile(r"/campaigns/(?P<campaign>\d+)/sequences"), _get_sequences),
    ("GET", re.compile(r"/campaigns/(?P<campaign>\d+)/statistics"), _get_statistics),
    ("GET", re.compile(r"/campaigns/(?P<campaign>\d+)/leads"), _get_roster),
    ("GET", re.compile(r"/campaigns/(?P<campaign>\d+)/leads/(?P<lead>\d+)/message-history"), _get_history),
    ("GET", re.compile(r"/leads"), _find_lead),
    ("GET", re.compile(r"/leads/fetch-categories"), _get_categories),
    ("GET", re.compile(r"/client"), _get_clients),
    ("GET", re.compile(r"/email-accounts"), _get_mailboxes),
    ("POST", re.compile(r"/webhook/create"), _create_webhook),
    ("GET", re.compile(r"/webhook/(?P<webhook>\d+)"), _get_webhook),
    ("DELETE", re.compile(r"/webhook/delete/(?P<webhook>\d+)"), _delete_webhook),
)


async def _body(request: Request) -> dict[str, object]:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise _joi("body", "value", "must be of type object")
    return body


def _number(call: _Call, name: str, *, default: int, least: int, most: int | None = None) -> int:
    text = call.query.get(name)
    if text is None or text == "":
        return default
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise _joi("query", name, "must be a number")
    value = int(text)
    if value < least:
        raise _joi("query", name, f"must be larger than or equal to {least}")
    if (
        most is not None and value > most
    ):  # whether the real one refuses or cuts is not known; refusing shows the mistake
        raise _joi("query", name, f"must be less than or equal to {most}")
    return value


def _joi(source: str, name: str, problem: str) -> _Refused:
    message, validation = f'"{name}" {problem}', {"source": source, "keys": [name]}
    body = {"statusCode": 400, "error": "Bad Request", "message": message, "validation": validation}
    return _Refused(400, body)


def _rate_limited(seconds: int, *, with_hint: bool) -> Response:
    text = f"Too many requests. Please retry after {seconds} seconds."
    error: dict[str, object] = {"code": "RATE_LIMIT_EXCEEDED", "message": text, "retry_after": seconds}
    response = _json({"error": error}, 429)
    if with_hint:
        response.headers["retry-after"] = str(seconds)
    return response


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json; charset=utf-8")
