"""Request bodies: whole, and not too large."""

from __future__ import annotations

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from libs.errors import TooLarge

MAX_BODY_BYTES = 1 << 20


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The request's body.

    Raises:
        TooLarge: more than MAX_BODY_BYTES; no more than that is read.
        ClientDisconnect: the caller left before it was complete.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > MAX_BODY_BYTES:
            raise _too_large()
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large() -> TooLarge:
    return TooLarge(f"a request body may have at most {MAX_BODY_BYTES} bytes")
