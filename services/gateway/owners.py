"""The inner hop: a request to the owner of the rows, over a socket or, in one process, straight into its ASGI app.

Both give the same answer to the same request; one suite of tests runs over both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote_from_bytes

import aiohttp
from multidict import CIMultiDict
from starlette.types import ASGIApp, Message
from yarl import URL

from libs.errors import PlatformError, TransientError
from libs.observability import tracing
from libs.tenancy.context import TenantContext
from libs.tenancy.signing import HEADER, ContextSigner
from libs.web.app import REQUEST_ID

Headers = list[tuple[bytes, bytes]]  # names in lower case, values in ASCII

_CONNECT_SECONDS = 2.0
_KEEP_ALIVE_SECONDS = 4.0  # uvicorn hangs up after 5: never send on a connection that is just being closed
_CONNECTIONS_PER_OWNER = 100
_CONTEXT = HEADER.encode()
_REQUEST_ID = REQUEST_ID.encode()
GATEWAY = "gateway"
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class Inner(NamedTuple):
    """What is sent to an owner."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes


def signed(signer: ContextSigner, context: TenantContext, owner: str, request_id: str) -> Headers:
    """What an owner is told beside a request: who asks, and to which request and trace of ours it belongs."""
    headers = [(_CONTEXT, signer.sign(context, owner).encode()), (_REQUEST_ID, request_id.encode())]
    if traceparent := tracing.current_traceparent():
        headers.append((b"traceparent", traceparent.encode()))
    return headers


class UpstreamUnavailable(TransientError):
    """An owner cannot be reached. The message never says where it was looked for."""

    code = "upstream_unavailable"


class UpstreamTimeout(PlatformError):
    """An owner took too long; whether it did what was asked is not known."""

    code = "upstream_timeout"


class Owners:
    """All owners by process name. `apps` wins over `urls` and may be filled after this was made; `inner` makes
    the gateway's own, which is asked seldom."""

    def __init__(
        self,
        urls: Mapping[str, str],
        apps: Mapping[str, ASGIApp],
        *,
        deadline_seconds: float,
        inner: Callable[[], ASGIApp] | None = None,
    ) -> None:
        self._inner = inner
        self._urls = urls
        self._apps = apps
        self._deadline_seconds = deadline_seconds
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, owner: str, request: Inner) -> Answer:
        """The owner's answer, whatever its status.

        Raises:
            UpstreamUnavailable: nothing answers there.
            UpstreamTimeout: no answer within the deadline.
        """
        try:
            async with asyncio.timeout(self._deadline_seconds):
                app = self._inner() if owner == GATEWAY and self._inner is not None else self._apps.get(owner)
                if app is not None:
                    return await call_app(app, request)
                return await self._over_socket(self._urls[owner], request)
        except TimeoutError:
            raise UpstreamTimeout("the part of Outrider that holds these rows took too long to answer") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnavailable(
                "the part of Outrider that holds these rows does not answer at the moment"
            ) from error

    async def _over_socket(self, base: str, request: Inner) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=_CONNECTIONS_PER_OWNER, keepalive_timeout=_KEEP_ALIVE_SECONDS
                ),
                cookie_jar=aiohttp.DummyCookieJar(),  # one session serves all tenants
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                skip_auto_headers=("User-Agent", "Accept-Encoding", "Accept", "Content-Type"),
                auto_decompress=False,
                trust_env=False,
            )
        address = base + request.path
        if request.query:
            address += "?" + quote_from_bytes(request.query, safe=_PRINTABLE)
        headers = CIMultiDict((name.decode("ascii"), value.decode("ascii")) for name, value in request.headers)
        try:
            async with self._session.request(
                request.method,
                URL(address, encoded=True),
                headers=headers,
                data=request.body or None,
                allow_redirects=False,
            ) as response:
                body = await response.read()
                return Answer(response.status, [(name.lower(), value) for name, value in response.raw_headers], body)
        except aiohttp.ConnectionTimeoutError as error:  # a TimeoutError too, but nothing was sent
            raise aiohttp.ClientConnectionError("no connection in time") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def call_app(app: ASGIApp, request: Inner) -> Answer:
    """Ask an ASGI app as a server would; the answer is gathered whole."""
    over = asyncio.Event()
    sent = False
    status = 0
    headers: Headers = []
    chunks: list[bytes] = []

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": request.body, "more_body": False}
        # To say "disconnected" earlier would make a streaming answer break off.
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers", [])]
        elif message["type"] == "http.response.body":
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                over.set()

    inner_headers = [(b"host", b"inner"), *request.headers]
    if request.body:
        inner_headers.append((b"content-length", str(len(request.body)).encode()))
    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": request.path.encode(),
            "root_path": "",
            "query_string": request.query,
            "headers": inner_headers,
            "client": None,
            "server": None,
            "state": {},
        },
        receive,
        send,
    )
    if not over.is_set():
        raise RuntimeError("an owner's app returned without an answer")
    return Answer(status, headers, b"".join(chunks))
