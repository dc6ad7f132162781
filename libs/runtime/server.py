"""uvicorn with the bounds it lacks: how long and how large a request's head and whole may be, and how many connections.

uvicorn waits for ever for the rest of a head, keeps any number of headers (also those after a chunked body), and reads on
what nobody wants any more. One slow client costs a connection; a thousand cost the service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.ids import new_id
from libs.web import problems
from libs.web.app import REQUEST_ID

HEAD_SECONDS = 10.0  # from a connection's start, or a request's first byte, to the end of the head
REQUEST_SECONDS = 30.0  # from there to the end of the body; whoever waits for it answers 408 well before
HEAD_BYTES = 64 * 1024  # hard; what is over 16 KiB is told so by libs.web.bodies
REQUEST_BYTES = 8 * 1024 * 1024  # 1 MiB in chunks of one byte is six times that on the wire
KEEP_ALIVE_SECONDS = 30
DRAIN_SECONDS = 10


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What breaks a bound is answered, if it still can be, and hung up on."""

    def __init__(self, *args: Any, most_connections: int, **more: Any) -> None:
        super().__init__(*args, **more)
        self._most_connections = most_connections
        self._in_head = True
        self._taken = 0
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._give(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._take_back()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._deadline is None:
            self._give(HEAD_SECONDS)
        self._taken += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._taken > HEAD_BYTES:
            self._hang_up(431, "headers_too_large", f"the head of the request is over {HEAD_BYTES} bytes")
        elif self._taken > REQUEST_BYTES:
            self.transport.abort()  # it was answered long ago

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        if self._deadline is None:
            self._give(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._give(REQUEST_SECONDS)
        busy = len(self.connections) > self._most_connections
        self.app = _too_busy if busy else self.config.loaded_app
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._take_back()
        self._in_head, self._taken = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._hang_up(400, "malformed_request", "this is no HTTP request")

    def _unsupported_upgrade_warning(self) -> None:
        """Nobody here speaks anything but HTTP, and who asks for it is answered in that: no reason for a line in a log."""

    def _give(self, seconds: float) -> None:
        self._take_back()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _take_back(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        if self._in_head and self._taken:
            self._hang_up(408, "too_slow", f"the head of the request did not arrive within {HEAD_SECONDS:g} s")
        else:
            self.transport.abort()

    def _hang_up(self, status: int, code: str, detail: str) -> None:
        """Answer and close; only close where another answer is on its way."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or not (cycle.response_started or self.pipeline):
            if cycle is not None:
                cycle.disconnected = True  # what was begun answers nobody
            answer = _problem(status, code, detail)
            head = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
            head += [name + b": " + value for name, value in answer.raw_headers]
            self.transport.write(b"\r\n".join([*head, b"", answer.body]))
        self.transport.close()


def _problem(status: int, code: str, detail: str) -> Any:
    request_id = f"req_{new_id().hex}"
    answer = problems.problem(status, code, detail, request_id=request_id)
    answer.headers[REQUEST_ID] = request_id
    answer.headers["connection"] = "close"
    return answer


async def _too_busy(scope: Scope, receive: Receive, send: Send) -> None:
    await _problem(503, "too_busy", "there are too many connections at the moment")(scope, receive, send)


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the host hears signals, for all servers of the process


def make_server(app: ASGIApp, *, host: str, port: int, most_connections: int) -> Server:
    """A server to be run with `serve()`. The peer is the socket's: whose X-Forwarded-For counts, only the door's settings say."""
    return Server(
        uvicorn.Config(
            app, host=host, port=port, http=partial(BoundedProtocol, most_connections=most_connections),  # type: ignore[arg-type]
            log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=DRAIN_SECONDS, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )  # fmt: skip
