"""The simulated API: an ASGI app for any number of accounts, told apart by their keys.

As strict as the real one where its strictness was seen, and as odd: no single error shape, an HTML 404 for an unknown
route, 200 with `{}` for an unknown campaign.
"""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterable

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from libs.providers.simulation import SimulatedApi, SlidingWindow
from libs.providers.smartlead.simulator import on_account, on_campaigns, on_leads, on_mail
from libs.providers.smartlead.simulator.joi import Refused
from libs.providers.smartlead.simulator.routing import Call
from libs.providers.smartlead.simulator.simulator import SmartleadSimulator

PREFIX = "/api/v1"
ROUTES = (*on_campaigns.ROUTES, *on_leads.ROUTES, *on_mail.ROUTES, *on_account.ROUTES)


class SmartleadApp(SimulatedApi):
    """The ASGI app of these accounts: what a SimulatedApi has, and the limit told with every answer."""

    prefix = PREFIX

    def __init__(self, simulators: Iterable[SmartleadSimulator], *, limit: SlidingWindow | None) -> None:
        super().__init__(limit=limit)
        self.simulators = {simulator.api_key: simulator for simulator in simulators}

    def add(self, simulator: SmartleadSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    def key_of(self, request: Request) -> str:
        return request.query_params.get("api_key", "")

    def key_refused(self, key: str) -> Response:
        return _json({"message": "Invalid API Key" if key else "API key is required."}, 401)

    def rate_limited(self, seconds: int) -> Response:
        text = f"Too many requests. Please retry after {seconds} seconds."
        error: dict[str, object] = {"code": "RATE_LIMIT_EXCEEDED", "message": text, "retry_after": seconds}
        return _json({"error": error}, 429)

    def server_error(self) -> Response:
        return _json({"error": "Internal Server Error"}, 500)

    def finish(self, response: Response, key: str) -> None:
        if self.limit is None:
            return
        response.headers["x-ratelimit-limit"] = str(self.limit.limit)
        response.headers["x-ratelimit-remaining"] = str(self.limit.left(key))
        response.headers["x-ratelimit-reset"] = str(math.ceil(time.time() + self.limit.free_in_seconds(key)))

    async def route(self, request: Request, path: str, key: str) -> Response:
        for method, pattern, handle in ROUTES if request.url.path.startswith(PREFIX) else ():
            found = pattern.fullmatch(path)
            if found is None or method != request.method:
                continue
            simulator = self.simulators.get(key)
            if simulator is None:
                return self.key_refused(key)
            try:
                answer = await handle(Call(simulator, request, found.groupdict()))
            except Refused as refusal:
                return _json(refusal.body, refusal.status)
            return answer if isinstance(answer, Response) else _json(answer)
        title = html.escape(f"Cannot {request.method} {request.url.path}")
        return HTMLResponse(f"<!DOCTYPE html><html><body><pre>{title}</pre></body></html>", 404)


def smartlead_app(*simulators: SmartleadSimulator, calls_per_minute: int | None = None) -> SmartleadApp:
    """The API of these accounts, under /api/v1; unlimited without `calls_per_minute` (60 is what one page promises)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return SmartleadApp(simulators, limit=limit)


def _json(value: object, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json; charset=utf-8")
