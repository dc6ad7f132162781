"""One call to the simulated API, as its handlers see it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from libs.providers.simulation import FaultKind
from libs.providers.simulation.api import page_fault
from libs.providers.smartlead.simulator.joi import Key, check, no, refusal
from libs.providers.smartlead.simulator.model import Account, Campaign, Enrolment
from libs.providers.smartlead.simulator.simulator import SmartleadSimulator


@dataclass(frozen=True, slots=True)
class Call:
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

    @property
    def page_fault(self) -> FaultKind | None:
        return page_fault(self.request)

    def campaign(self) -> Campaign | None:
        """To be looked at: one that is not there is answered with `{}`."""
        return self.account.campaign(self.ids["campaign"])

    def campaign_to_change(self) -> Campaign:
        found = self.campaign()
        if found is None:
            raise no("Campaign not found - Invalid campaign_id.", 404)
        return found

    def enrolment_to_change(self) -> tuple[Campaign, Enrolment]:
        campaign = self.campaign_to_change()
        found = campaign.enrolment(self.ids["lead"])
        if found is None:
            raise no("Lead not found - Invalid lead_id.", 404)
        return campaign, found

    async def body(self, keys: Mapping[str, Key]) -> dict[str, object]:
        """What was sent, once it passed the gate; null members are left out, as they are not given."""
        text = await self.request.body()
        try:
            body = orjson.loads(text) if text else {}
        except orjson.JSONDecodeError:
            body = None
        if not isinstance(body, dict):
            raise refusal("body", "value", "must be of type object")
        check(body, keys)
        return {name: value for name, value in body.items() if value is not None}


Handle = Callable[[Call], Awaitable[object]]  # answers JSON, or a Response of its own
Route = tuple[str, re.Pattern[str], Handle]


def route(method: str, path: str, handle: Handle) -> Route:
    """`path` names its ids in braces: "/campaigns/{campaign}/leads/{lead}"."""
    return method, re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>\\d+)", path)), handle


def plain(text: str) -> Response:
    """Some writes answer words, and call them HTML."""
    return Response(text, media_type="text/html; charset=utf-8")


def done() -> dict[str, object]:
    return {"ok": True}


def success() -> dict[str, object]:
    return {"ok": True, "data": "success"}
