"""The frame of every simulated API: faults, limits, the call book, revoked keys. What is the provider's own it leaves open.

A subclass tells how a key travels (`key_of`), answers a call (`route`), and gives failures the provider's shapes. So a
fault means the same whoever is simulated.
"""

from __future__ import annotations

import asyncio
import math
from email.utils import format_datetime

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from libs import clock
from libs.providers.simulation.callbook import CallBook
from libs.providers.simulation.faults import INSTEAD, FaultKind, Faults, retyped
from libs.providers.simulation.limits import SlidingWindow

_JSON = "application/json; charset=utf-8"


class SimulatedApi:
    """The ASGI app. `faults` makes next calls fail; `calls` lists every call as "GET /campaigns", queries left out; `book`
    has them with accounts and times. A key in `revoked` opens nothing any more.
    """

    prefix = ""
    tells_when_to_retry = True  # with Retry-After, when its own limit is met

    def __init__(self, *, limit: SlidingWindow | None) -> None:
        self.faults = Faults()
        self.calls: list[str] = []
        self.book = CallBook()
        self.revoked: set[str] = set()
        self.limit = limit

    # What a provider has of its own.

    def key_of(self, request: Request) -> str:
        """The key that came with the call; "" without one."""
        raise NotImplementedError

    async def route(self, request: Request, path: str, key: str) -> Response:
        """The answer to a call that meets no fault and no limit. A list is cut by `faults.cut` with `page_fault`."""
        raise NotImplementedError

    def key_refused(self, key: str) -> Response:
        raise NotImplementedError

    def rate_limited(self, seconds: int) -> Response:
        """429 in the provider's words, without Retry-After."""
        raise NotImplementedError

    def server_error(self) -> Response:
        return Response(b"", 500)

    def finish(self, response: Response, key: str) -> None:
        """Headers that every answer has."""

    # What all have in common.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        request = Request(scope, receive)
        path = request.url.path.rstrip("/").removeprefix(self.prefix) or "/"
        key, call = self.key_of(request), f"{request.method} {path}"
        self.calls.append(call)
        fault = self.faults.take(call)
        response = await self._answer(request, path, key, fault)
        is_dropped = fault in (FaultKind.DROPPED, FaultKind.DONE_AND_DROPPED)
        self.book.note(key, request.method, path, None if is_dropped else response.status_code)
        if is_dropped:
            await _hang_up(send)
        response.headers["date"] = format_datetime(clock.now(), usegmt=True)
        self.finish(response, key)
        if fault is FaultKind.SLOW_DRIP:
            await self._drip(response, send)
        else:
            await response(scope, receive, send)

    async def _answer(self, request: Request, path: str, key: str, fault: FaultKind | None) -> Response:
        if fault in INSTEAD:
            return await self._instead(fault)
        request.state.page_fault = fault
        if self.limit is not None and not self.limit.take(key):
            seconds = math.ceil(self.limit.free_in_seconds(key))
            response = self.rate_limited(seconds)
            return _hinted(response, str(seconds)) if self.tells_when_to_retry else response
        if key in self.revoked:
            return self.key_refused(key)
        response = await self.route(request, path, key)
        match fault:
            case FaultKind.DONE_AND_FAILED:
                return self.server_error()
            case FaultKind.TRUNCATED:
                body = bytes(response.body)
                return Response(body[: len(body) // 2], response.status_code, media_type=response.media_type)
            case FaultKind.WRONG_TYPES if "json" in (response.media_type or ""):  # a text and silence have no types
                wrong = orjson.dumps(retyped(orjson.loads(response.body)))
                return Response(wrong, response.status_code, media_type=_JSON)
        return response

    async def _instead(self, fault: FaultKind | None) -> Response:
        seconds = self.faults.retry_after_seconds
        match fault:
            case FaultKind.RATE_LIMITED:
                return _hinted(self.rate_limited(seconds), str(seconds))
            case FaultKind.RATE_LIMITED_WITHOUT_HINT:
                return self.rate_limited(30)
            case FaultKind.RATE_LIMITED_BROKEN_HINT:
                return _hinted(self.rate_limited(seconds), "in a while")
            case FaultKind.RATE_LIMITED_PAGE:
                return HTMLResponse("<html><body>Too many requests</body></html>", 429)
            case FaultKind.SERVER_ERROR:
                return self.server_error()
            case FaultKind.BAD_GATEWAY:
                return HTMLResponse("<html><body>502 Bad Gateway</body></html>", 502)
            case FaultKind.PAGE:
                return HTMLResponse("<html><body>We will be back soon</body></html>", 200)
            case FaultKind.GARBAGE:
                return Response(b'{"ok": tru\xff', 200, media_type=_JSON)
            case FaultKind.HANGS:
                await asyncio.sleep(self.faults.hang_seconds)
                return Response(b"", 504)
        return Response(b"", 200)  # EMPTY; of what is DROPPED nothing is seen

    async def _drip(self, response: Response, send: Send) -> None:
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        body, size = bytes(response.body), self.faults.drip_bytes
        for start in range(0, len(body), size):
            await asyncio.sleep(self.faults.drip_seconds)
            await send({"type": "http.response.body", "body": body[start : start + size], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def page_fault(request: Request) -> FaultKind | None:
    """What `faults.cut` is to do with this call's list."""
    fault: FaultKind | None = getattr(request.state, "page_fault", None)
    return fault


async def _hang_up(send: Send) -> None:
    """A promise of more bytes than come, then the end. A server closes the connection upon the error; without a server
    between them the client meets the error itself, which is the one that a closed connection would give it."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"4096")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{", "more_body": True})
    raise httpx.RemoteProtocolError("the simulated provider hung up")


def _hinted(response: Response, retry_after: str) -> Response:
    response.headers["retry-after"] = retry_after
    return response


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to stop; servers want to hear it."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
