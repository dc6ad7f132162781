"""The MCP server of a provider: whether it answers, and which tools it offers. Nothing is ever called there.

What we do at providers goes by REST (docs/adr/0021); this is for people who let an assistant work with the same account and
want to know whether its token opens that door too. The SDK speaks through our own HTTP client, so the guard on addresses,
the account's budget and our bounds hold for it as for every call.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from libs.errors import DependencyDown, NotSent, PlatformError
from libs.outbound.addresses import is_loopback

WITHIN_SECONDS = 20.0  # all of it
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024  # 141 tools with their schemas are some hundred KB
MOST_TOOLS = 1000
LONGEST_NAME = 100
_MOST_PAGES = 20

T = TypeVar("T")


class _NotTheirs(logging.Filter):
    """The SDK's own log would show what a foreign server answered; some of it goes by the root logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        return f"{os.sep}site-packages{os.sep}mcp{os.sep}" not in record.pathname


logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)
logging.getLogger().addFilter(_NotTheirs())

Credentials = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Where it is and which headers it wants, by credentials and base URL. `url` is the vendor's, one for all instances."""

    url: str
    headers: Callable[[Credentials, str | None], Mapping[str, str]]

    def url_for(self, base_url: str | None) -> str:
        """The server for this account. A simulated provider's is its own: its key is none of the vendor's business."""
        if base_url is not None and is_loopback(httpx.URL(base_url).host):
            return base_url.rstrip("/").removesuffix("/api") + "/mcp"
        return self.url


@dataclass(frozen=True, slots=True)
class ToolsFound:
    """`error` says why it does not answer, None when it does. `tools` are names, in its order."""

    url: str
    tools: tuple[str, ...] = ()
    error: str | None = None
    server: str | None = None
    version: str | None = None

    @property
    def answers(self) -> bool:
        return self.error is None


async def list_tools(
    url: str, headers: Mapping[str, str], http: httpx.AsyncClient, *, within_seconds: float = WITHIN_SECONDS
) -> ToolsFound:
    """Introduce ourselves, ask for the tools, take leave. Whatever goes wrong there is told, and not raised.

    Raises:
        DependencyDown: a part of ours is away.
    """
    try:
        async with asyncio.timeout(within_seconds):
            return await _asked(url, headers, http)
    except TimeoutError:
        return ToolsFound(url, error=f"no answer in {within_seconds:g} s")
    except Exception as error:  # noqa: BLE001 - the SDK raises groups of anything; what a foreign server makes it raise is its no
        causes = list(_causes(error))
        ours = next((cause for cause in causes if isinstance(cause, DependencyDown)), None)
        if ours is not None:
            raise ours from None
        return ToolsFound(url, error=_why(causes))


async def _asked(url: str, headers: Mapping[str, str], http: httpx.AsyncClient) -> ToolsFound:
    # The SDK takes a second to import: whoever asks first pays it, in a thread, as everybody else goes on.
    await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import PaginatedRequestParams

    # What cannot be read the SDK hands to this handler, while whoever waits for an answer goes on waiting.
    unreadable: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def heard(message: object) -> None:
        if isinstance(message, Exception) and not unreadable.done():
            unreadable.set_result(type(message).__name__)

    bounded = httpx.AsyncClient(
        transport=_Through(http), headers=dict(headers), timeout=WITHIN_SECONDS, trust_env=False
    )
    async with (
        bounded,
        streamable_http_client(url, http_client=bounded) as (incoming, outgoing, _),
        ClientSession(incoming, outgoing, message_handler=heard) as session,
    ):
        hello = await _unless(unreadable, session.initialize())
        names: list[str] = []
        after: str | None = None
        for _ in range(_MOST_PAGES):
            page = await _unless(unreadable, session.list_tools(params=PaginatedRequestParams(cursor=after)))
            names += [tool.name[:LONGEST_NAME] for tool in page.tools]
            after = page.nextCursor
            if after is None or len(names) >= MOST_TOOLS:
                break
        told = hello.serverInfo
        return ToolsFound(
            url, tuple(names[:MOST_TOOLS]), server=told.name[:LONGEST_NAME], version=told.version[:LONGEST_NAME]
        )


class _Unreadable(Exception):
    pass


async def _unless(unreadable: asyncio.Future[str], request: Coroutine[Any, Any, T]) -> T:
    asked = asyncio.create_task(request)
    try:
        await asyncio.wait((asked, unreadable), return_when=asyncio.FIRST_COMPLETED)
        if unreadable.done():
            raise _Unreadable(unreadable.result())
        return await asked
    finally:
        asked.cancel()


class _Through(httpx.AsyncBaseTransport):
    """The SDK's requests by our client, their answers bounded and unpacked by nobody."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["accept-encoding"] = "identity"
        request.extensions["idempotent"] = True  # it asks, and changes nothing there
        response = await self._http.send(request, stream=True, follow_redirects=False)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx.RemoteProtocolError("a packed answer, which was not asked for")
        assert isinstance(response.stream, httpx.AsyncByteStream)
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Bounded(response.stream),
            extensions=response.extensions,
        )


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in self._stream:
            taken += len(chunk)
            if taken > LARGEST_ANSWER_BYTES:
                raise httpx.RemoteProtocolError(f"an answer of more than {LARGEST_ANSWER_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What a group was raised for, and what that came from."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
        return
    yield error
    if error.__cause__ is not None:
        yield from _causes(error.__cause__)


def _why(causes: list[BaseException]) -> str:
    """In our words: an answer's text may be anything."""
    for cause in causes:
        if isinstance(cause, NotSent):
            return "not asked: the account's calls of this minute are used up"
        if isinstance(cause, PlatformError):
            return f"not asked: {cause.code}"
        if isinstance(cause, httpx.HTTPStatusError):
            return f"answered {cause.response.status_code}"
        if isinstance(cause, httpx.RequestError):
            return f"no answer ({type(cause).__name__})"
    return f"answered what is no MCP ({causes[0] if isinstance(causes[0], _Unreadable) else type(causes[0]).__name__})"
