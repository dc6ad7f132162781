"""One request, straight into an app, and what of its answer tells anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson
from starlette.types import ASGIApp, Message

_OWN_TO_EACH = frozenset({b"x-request-id", b"content-length"})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def code(self) -> str | None:
        if self.status < 400:
            return None
        try:
            return str(orjson.loads(self.body)["code"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return "?"

    @property
    def request_id(self) -> str:
        return next(value.decode() for name, value in self.headers if name == b"x-request-id")

    @property
    def content(self) -> str:
        # The assumed org is the one that the request named.
        told = [(name, value) for name, value in self.headers if name != b"outrider-assumed"]
        heads = "\n".join(f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in told)
        return heads + "\n" + self.body.decode("utf-8", "replace")

    def impersonal(self, named: str, *, made: bool = False) -> tuple[int, Any, str]:
        """Without what every answer has of its own: its request id, its time, how many may follow, the id asked for; where
        something was `made`, all ids and times."""
        headers = sorted(
            (name, value) for name, value in self.headers if name not in _OWN_TO_EACH and b"ratelimit" not in name
        )
        text = self.body.decode("utf-8", "replace")
        text = re.sub(r"req_[0-9a-f]{32}", "<request>", text)
        text = re.sub(r'"as_of":"[^"]*"', '"as_of":"<now>"', text)
        if named:
            text = text.replace(named, "<named>")
        if made and self.status < 300:
            headers = [(name, value) for name, value in headers if name != b"location"]
            text = re.sub(r'"[a-z_]+":"(?:[a-z]+_[0-9a-f]{32}|[0-9-]{10}T[0-9:.]+Z)"', "<new>", text)
        return self.status, headers, text


async def call(app: ASGIApp, method: str, path: str, query: str, headers: Mapping[str, str], body: Any) -> Answer:
    """One request, straight into the app."""
    raw = b"" if body is None else orjson.dumps(body)
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if body is not None:
        sent += [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": quote(path).encode(), "root_path": "", "query_string": query.encode(), "headers": sent,
        "server": ("house.example.com", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    parts: list[Message] = []
    inbox: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return inbox.pop(0) if len(inbox) > 1 else inbox[0]

    async def send(message: Message) -> None:
        parts.append(message)

    await app(scope, receive, send)
    start = next(part for part in parts if part["type"] == "http.response.start")
    found = b"".join(part.get("body", b"") for part in parts if part["type"] == "http.response.body")
    return Answer(start["status"], [(name.lower(), value) for name, value in start.get("headers", [])], found)
