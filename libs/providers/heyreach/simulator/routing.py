"""One call to the simulated API, as its handlers see it, and how a no is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import orjson
from starlette.requests import Request

from libs.providers.heyreach.simulator.model import Account, Campaign, Lead
from libs.providers.heyreach.simulator.simulator import HeyReachSimulator
from libs.providers.simulation import FaultKind
from libs.providers.simulation.api import page_fault
from libs.providers.simulation.faults import cut

PAGE = 100
Row = dict[str, object]


class Created(StrEnum):
    """What CreateWebhook answers: sources disagree."""

    ID = "id"
    OBJECT = "object"
    NOTHING = "nothing"


class Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request and its body, {} without one. Members that nobody asks for are ignored. `ids` are in its
    path."""

    simulator: HeyReachSimulator
    request: Request
    body: Mapping[str, object]
    created: Created
    ids: Mapping[str, str]

    @property
    def account(self) -> Account:
        return self.simulator.account

    @property
    def page_fault(self) -> FaultKind | None:
        return page_fault(self.request)

    def query_number(self, name: str) -> int:
        text = self.request.query_params.get(name, "")
        if not text.isdigit():
            raise invalid(name, "field is required")
        return int(text)

    def number(self, name: str, default: int, most: int | None = None) -> int:
        value = self.body.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0 or (most is not None and value > most):
            raise invalid(name, "field is out of range")
        return value

    def text(self, name: str) -> str:
        value = self.body.get(name)
        if not isinstance(value, str) or not value:
            raise invalid(name, "field is required")
        return value

    def rows(self, name: str) -> Sequence[object]:
        """A list that must be there."""
        value = self.body.get(name)
        if not isinstance(value, list):
            raise invalid(name, "field is required")
        return value

    def finds(self, *texts: object) -> bool:
        """Whether one of these holds the keyword, if there is one."""
        wanted = self.body.get("keyword")
        return not isinstance(wanted, str) or any(wanted.casefold() in str(text).casefold() for text in texts)

    def campaign_in_query(self) -> Campaign:
        return self._existing(self.query_number("campaignId"))

    def campaign_in_body(self) -> Campaign:
        if "campaignId" not in self.body:
            raise invalid("campaignId", "field is required")
        return self._existing(self.body["campaignId"])

    def lead_named(self, *names: str) -> Lead | None:
        """By the first of these members that is stated: a profile's URL, or a member's id."""
        for name in names:
            value = self.body.get(name)
            if isinstance(value, str) and value:
                by_id = next((lead for lead in self.account.leads if lead.id == value), None)
                return by_id or self.account.lead_at(value)
        raise invalid(names[0], "field is required")

    def _existing(self, campaign_id: object) -> Campaign:
        found = self.account.campaign(str(campaign_id))
        if found is None:
            raise Refused(404, {"errorMessage": "There is no campaign with provided id."})
        return found


Handle = Callable[[Call], Awaitable[object]]  # answers JSON; None: no byte


def no(sentence: str) -> Refused:
    """A business rule."""
    return Refused(400, {"errorMessage": sentence})


def invalid(name: str, problem: str) -> Refused:
    """ASP.NET's way to say so: it writes fields in PascalCase though they came in camelCase."""
    field = name[0].upper() + name[1:]
    errors = {field: [f"The {field} {problem}."]}
    return Refused(400, {"title": "One or more validation errors occurred.", "status": 400, "errors": errors})


def page(call: Call, rows: Sequence[Row], most: int = PAGE) -> Row:
    offset, limit = call.number("offset", 0), call.number("limit", most, most)
    return {"totalCount": len(rows), "items": cut(rows, offset, limit, call.page_fault)}


async def body_of(request: Request) -> Mapping[str, object]:
    text = await request.body()
    if not text:
        return {}
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise invalid("body", "field is required")
    return body
