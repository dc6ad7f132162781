"""Looks at everything that the published API lets one look at: every list, filter, page and object, and the refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.security.stack import Stack
from tests.security.twins.eyes import Eyes

DOCUMENT = Path(__file__).parents[3] / "contracts" / "openapi.json"
MOST_OF_A_KIND = 2
MOST_PAGES = 4
_PUBLIC_ID = re.compile(r"\b([a-z]{3})_([0-9a-f]{32})\b")
_ADDRESS = re.compile(r'"email":"([^"]+)"')
_KINDS = {"campaign_id": "cam", "account_id": "acc", "company_id": "cmp", "lead_id": "led"}


@dataclass(frozen=True)
class Reader:
    name: str
    key: str


@dataclass
class Crawl:
    """`foreign`: public ids of others, or of nobody, to ask for. `meanwhile` is awaited after each look. `only`: paths that
    begin so."""

    stack: Stack
    eyes: Eyes
    foreign: list[str]
    first_day: str
    meanwhile: Callable[[], Awaitable[None]]
    only: str = "/v1/"
    _ids: dict[str, list[str]] = field(default_factory=dict)
    _fitting: dict[str, set[str]] = field(default_factory=dict)  # path -> kinds of ids that name something there
    _addresses: list[str] = field(default_factory=list)

    async def run(self, reader: Reader) -> None:
        self._ids, self._addresses = {}, []
        gets = [(path, one["get"]) for path, one in _document()["paths"].items() if "get" in one]
        assert len(gets) > 25, "the API document has lost its routes"
        gets = [one for one in gets if one[0].startswith(self.only)]
        for path, operation in gets:
            if "{" not in path:
                await self._list(reader, path, _parameters(operation))
        for path, operation in gets:
            if "{" in path:
                await self._objects(reader, path, _parameters(operation))

    async def _list(self, reader: Reader, path: str, parameters: dict[str, Any]) -> None:
        await self._look(reader, path)
        if "all_companies" in parameters:
            await self._look(reader, f"{path}?all_companies=true")  # so that there are ids to ask for
        for query in list(self._queries(parameters)):
            await self._look(reader, f"{path}?{query}")
            if "all_companies" in parameters and not query.startswith(("company_id", "all_companies")):
                await self._look(reader, f"{path}?{query}&all_companies=true")
        await self._pages(reader, path, parameters)

    async def _pages(self, reader: Reader, path: str, parameters: dict[str, Any]) -> None:
        if "limit" not in parameters:
            return
        everything = "&all_companies=true" if "all_companies" in parameters else ""
        for base in dict.fromkeys((f"{path}?limit=1{everything}", f"{path}?limit=1")):
            query = base
            for _ in range(MOST_PAGES):
                answer = await self._look(reader, query)
                cursor = answer.get("next_cursor")
                if not cursor:
                    break
                query = f"{base}&after={cursor}"

    async def _objects(self, reader: Reader, path: str, parameters: dict[str, Any]) -> None:
        """By the first reader with ids of all kinds, by the others with those that name something there."""
        is_first = path not in self._fitting
        fitting = self._fitting.setdefault(path, set())
        for kind, ids in sorted(self._ids.items()):
            for one in ids[:MOST_OF_A_KIND] if is_first or kind in fitting else ():
                answer = await self._look(reader, _named(path, one))
                if answer.get("status") == 404:
                    break
                fitting.add(kind)
                for query in self._queries(parameters):
                    await self._look(reader, f"{_named(path, one)}?{query}")
        for one in self.foreign:
            if is_first or one[:3] in fitting:
                await self._look(reader, _named(path, one))

    def _queries(self, parameters: dict[str, Any]) -> Iterator[str]:
        for name, schema in parameters.items():
            if name in _KINDS:
                kind = _KINDS[name]
                values = self._ids.get(kind, [])[:MOST_OF_A_KIND]
                values += [one for one in self.foreign if one.startswith(kind)]
            elif "enum" in schema:
                values = [str(value) for value in schema["enum"]]
            elif name == "email":
                values = [one.replace("+", "%2B") for one in self._addresses[:MOST_OF_A_KIND]]
            elif schema.get("format") == "date":
                values = [self.first_day]
            elif schema.get("type") == "number":
                values = ["0"]
            else:
                values = ["nonsense"]
            yield from (f"{name}={value}" for value in values)

    async def _look(self, reader: Reader, path: str) -> dict[str, Any]:
        response = await self.eyes.look(f"{reader.name} GET {path}", self.stack.ask("GET", path, reader.key))
        for kind, number in _PUBLIC_ID.findall(response.text):
            known = self._ids.setdefault(kind, [])
            if f"{kind}_{number}" not in known and kind != "req" and f"{kind}_{number}" not in self.foreign:
                known.append(f"{kind}_{number}")
        self._addresses += [one for one in _ADDRESS.findall(response.text) if one not in self._addresses]
        await self.meanwhile()
        found = response.json() if response.content else {}
        return found if isinstance(found, dict) else {}


def _named(path: str, identifier: str) -> str:
    return re.sub(r"\{\w+\}", identifier, path)


def _document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DOCUMENT.read_text())
    return found


def _parameters(operation: dict[str, Any]) -> dict[str, Any]:
    """Name -> schema of what a query may say."""
    found = {}
    for parameter in map(_resolved, operation.get("parameters", [])):
        if parameter["in"] == "query":
            found[parameter["name"]] = _resolved(parameter.get("schema", {}))
    return found


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        target: Any = _document()
        for name in part["$ref"].split("/")[1:]:
            target = target[name]
        part = target
    return part
