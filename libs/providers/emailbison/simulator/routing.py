"""One call to the simulated API, as its handlers see it: what it names, how it is refused, how lists are cut into pages."""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.providers.emailbison.simulator.model import Account, Campaign, Lead
from libs.providers.emailbison.simulator.resources import Resource
from libs.providers.emailbison.simulator.simulator import EmailBisonSimulator
from libs.providers.simulation import FaultKind
from libs.providers.simulation.faults import cut

if TYPE_CHECKING:
    from libs.providers.emailbison.simulator.api import EmailBisonApp

PREFIX = "/api"
ROWS = 15
MOST_ROWS = 100
LAST_PAGE_SERVED = 500
_FILTER = re.compile(r"^filters\[(\w+)\]$")


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
    single_lead_campaign_data: bool = False  # a campaign's leads as documented: one object; the wire has a list
    drops_kept_out_leads: bool = False  # a mixed batch is attached in part; else it is refused whole


class Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request; `ids` are those in its path, `given` its query and then its body: also a GET has one."""

    app: EmailBisonApp
    simulator: EmailBisonSimulator
    path: str
    ids: Mapping[str, str]
    given: Mapping[str, object]
    page_fault: FaultKind | None = None

    @property
    def account(self) -> Account:
        return self.simulator.account

    @property
    def habits(self) -> Habits:
        return self.app.habits

    def text(self, name: str) -> str:
        value = self.given.get(name)
        return str(value) if isinstance(value, str | int) else ""

    def finds(self, *texts: object) -> bool:
        """Whether one of these holds what is searched for, if something is."""
        wanted = self.text("search").casefold()
        return not wanted or any(wanted in str(text).casefold() for text in texts)

    def numbers(self, name: str) -> list[int]:
        """Ids, at least one."""
        told = self.given.get(name)
        if not isinstance(told, list) or not told:
            raise invalid(name, f"The {name.replace('_', ' ')} field is required.")
        for index, one in enumerate(told):
            if not isinstance(one, int) or isinstance(one, bool):
                raise invalid(f"{name}.{index}", f"The {name}.{index} field must be an integer.")
        return told

    def campaign(self) -> Campaign:
        wanted = self.ids["campaign"]
        found = self.account.campaign(wanted)
        if found is not None:
            return found
        if any(other.account.campaign(wanted) for other in self.app.simulators.values()):
            raise wrapped(
                403, "This action is unauthorized. The api key does not match the workspace the record is on."
            )
        raise missing("campaign", wanted)

    def lead(self) -> Lead:
        wanted = unquote(self.ids["lead"])
        found = self.account.lead(wanted)
        if found is None:
            raise missing("lead", wanted)
        return found


Answer = tuple[int, object]
Handle = Callable[[Call], Awaitable[Answer]]
Route = tuple[str, re.Pattern[str], Handle]


def route(method: str, path: str, handle: Handle) -> Route:
    """`path` names its ids in braces; a lead's may be an address."""
    pattern = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    pattern = pattern.replace("{lead}", "(?P<lead>[^/]+)")
    return method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>\\d+)", pattern)), handle


def paged(call: Call, rows: Sequence[Resource], *, is_inbox: bool = False) -> Resource:
    """The newest first. A cursor names the last row told, so that new ones do not shift what follows it."""
    rows = sorted(rows, key=_id_of, reverse=True)
    wished = min(int(call.text("per_page") or ROWS), MOST_ROWS) if call.text("per_page").isdigit() else ROWS
    by_cursor = call.habits.has_cursors and call.text("pagination_type") == "cursor"
    size = wished if call.habits.honours_per_page or (is_inbox and by_cursor) else ROWS
    address = f"{call.account.instance_url}{PREFIX}{call.path}"
    if by_cursor:
        after = call.text("cursor")
        left = [row for row in rows if not after or _id_of(row) < _read_cursor(after)]
        page = cut(rows, len(rows) - len(left), size, call.page_fault)
        following = _cursor(page[-1]) if len(left) > size else None
        return {
            "data": page,
            "links": {"first": None, "last": None, "prev": None, "next": _link(address, cursor=following)},
            "meta": {"path": address, "per_page": size, "next_cursor": following, "prev_cursor": None},
        }
    number = int(call.text("page")) if call.text("page").isdigit() else 1
    if number > LAST_PAGE_SERVED:
        raise wrapped(422, "The page is too deep. Please use a cursor.")
    last = max(1, -(-len(rows) // size))
    page = cut(rows, (number - 1) * size, size, call.page_fault)
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
        raise wrapped(422, "The cursor is invalid.") from None


def _link(address: str, **query: int | str | None) -> str | None:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{address}?{urlencode(given)}" if given else None


def read_query(request: Request) -> dict[str, str]:
    """`filters[name]` is `name`: clients write both. With a dot instead it is a name that nobody asks for."""
    return {_FILTER.sub(r"\1", name): value for name, value in request.query_params.items()}


async def read_body(request: Request) -> dict[str, object]:
    try:
        body = orjson.loads(await request.body() or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def wrapped(status: int, message: str, **more: object) -> Refused:
    return Refused(status, {"data": {"success": False, "message": message, **more}})


def missing(kind: str, found: str) -> Refused:
    return wrapped(404, "Record not found.", record_not_found={kind: found})


def invalid(name: str, sentence: str) -> Refused:
    """Laravel's shape of a field that does not pass."""
    return Refused(422, {"message": sentence, "errors": {name: [sentence]}})


def as_response(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
