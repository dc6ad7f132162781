"""The simulated API: an ASGI app for any number of workspaces, told apart by their tokens.

As odd as the real one where its oddities were seen: three error shapes, pages of 15 whatever is wished, filters in the
body of a GET, a 200 that means no. Where reports differ, `Habits` decides.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import unquote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from libs import clock
from libs.providers.emailbison import events
from libs.providers.emailbison.simulator import resources
from libs.providers.emailbison.simulator.model import Account, Campaign, Lead, Registration, whole_second
from libs.providers.emailbison.simulator.resources import Resource
from libs.providers.emailbison.simulator.simulator import EmailBisonSimulator
from libs.providers.simulation import FaultKind, Faults, SlidingWindow

PREFIX = "/api"
ROWS = 15
MOST_ROWS = 100
LAST_PAGE_SERVED = 500


@dataclass(slots=True, kw_only=True)
class Habits:
    """What instances and reports differ in."""

    honours_per_page: bool = False  # else only the replies do, by cursor
    has_cursors: bool = True  # since 2026
    title_case_statuses: bool = False  # "Active", as documented; the wire says "active"
    team: str = "team"  # or "workspace"
    has_v11_steps: bool = True
    tells_bounce: bool = False  # in the status of the scheduled e-mail
    has_event_types: bool = True


class _Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class _Call:
    """An authenticated request; `ids` are those in its path, `given` its query and then its body: also a GET has one."""

    app: EmailBisonApp
    simulator: EmailBisonSimulator
    path: str
    ids: Mapping[str, str]
    given: Mapping[str, object]

    @property
    def account(self) -> Account:
        return self.simulator.account

    @property
    def habits(self) -> Habits:
        return self.app.habits

    def text(self, name: str) -> str:
        value = self.given.get(name)
        return str(value) if isinstance(value, str | int) else ""

    def campaign(self) -> Campaign:
        wanted = self.ids["campaign"]
        found = self.account.campaign(wanted)
        if found is not None:
            return found
        if any(other.account.campaign(wanted) for other in self.app.simulators.values()):
            raise _wrapped(
                403, "This action is unauthorized. The api key does not match the workspace the record is on."
            )
        raise _missing("campaign", wanted)

    def lead(self) -> Lead:
        wanted = unquote(self.ids["lead"])
        found = self.account.lead(wanted)
        if found is None:
            raise _missing("lead", wanted)
        return found


class EmailBisonApp:
    """The ASGI app. `faults` makes next calls fail; `calls` lists every call as "GET /campaigns", queries left out.

    A call in `lost_answers` (written so too) is done, once, and answered with a 502.
    """

    def __init__(
        self, simulators: Iterable[EmailBisonSimulator], *, limit: SlidingWindow | None, habits: Habits
    ) -> None:
        self.simulators = {simulator.api_key: simulator for simulator in simulators}
        self.faults = Faults()
        self.habits = habits
        self.calls: list[str] = []
        self.lost_answers: list[str] = []
        self._limit = limit

    def add(self, simulator: EmailBisonSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path.rstrip("/").removeprefix(PREFIX) or "/"
        self.calls.append(f"{request.method} {path}")
        fault = self.faults.take(path)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        response: Response
        if f"{request.method} {path}" in self.lost_answers:
            self.lost_answers.remove(f"{request.method} {path}")
            await self._route(request, path, token)
            response = _json({"message": "Server Error"}, 502)
        elif fault is not None:
            response = await self._fail(fault)
        elif self._limit is not None and not self._limit.take(token):
            response = _rate_limited(int(self._limit.free_in_seconds(token)) + 1)
        else:
            response = await self._route(request, path, token)
        response.headers["date"] = format_datetime(clock.now(), usegmt=True)
        return response

    async def _route(self, request: Request, path: str, token: str) -> Response:
        simulator = self.simulators.get(token)
        if simulator is None:
            return _json({"message": "Unauthenticated."}, 401)
        verbs: list[str] = []
        for method, pattern, handle in _ROUTES if request.url.path.startswith(PREFIX) else ():
            found = pattern.fullmatch(path)
            if found is None:
                continue
            verbs.append(method)
            if method != request.method:
                continue
            try:
                given = {**await _body(request), **request.query_params}
                status, body = await handle(_Call(self, simulator, path, found.groupdict(), given))
                return _json(body, status)
            except _Refused as refusal:
                return _json(refusal.body, refusal.status)
        route = request.url.path.strip("/")
        if verbs:
            message = f"The {request.method} method is not supported for route {route}. Supported methods: "
            no = _wrapped(405, message + f"{', '.join(verbs)}.")
        else:
            no = _wrapped(404, f"The route {route} could not be found.", record_not_found=None)
        return _json(no.body, no.status)

    async def _fail(self, fault: FaultKind) -> Response:
        match fault:
            case FaultKind.RATE_LIMITED:
                return _rate_limited(self.faults.retry_after_seconds)
            case FaultKind.RATE_LIMITED_WITHOUT_HINT:
                return _rate_limited(None)
            case FaultKind.RATE_LIMITED_PAGE:
                return HTMLResponse("<html><body>Too many requests</body></html>", 429)
            case FaultKind.SERVER_ERROR:
                return _json({"message": "Server Error"}, 500)
            case FaultKind.PAGE:
                return HTMLResponse("<html><body>We will be back soon</body></html>", 200)
            case FaultKind.HANGS:
                await asyncio.sleep(self.faults.hang_seconds)
                return Response(b"", 504)
            case FaultKind.EMPTY:
                return Response(b"", 200)


def emailbison_app(
    *simulators: EmailBisonSimulator, calls_per_minute: int | None = None, habits: Habits | None = None
) -> EmailBisonApp:
    """The API of these workspaces, under /api; unlimited without `calls_per_minute` (3,000 are told)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return EmailBisonApp(simulators, limit=limit, habits=habits or Habits())


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to stop; servers want to hear it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


