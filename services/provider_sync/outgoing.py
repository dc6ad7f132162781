"""The connections to all providers, watched for one thing: whether a write has left this process.

A call that failed before its write was sent may be made again; after that only the provider knows whether it landed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import httpx

_CONNECTIONS = 50


@dataclass(slots=True)
class Writes:
    left: bool = False


_watched: ContextVar[Writes | None] = ContextVar("watched", default=None)


def make_http(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """One client for all accounts. The environment's proxies and certificates are not asked: settings are."""
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
        event_hooks={"request": [_note]},
    )


@contextmanager
def watching() -> Iterator[Writes]:
    """Notes, for calls made inside the block by this task, whether one was sent that may not be repeated.

    Providers read by POST, so the method says nothing: each call says of itself whether it may be repeated
    (libs.providers.calls); one that does not say so may not.
    """
    writes = Writes()
    token = _watched.set(writes)
    try:
        yield writes
    finally:
        _watched.reset(token)


async def _note(request: httpx.Request) -> None:
    writes = _watched.get()
    if writes is not None and request.extensions.get("idempotent") is not True:
        writes.left = True
