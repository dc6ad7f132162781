"""What comes before a request's meaning: its head within bounds, its body whole, in time, and of a kind that we read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from libs.errors import HeadersTooLarge, RequestError, TooLarge, TooSlow, UnsupportedMedia
from libs.web import strict_json

MAX_BODY_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024
READ_SECONDS = 10.0

_DIGITS = re.compile(rb"[0-9]{1,15}\Z")
_JSON = re.compile(rb'\s*application/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?\Z', re.IGNORECASE)

Headers = Sequence[tuple[bytes, bytes]]  # names in lower case


def declared_length(headers: Headers) -> int | None:
    """The Content-Length, once all headers are found acceptable.

    Raises:
        RequestError: Content-Length is not one number.
        UnsupportedMedia: the body is encoded: what is small on the wire may be a bomb.
        HeadersTooLarge, TooLarge: over MAX_HEADER_BYTES, over MAX_BODY_BYTES.
    """
    size, declared = 0, None
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"content-length":
            if not _DIGITS.match(value) or (declared is not None and declared != int(value)):
                raise RequestError("Content-Length is not one number", code="bad_content_length")
            declared = int(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise UnsupportedMedia(
                "send the body as it is: no Content-Encoding is taken", code="content_encoding_unsupported"
            )
    if size > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"the headers are over {MAX_HEADER_BYTES} bytes")
    if declared is not None and declared > MAX_BODY_BYTES:
        raise _too_large()
    return declared


async def read_body(receive: Receive, declared: int | None) -> bytes:
    """The whole body; no more than MAX_BODY_BYTES of it are read, and no longer than READ_SECONDS.

    Raises:
        TooLarge, TooSlow: see above.
        RequestError: it has not the `declared` length.
        ClientDisconnect: nobody is left to answer.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _gather(receive, declared)
    except TimeoutError:
        pass
    raise TooSlow(f"the body did not arrive within {READ_SECONDS:g} s")


async def _gather(receive: Receive, declared: int | None) -> bytes:
    whole = bytearray()  # not a list of chunks: a million chunks of one byte would weigh 40 times theirs
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk: bytes = message.get("body", b"")
        size = len(whole) + len(chunk)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body", False):
            if declared is not None and declared != size:
                raise RequestError("the body has not the length that Content-Length says", code="bad_content_length")
            return bytes(whole) + chunk if whole else chunk
        whole += chunk


def read_json(headers: Headers, body: bytes) -> Any:
    """The value in a body that is not empty.

    Raises:
        UnsupportedMedia: it is not said to be JSON.
        RequestError: it is none, or none of ours; see `strict_json.read`.
    """
    kinds = [value for name, value in headers if name == b"content-type"]
    if len(kinds) != 1 or not _JSON.match(kinds[0]):
        raise UnsupportedMedia("send the body as JSON in UTF-8, with the header Content-Type: application/json")
    return strict_json.read(body)


def _too_large() -> TooLarge:
    return TooLarge(f"the body is over {MAX_BODY_BYTES} bytes")