_Answer = tuple[int, object]


async def _get_user(call: _Call) -> _Answer:
    return 200, {"data": resources.user(call.account, team=call.habits.team)}


async def _list_workspaces(call: _Call) -> _Answer:
    return 200, {"data": [resources.workspace(call.account)]}


async def _list_campaigns(call: _Call) -> _Answer:
    wanted = call.text("status")
    rows = [
        resources.campaign(found, title_case=call.habits.title_case_statuses)
        for found in call.account.campaigns
        if not wanted or found.status == wanted
    ]
    return 200, _paged(call, rows)


async def _get_campaign(call: _Call) -> _Answer:
    found = call.campaign()
    if found.status == "pending deletion":  # until the queue has done it
        return 200, {"data": []}
    return 200, {"data": resources.campaign(found, title_case=call.habits.title_case_statuses)}


async def _get_steps(call: _Call) -> _Answer:
    if not call.habits.has_v11_steps:
        raise _wrapped(404, f"The route api{call.path} could not be found.", record_not_found=None)
    found = _with_steps(call)
    return 200, {"data": {"sequence_id": found.sequence_id, "sequence_steps": resources.sequence_steps(found)}}


async def _get_older_steps(call: _Call) -> _Answer:
    return 200, {"data": resources.older_sequence_steps(_with_steps(call))}


def _with_steps(call: _Call) -> Campaign:
    found = call.campaign()
    if not found.steps:
        raise _wrapped(200, f"Sequence steps do not exist for {found.name}")
    return found


async def _list_campaign_mails(call: _Call) -> _Answer:
    return 200, _paged(call, _mails(call, call.campaign(), None))


async def _list_lead_mails(call: _Call) -> _Answer:
    return 200, _paged(call, _mails(call, None, call.lead()))


async def _list_lead_sent(call: _Call) -> _Answer:
    return 200, _paged(call, [row for row in _mails(call, None, call.lead()) if row["sent_at"] is not None])


def _mails(call: _Call, campaign: Campaign | None, lead: Lead | None) -> list[Resource]:
    wanted = call.text("status")
    rows = [
        resources.scheduled_email(found, enrolment, mail, tells_bounce=call.habits.tells_bounce)
        for found in call.account.campaigns
        if campaign is None or found is campaign
        for enrolment in found.enrolments
        if lead is None or enrolment.lead.id == lead.id
        for mail in enrolment.mails
    ]
    return [row for row in rows if not wanted or row["status"] == wanted]


async def _list_replies(call: _Call) -> _Answer:
    return 200, _paged(call, _replies(call, None, None), is_inbox=True)


async def _list_campaign_replies(call: _Call) -> _Answer:
    return 200, _paged(call, _replies(call, call.campaign(), None), is_inbox=True)


async def _list_lead_replies(call: _Call) -> _Answer:
    return 200, _paged(call, _replies(call, None, call.lead()), is_inbox=True)


