"""The simulated API: an ASGI app for any number of workspaces, told apart by their tokens.

As odd as the real one where its oddities were seen: three error shapes, pages of 15 whatever is wished, filters in the
body of a GET, a 200 that means no. Where reports differ, `Habits` decides.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

from libs.providers.emailbison.simulator import on_account, on_campaigns, on_leads, on_mail, on_sequences, on_tools
from libs.providers.emailbison.simulator.routing import (
    PREFIX,
    Call,
    Habits,
    Refused,
    as_response,
    read_body,
    read_query,
    wrapped,
)
from libs.providers.emailbison.simulator.simulator import EmailBisonSimulator
from libs.providers.simulation import SimulatedApi, SlidingWindow
from libs.providers.simulation.api import page_fault

__all__ = ["ROUTES", "EmailBisonApp", "Habits", "emailbison_app"]

ROUTES = (*on_account.ROUTES, *on_campaigns.ROUTES, *on_sequences.ROUTES, *on_leads.ROUTES, *on_mail.ROUTES)


class EmailBisonApp(SimulatedApi):
    """The ASGI app of these workspaces: what a SimulatedApi has. `habits` may be changed while it runs."""

    prefix = PREFIX

    def __init__(
        self, simulators: Iterable[EmailBisonSimulator], *, limit: SlidingWindow | None, habits: Habits
    ) -> None:
        super().__init__(limit=limit)
        self.simulators = {simulator.api_key: simulator for simulator in simulators}
        self.habits = habits

    def add(self, simulator: EmailBisonSimulator) -> None:
        self.simulators[simulator.api_key] = simulator

    def key_of(self, request: Request) -> str:
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def key_refused(self, key: str) -> Response:
        return as_response({"message": "Unauthenticated."}, 401)

    def rate_limited(self, seconds: int) -> Response:
        return as_response({"message": "Too Many Attempts."}, 429)

    def server_error(self) -> Response:
        return as_response({"message": "Server Error"}, 500)

    async def route(self, request: Request, path: str, key: str) -> Response:
        simulator = self.simulators.get(key)
        if path == on_tools.PATH:
            return await on_tools.answer(request, is_known=simulator is not None)
        if simulator is None:
            return self.key_refused(key)
        verbs: list[str] = []
        for method, pattern, handle in ROUTES if request.url.path.startswith(PREFIX) else ():
            found = pattern.fullmatch(path)
            if found is None:
                continue
            verbs.append(method)
            if method != request.method:
                continue
            try:
                given = {**await read_body(request), **read_query(request)}
                status, body = await handle(Call(self, simulator, path, found.groupdict(), given, page_fault(request)))
                return as_response(body, status)
            except Refused as refusal:
                return as_response(refusal.body, refusal.status)
        route = request.url.path.strip("/")
        if verbs:
            message = f"The {request.method} method is not supported for route {route}. Supported methods: "
            no = wrapped(405, message + f"{', '.join(verbs)}.")
        else:
            no = wrapped(404, f"The route {route} could not be found.", record_not_found=None)
        return as_response(no.body, no.status)


def emailbison_app(
    *simulators: EmailBisonSimulator, calls_per_minute: int | None = None, habits: Habits | None = None
) -> EmailBisonApp:
    """The API of these workspaces, under /api, and the vendor's MCP server at /mcp; unlimited without `calls_per_minute`
    (3,000 are told)."""
    limit = SlidingWindow(calls_per_minute, 60.0) if calls_per_minute is not None else None
    return EmailBisonApp(simulators, limit=limit, habits=habits or Habits())
