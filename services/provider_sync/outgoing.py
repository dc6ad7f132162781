"""The connections to all providers: paid for (see spending), and watched for whether a write has left this process.

A call that failed before its write was sent may be made again; after that only the provider knows whether it landed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

import httpx

from libs.outbound.transport import GuardedTransport
from libs.providers.calls import answered_at
from services.provider_sync.spending import PaidTransport

_CONNECTIONS = 50
# A no in the provider's own name: what was asked for did not happen. (A 403 page is a guard's, a 408 anybody's.)
_NOT_DONE = frozenset({400, 401, 404, 405, 409, 422, 429})


@dataclass(slots=True)
class Writes:
    """`count`: how many writes were sent and may have landed. `before` is awaited before each, once it is paid; what it
    raises stops it. `was_refused`: the last of them was, in the provider's own name. `answered_at`: the provider's clock at
    its last answer of all, where it said so."""

    count: int = 0
    was_refused: bool = False
    answered_at: datetime | None = None
    before: Callable[[], Awaitable[None]] | None = None

    @property
    def left(self) -> bool:
        return self.count > 0


_watched: ContextVar[Writes | None] = ContextVar("watched", default=None)


def make_http(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """One client for all accounts. The environment's proxies and certificates are not asked: settings are."""
    # Paid first: what the budget does not allow has not left.
    return httpx.AsyncClient(transport=PaidTransport(_Watched(transport)), trust_env=False)


def guarded(*, allow_loopback: bool) -> GuardedTransport:
    """The net as providers are called in it: public addresses only, for an account names its own."""
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    return GuardedTransport(allow_loopback=allow_loopback, limits=limits)


@contextmanager
def watching(before: Callable[[], Awaitable[None]] | None = None) -> Iterator[Writes]:
    """Notes, for calls made inside the block by this task, which were sent that may not be repeated.

    Providers read by POST, so the method says nothing: each call says of itself whether it may be repeated
    (libs.providers.calls); one that does not say so may not.
    """
    writes = Writes(before=before)
    token = _watched.set(writes)
    try:
        yield writes
    finally:
        _watched.reset(token)


class _Watched(httpx.AsyncBaseTransport):
    def __init__(self, network: httpx.AsyncBaseTransport) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        writes = _watched.get()
        if writes is not None and request.extensions.get("idempotent") is not True:
            if writes.before is not None:
                await writes.before()
            writes.count += 1
            response = await self._answer(request, writes)
            writes.was_refused = response.status_code in _NOT_DONE or (
                response.status_code == 403 and "json" in response.headers.get("content-type", "")
            )
            writes.count -= writes.was_refused
            return response
        return await self._answer(request, writes)

    async def _answer(self, request: httpx.Request, writes: Writes | None) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        if writes is not None:
            writes.answered_at = answered_at(response.headers)
        return response

    async def aclose(self) -> None:
        await self._network.aclose()
