"""Requests that nobody should send: any Unicode, any bytes, and what is known to hurt, in every part of a request."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import quote, quote_from_bytes

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

T = TypeVar("T")

# Each of these broke something somewhere.
NAUGHTY = (
    "", " ", "\0", "a\0b", "\ud800", "\udfff", "\ufeff", "\u202eabc", "a\u0301" * 50, "\U0001f468\u200d\U0001f469", "\ufdfa",
    "\u0130", "\x7f", "\x85", "\u2028", "null", "undefined", "NaN", "Infinity", "-0", "1e999", "9" * 400, "-1", "0x7f", "1/0",
    "true", "[]", "{}", "\\", '"', "'", "%00", "%", "%s%n", "{0}", "${7*7}", "{{7*7}}", "`id`", "$(id)", "__proto__",
    "; DROP TABLE deliveries; --", "' OR '1'='1", "1); SELECT pg_sleep(9)--", "now()", "\r\nSet-Cookie: a=1", "\nX-Injected: 1",
    "<script>alert(1)</script>", "../../etc/passwd", "..%2f..%2f", "//example.com", "org_" + "0" * 32, "cam_" + "f" * 32,
    "cam_" + "\u0663" * 32, "x" * 5000, "0001-01-01", "9999-12-31", "2026-02-30",
)  # fmt: skip

texts = st.sampled_from(NAUGHTY) | st.text(st.characters(), max_size=40)  # lone surrogates, too
numbers = st.integers() | st.floats() | st.sampled_from((2**31, 2**63, -(2**63) - 1, 10**4000, 1e308, -0.0))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
HEADER_NAMES = (
    b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"accept", b"host", b"outrider-org",
    b"outrider-context", b"idempotency-key", b"if-match", b"if-none-match", b"prefer", b"x-request-id", b"cookie", b"range",
    b"traceparent", b"x-forwarded-for", b"forwarded", b"x-http-method-override", b"expect", b"origin", b"authorization",
)  # fmt: skip
HEADER_VALUES = (
    b"", b"gzip", b"br", b"identity", b"chunked", b"application/json", b"text/plain", b"*/*", b"-1", b"5", b"9" * 20,
    b"a\r\nb: c", b"a\nb", b"a\0b", b"\xff\xfe", b"x" * 5000, b"x" * 17_000, b"Bearer ", b"Basic YTpi", b"req_" + b"0" * 32,
    b"00-" + b"f" * 32,
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "")


def drawn(strategy: st.SearchStrategy[T], count: int) -> list[T]:
    """What Hypothesis thinks of; the same each time."""
    found: list[T] = []

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    @given(strategy)
    def gather(value: T) -> None:
        found.append(value)

    gather()
    return found


class Dice(random.Random):
    """Puts requests together: Hypothesis finds odd parts, but it would give half of all to the first few operations."""

    def __init__(self, seed: int, parts: int = 1000) -> None:
        super().__init__(seed)
        self._texts = drawn(texts, parts)
        self._values = drawn(values, parts)
        self._bytes = drawn(st.binary(max_size=200), parts)

    def often(self, percent: int) -> bool:
        return self.randrange(100) < percent

    def text(self) -> str:
        return self.choice(self._texts)

    def segment(self) -> str:
        """What a server makes of a part of a path that was escaped somehow."""
        return self.text().encode("utf-8", "surrogatepass").decode("utf-8", "replace")

    def object(self, fields: Sequence[str], most: int) -> dict[str, Any]:
        names = [
            self.choice(fields) if fields and self.often(70) else self.text() for _ in range(self.randint(0, most))
        ]
        return {name: self.choice(self._values) for name in names}

    def body(self, fields: Sequence[str], example: dict[str, Any]) -> bytes:
        """`fields` mean something where the body goes. Most bodies are the example with a part that is odd, or none."""
        if self.often(60):
            odd = {self.choice(fields): self.choice(self._values) for _ in range(self.randint(0, 2)) if fields}
            return spelt(example | odd)
        whole = self.object(fields, 6)
        return self.choice(
            (
                lambda: spelt(whole),
                lambda: json.dumps(whole, ensure_ascii=False).encode("utf-8", "surrogatepass"),
                lambda: _twice(whole or example),
                lambda: spelt(self.choice(self._values)),
                lambda: self.choice(self._bytes),
                lambda: spelt(example)[: self.randint(0, 60)],
                lambda: b'{"name":' * (depth := self.randint(0, 300)) + b"1" + b"}" * depth,
                lambda: b"",
            )
        )()

    def query(self, names: Sequence[str]) -> bytes:
        """Fields with odd values, escaped as they should be and not at all, and noise."""
        pairs = [
            (self.choice(names) if names and self.often(80) else self.text(), self.text())
            for _ in range(self.randint(0, 3))
        ]
        kind = self.randrange(10)
        if kind < 6:
            return "&".join(f"{_escaped(name)}={_escaped(value)}" for name, value in pairs).encode()
        if kind < 9:
            return "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "surrogatepass")
        return self.choice(self._bytes)

    def headers(self) -> list[tuple[bytes, bytes]]:
        def name() -> bytes:
            return self.choice(HEADER_NAMES) if self.often(90) else self.choice(self._bytes).lower()[:20] or b"x"

        def value() -> bytes:
            return self.choice(HEADER_VALUES) if self.often(70) else self.choice(self._bytes)

        return [(name(), value()) for _ in range(self.randint(1, 3))]

    def cut(self, body: bytes) -> tuple[bytes, ...]:
        """The body in pieces; some may be empty."""
        edges = [0, *sorted(self.randint(0, len(body)) for _ in range(self.randint(0, 3))), len(body)]
        return tuple(body[start:end] for start, end in pairwise(edges))


def spelt(value: Any) -> bytes:
    return json.dumps(value).encode()


def _twice(value: dict[str, Any]) -> bytes:
    """Every field two times."""
    return b"{" + b",".join(spelt(name) + b":" + spelt(one) for name, one in [*value.items()] * 2) + b"}"


def _escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@dataclass(frozen=True)
class Request:
    """`chunks` are the body's parts, in their order."""

    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    chunks: tuple[bytes, ...]

    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": self.method,
            "path": self.path,
            "raw_path": quote_from_bytes(self.path.encode("utf-8", "surrogatepass")).encode(),
            "root_path": "",
            "query_string": self.query,
            "headers": list(self.headers),
            "client": ("192.0.2.1", 1),
            "server": ("house", 80),
        }
