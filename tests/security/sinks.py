"""Everything that we write or say, and what may be found where."""

from __future__ import annotations

import base64
import io
import traceback
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import orjson
from opentelemetry.sdk.trace import ReadableSpan

from libs.contracts.envelope import Envelope
from libs.errors import PlatformError

PERSONS = "zanary"  # part of every name, address and text of a person that goes in
KEYS = "kcanary"  # part of every provider's key that goes in


@dataclass
class Sinks:
    """What was said until now. `secrets` are those that we made ourselves, `shown_once` the one answer that shows each."""

    log: io.StringIO = field(default_factory=io.StringIO)
    spans: list[ReadableSpan] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    events: list[Envelope] = field(default_factory=list)
    answers: list[httpx.Response] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    shown_once: dict[str, httpx.Response] = field(default_factory=dict)

    def texts(self) -> Iterator[tuple[str, str]]:
        """(where, text) of all but the database."""
        for line in self.log.getvalue().splitlines():
            yield "log", line
        for span in self.spans:
            yield "span", _span(span)
        for error in self.errors:
            # What others raise may hold anything; of that we say what trace_of says, which is in the log.
            if isinstance(error, PlatformError):
                yield "exception", "".join(traceback.format_exception(error)) + repr(error)
        for event in self.events:
            yield f"event {event.type}", _opened(event.raw)
        for answer in self.answers:
            text = f"{answer.status_code} {dict(answer.headers)} {_opened(answer.content)}"
            for secret, once in self.shown_once.items():
                if answer is once:
                    text = text.replace(secret, "")
            yield f"answer of {'/'.join(answer.request.url.path.split('/')[1:3])}", text

    def leaks_of_secrets(self, texts: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
        """Where -> what, for every secret in any spelling."""
        spelled = {spelling for secret in self.secrets for spelling in _spellings(secret)}
        found: dict[str, set[str]] = defaultdict(set)
        for where, text in texts:
            lowered = text.lower()
            if KEYS in lowered:
                at = lowered.index(KEYS)
                found[where].add("…" + text[max(0, at - 80) : at + 60])
            for spelling in spelled:
                if spelling in text:
                    at = text.index(spelling)
                    found[where].add("…" + text[max(0, at - 80) : at + 60])
        return dict(found)


def leaks_of_persons(texts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Where -> one text that holds something of a person."""
    found: dict[str, str] = {}
    for where, text in texts:
        at = text.lower().find(PERSONS)
        if at >= 0:
            found.setdefault(where, "…" + text[max(0, at - 120) : at + 60])
    return found


async def stored(admin_url: str) -> list[tuple[str, str]]:
    """(schema.table.column, text) of every value in the database, with what is packed in it unpacked."""
    connection = await asyncpg.connect(admin_url)
    try:
        tables = await connection.fetch(
            "SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
            "AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
        )
        found = []
        for schema, table in tables:
            for row in await connection.fetch(f'SELECT * FROM "{schema}"."{table}"'):
                for column, value in row.items():
                    text = _opened(value) if isinstance(value, bytes) else str(value)
                    found.append((f"{schema}.{table}.{column}", text))
        return found
    finally:
        await connection.close()


def _opened(raw: bytes) -> str:
    """The bytes as text, and below it what lies base64-encoded in the JSON that they may be."""
    text = raw.decode("latin-1")
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return text
    return "\n".join([text, *_packed(value)])


def _packed(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _packed(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _packed(inner)
    elif isinstance(value, str) and len(value) > 20:
        with suppress(ValueError):
            yield base64.b64decode(value, validate=True).decode("latin-1")


def _span(span: ReadableSpan) -> str:
    parts: list[Any] = [span.name, span.attributes, span.status.description, span.resource.attributes]
    parts += [(event.name, event.attributes) for event in span.events]
    parts += [link.attributes for link in span.links]
    return str([dict(part) if hasattr(part, "items") else part for part in parts])


def _spellings(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
    return {secret, quote(secret, safe=""), secret.encode().hex(), encoded[:-1]}