def _replies(call: _Call, campaign: Campaign | None, lead: Lead | None) -> list[Resource]:
    """Our own outgoing mail and bounces are among them."""
    folder = call.text("folder")
    filters = {"campaign_id": call.text("campaign_id"), "lead_id": call.text("lead_id")}
    rows = [
        resources.reply(row)
        for row in call.account.inbox
        if (campaign is None or row.campaign is campaign)
        and (lead is None or (row.lead is not None and row.lead.id == lead.id))
        and (folder in ("", "all") or row.folder.lower() == folder)
    ]
    return [row for row in rows if all(not wanted or str(row[name]) == wanted for name, wanted in filters.items())]


async def _get_reply(call: _Call) -> _Answer:
    found = next((row for row in call.account.inbox if str(row.id) == call.ids["reply"]), None)
    if found is None:
        raise _missing("reply", call.ids["reply"])
    return 200, {"data": resources.reply(found)}


async def _list_leads(call: _Call) -> _Answer:
    return 200, _paged(call, [resources.lead(call.account, lead) for lead in call.account.leads.values()])


async def _get_lead(call: _Call) -> _Answer:
    return 200, {"data": resources.lead(call.account, call.lead())}


async def _list_mailboxes(call: _Call) -> _Answer:
    return 200, _paged(call, [resources.sender_email(mailbox) for mailbox in call.account.mailboxes])


async def _list_events(call: _Call) -> _Answer:
    wanted = call.text("type").upper()
    rows = [
        resources.event(number, told)
        for number, told in enumerate(call.simulator.log, start=1)
        if (call.simulator.now - told.at).days < 10 and (not wanted or told.event_type == wanted)
    ]
    return 200, _paged(call, rows)


async def _list_event_types(call: _Call) -> _Answer:
    if not call.habits.has_event_types:
        raise _wrapped(404, f"The route api{call.path} could not be found.", record_not_found=None)
    return 200, {"data": resources.event_types()}


async def _list_webhooks(call: _Call) -> _Answer:
    return 200, {"data": [resources.registration(found) for found in call.account.registrations]}


async def _get_webhook(call: _Call) -> _Answer:
    return 200, {"data": resources.registration(_webhook(call))}


async def _create_webhook(call: _Call) -> _Answer:
    name, url, wanted = _webhook_fields(call)
    now = whole_second(clock.now())
    made = Registration(call.account.new_id("webhooks"), name, url, wanted, now, now)
    call.account.registrations.append(made)  # a second one of the same URL is not prevented
    return 201, {"data": resources.registration(made)}


async def _replace_webhook(call: _Call) -> _Answer:
    found = _webhook(call)
    found.name, found.url, found.event_ids = _webhook_fields(call)
    found.updated_at = whole_second(clock.now())
    return 200, {"data": resources.registration(found)}


async def _delete_webhook(call: _Call) -> _Answer:
    found = _webhook(call)
    call.account.registrations.remove(found)
    return 200, {"data": {"success": True, "message": f"{found.name} webhook url was successfully deleted"}}


def _webhook(call: _Call) -> Registration:
    wanted = call.ids["webhook"]
    found = next((made for made in call.account.registrations if str(made.id) == wanted), None)
    if found is None:
        raise _missing("webhook_url", wanted)
    return found


def _webhook_fields(call: _Call) -> tuple[str, str, tuple[str, ...]]:
    for name in ("name", "url", "events"):
        if not call.given.get(name):
            raise _invalid(name, f"The {name} field is required.")
    wanted = call.given["events"]
    if not isinstance(wanted, list):
        raise _invalid("events", "The events field must be an array.")
    for index, event_id in enumerate(wanted):
        if event_id not in {events.subscription_id(name) for name in events.EVENT_TYPES}:
            raise _invalid(f"events.{index}", f"The selected events.{index} is invalid.")
    return call.text("name"), call.text("url"), tuple(str(event_id) for event_id in wanted)


