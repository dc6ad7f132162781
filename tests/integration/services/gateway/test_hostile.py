"""Hostile requests at the gateway with its real owners behind it: never a 5xx, and every refusal a problem document."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import structlog

from services.cli import openapi
from tests.fixtures.database import MigratedDatabase
from tests.integration.services.gateway.house import settle
from tests.integration.services.hostile import METHODS, Dice, Request
from tests.integration.services.webhook_ingest.conftest import Answer
from tests.security.matrix.world import made_world
from tests.security.stack import Stack, opened

AT_ONCE = 20
INNER_WORDS = (
    b"Traceback",
    b"asyncpg",
    b"sqlalchemy",
    b"pydantic_core",
    b"relation ",
    b"duplicate key",
    b"violates",
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**config)


@dataclass(frozen=True)
class Operation:
    """`parameters` are those of its query, `fields` those of its body; `example` is a body."""

    method: str
    path: str
    parameters: list[str]
    fields: list[str]
    example: dict[str, Any]


def operations(ids: list[str]) -> list[Operation]:
    """All that the document knows. `ids` stand in for what its examples name, which is nowhere."""
    document = openapi.document()
    schemas, shared = document["components"]["schemas"], document["components"]["parameters"]
    real = {one.partition("_")[0]: one for one in ids}

    def meant(example: dict[str, Any]) -> Any:
        text = orjson.dumps(example).decode()
        return orjson.loads(re.sub(r"([a-z]{3})_[0-9a-f]{32}", lambda found: real.get(found[1], found[0]), text))

    found = []
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parameters = [
                shared.get(each.get("$ref", "").rpartition("/")[2], each) for each in one.get("parameters", ())
            ]
            body = one.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            schema = schemas.get(body.get("$ref", "").rpartition("/")[2], {})
            names = [each["name"] for each in parameters if each["in"] == "query"]
            example = meant(schema.get("examples", [{}])[0])
            found.append(Operation(method.upper(), path, names, list(schema.get("properties", {})), example))
    return found


def thought_up(dice: Dice, known: list[Operation], ids: list[str], key: str) -> Request:
    operation = dice.choice(known)
    path = re.sub(r"\{\w+\}", lambda _: dice.choice(ids) if dice.often(70) else dice.segment(), operation.path)
    takes_body = operation.method in ("POST", "PUT", "PATCH")
    body = dice.body(operation.fields, operation.example) if takes_body or dice.often(10) else b""
    headers = [(b"authorization", f"Bearer {key}".encode())] if dice.often(95) else []
    headers += [(b"content-type", b"application/json")] if dice.often(95) else []
    return Request(
        operation.method if dice.often(95) else dice.choice(METHODS),
        path if dice.often(97) else "/" + dice.segment(),
        dice.query(operation.parameters) if dice.often(20 if takes_body else 70) else b"",
        (*headers, *(dice.headers() if dice.often(20) else ())),
        dice.cut(body),
    )


async def ask(app: Any, request: Request) -> Answer:
    parts = list(request.chunks)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(request.scope(), receive, send)
    start, *rest = sent
    headers = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(message.get("body", b"") for message in rest))


def fault(answer: Answer) -> str:
    """What is wrong with an answer; empty when nothing is."""
    if answer.status >= 500:
        return f"{answer.status}"
    if "x-request-id" not in answer.headers:
        return "no request id"
    if any("\r" in value or "\n" in value for value in answer.headers.values()):
        return "a header that is two"
    if answer.status < 400:
        return ""
    if answer.headers["content-type"] != "application/problem+json":
        return f"a refusal in {answer.headers['content-type']}"
    problem = orjson.loads(answer.body)
    if (problem["status"], problem["request_id"]) != (answer.status, answer.headers["x-request-id"]):
        return "a problem of another answer"
    return next((f"says {word!r}" for word in INNER_WORDS if word in answer.body), "")


@asynccontextmanager
async def bare(migrated: MigratedDatabase) -> AsyncIterator[tuple[Stack, str, list[str]]]:
    """The stack, an admin's key, and ids of the few things that are there; another tenant has as many."""
    async with opened(migrated) as stack:
        found: list[str] = []
        key = ""
        for name in ("Southwind", "Northwind"):
            tenant = await settle(stack.apps["gateway"], stack.platform_key, name)
            key = tenant.admin
            person = {"subject": f"idp|{name}", "email": "ada@example.com", "name": "Ada Example", "role": "org_admin"}
            user = await stack.ask("POST", "/v1/users", key, json=person)
            found += [tenant.org, tenant.company, user.json()["id"]]
        await stack.settle()
        yield stack, key, found


@asynccontextmanager
async def inhabited(migrated: MigratedDatabase) -> AsyncIterator[tuple[Stack, str, list[str]]]:
    """The same with objects of every kind, of four tenants."""
    async with made_world(migrated) as world:
        places = [place for one in world.tenants.values() for place in one.places.values()]
        found = [one for place in places for one in (place.company, *place.ids.values())]
        yield world.stack, world.a.keys["admin"], [*found, *(one.id for one in world.tenants.values())]


@pytest.mark.parametrize(
    ("house", "examples"),
    [(bare, 400), pytest.param(inhabited, 20_000, marks=pytest.mark.heavy)],
    ids=["quick", "whole"],
)
async def test_no_request_ends_in_an_error_of_ours(migrated: MigratedDatabase, house: Any, examples: int) -> None:
    async with house(migrated) as (stack, key, ids):
        dice, known = Dice(seed=1), operations(ids)
        asked = [thought_up(dice, known, ids, key) for _ in range(examples)]
        statuses: Counter[int] = Counter()
        wrong: dict[str, str] = {}
        for start in range(0, len(asked), AT_ONCE):
            group = asked[start : start + AT_ONCE]
            answers = await asyncio.gather(*(ask(stack.apps["gateway"], one) for one in group))
            for one, answer in zip(group, answers, strict=True):
                statuses[answer.status] += 1
                if found := fault(answer):
                    wrong.setdefault(f"{found}: {one.method} {one.path[:60]!r}", f"{one}\n{answer.body[:300]!r}")
        await stack.settle()  # and what was taken is digested

    print(f"\n{statuses.total()} requests: {dict(sorted(statuses.items()))}")  # noqa: T201
    assert not wrong, "\n\n".join(f"{what}\n{how}" for what, how in list(wrong.items())[:10])
    assert statuses[200] + statuses[201] + statuses[202] > examples / 40  # it came as far as handlers