_Handle = Callable[[_Call], Awaitable[_Answer]]
_LEAD = r"/leads/(?P<lead>[^/]+)"
_CAMPAIGN = r"/campaigns/(?P<campaign>\d+)"
_ROUTES: tuple[tuple[str, re.Pattern[str], _Handle], ...] = (
    ("GET", re.compile(r"/users"), _get_user),
    ("GET", re.compile(r"/workspaces/v1\.1"), _list_workspaces),
    ("GET", re.compile(r"/campaigns"), _list_campaigns),
    ("GET", re.compile(_CAMPAIGN), _get_campaign),
    ("GET", re.compile(r"/campaigns/v1\.1/(?P<campaign>\d+)/sequence-steps"), _get_steps),
    ("GET", re.compile(_CAMPAIGN + "/sequence-steps"), _get_older_steps),
    ("GET", re.compile(_CAMPAIGN + "/scheduled-emails"), _list_campaign_mails),
    ("GET", re.compile(_CAMPAIGN + "/replies"), _list_campaign_replies),
    ("GET", re.compile(r"/leads"), _list_leads),
    ("GET", re.compile(_LEAD), _get_lead),
    ("GET", re.compile(_LEAD + "/scheduled-emails"), _list_lead_mails),
    ("GET", re.compile(_LEAD + "/sent-emails"), _list_lead_sent),
    ("GET", re.compile(_LEAD + "/replies"), _list_lead_replies),
    ("GET", re.compile(r"/replies"), _list_replies),
    ("GET", re.compile(r"/replies/(?P<reply>\d+)"), _get_reply),
    ("GET", re.compile(r"/sender-emails"), _list_mailboxes),
    ("GET", re.compile(r"/events"), _list_events),
    ("GET", re.compile(r"/webhook-events/event-types"), _list_event_types),
    ("GET", re.compile(r"/webhook-url"), _list_webhooks),
    ("POST", re.compile(r"/webhook-url"), _create_webhook),
    ("GET", re.compile(r"/webhook-url/(?P<webhook>\d+)"), _get_webhook),
    ("PUT", re.compile(r"/webhook-url/(?P<webhook>\d+)"), _replace_webhook),
    ("DELETE", re.compile(r"/webhook-url/(?P<webhook>\d+)"), _delete_webhook),
)


def _paged(call: _Call, rows: Sequence[Resource], *, is_inbox: bool = False) -> Resource:
    """The newest first. A cursor names the last row told, so that new ones do not shift what follows it."""
    rows = sorted(rows, key=_id_of, reverse=True)
    wished = min(int(call.text("per_page") or ROWS), MOST_ROWS) if call.text("per_page").isdigit() else ROWS
    by_cursor = call.habits.has_cursors and call.text("pagination_type") == "cursor"
    size = wished if call.habits.honours_per_page or (is_inbox and by_cursor) else ROWS
    address = f"{call.account.instance_url}{PREFIX}{call.path}"
    if by_cursor:
        after = call.text("cursor")
        left = [row for row in rows if not after or _id_of(row) < _read_cursor(after)]
        page = left[:size]
        following = _cursor(page[-1]) if len(left) > size else None
        return {
            "data": page,
            "links": {"first": None, "last": None, "prev": None, "next": _link(address, cursor=following)},
            "meta": {"path": address, "per_page": size, "next_cursor": following, "prev_cursor": None},
        }
    number = int(call.text("page")) if call.text("page").isdigit() else 1
    if number > LAST_PAGE_SERVED:
        raise _wrapped(422, "The page is too deep. Please use a cursor.")
    last = max(1, -(-len(rows) // size))
    page = rows[(number - 1) * size : number * size]
    return {
        "data": page,
        "links": {
            "first": _link(address, page=1),
            "last": _link(address, page=last),
            "prev": _link(address, page=number - 1 if number > 1 else None),
            "next": _link(address, page=number + 1 if number < last else None),
        },
        "meta": {
            "current_page": number,
            "from": (number - 1) * size + 1 if page else None,
            "last_page": last,
            "path": address,
            "per_page": size,
            "to": (number - 1) * size + len(page) if page else None,
            "total": len(rows),
        },
    }


def _id_of(row: Resource) -> int:
    found = row["id"]
    assert isinstance(found, int)
    return found


def _cursor(row: Resource) -> str:
    return base64.urlsafe_b64encode(orjson.dumps({"id": row["id"], "_pointsToNextItems": True})).decode()


def _read_cursor(cursor: str) -> int:
    try:
        return int(orjson.loads(base64.urlsafe_b64decode(cursor))["id"])
    except (ValueError, KeyError, TypeError):
        raise _wrapped(422, "The cursor is invalid.") from None


def _link(address: str, **query: int | str | None) -> str | None:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{address}?{urlencode(given)}" if given else None


async def _body(request: Request) -> dict[str, object]:
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _wrapped(status: int, message: str, **more: object) -> _Refused:
    return _Refused(status, {"data": {"success": False, "message": message, **more}})


def _missing(kind: str, found: str) -> _Refused:
    return _wrapped(404, "Record not found.", record_not_found={kind: found})


def _invalid(name: str, sentence: str) -> _Refused:
    """Laravel's shape of a field that does not pass."""
    return _Refused(422, {"message": sentence, "errors": {name: [sentence]}})


def _rate_limited(seconds: int | None) -> Response:
    response = _json({"message": "Too Many Attempts."}, 429)
    if seconds is not None:
        response.headers["retry-after"] = str(seconds)
    return response


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
