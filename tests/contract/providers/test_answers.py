"""The corpus of answers: what a provider's API says, byte for byte, and what the adapter makes of it.

A file of `<provider>/answers/` is one call of one method. It holds `method` and `arguments`, the `exchange` (each request
as it must be made, in this order, and its answer: `body` is JSON, `text` is not) and then `returns` (see form.py) or
`raises` (the error's name and a part of its sentence).
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import re
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pydantic
import pytest

from libs import errors
from libs.errors import PlatformError
from libs.providers import calls
from libs.providers.registry import PROVIDERS
from tests.contract.providers.form import as_json

BASE = "https://provider.example.com"
KEY = "the-account-key"
DATE = "Mon, 20 Jul 2026 12:00:00 GMT"
CASES: dict[tuple[str, str], dict[str, Any]] = {
    (provider, path.stem): json.loads(path.read_text())
    for provider in PROVIDERS
    for path in sorted((Path(__file__).parent / provider / "answers").glob("*.json"))
}
GONE = object()
ODD: tuple[object, ...] = (
    GONE, None, True, -1, 0, 10**30, 1.5, "", " ", "x", "\u0000", [], [1], [{}], [[]], {}, {"id": [1]}, "9" * 500
)  # fmt: skip
ANSWERED = [pytest.param(*name, id="/".join(name)) for name in CASES]


class Provider:
    """Answers as recorded, if it is asked as recorded."""

    def __init__(self, exchange: list[dict[str, Any]]) -> None:
        self.left = list(exchange)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert self.left, f"one request too many: {request.method} {request.url.path}"
        expected = self.left.pop(0)
        query = {name: value for name, value in request.url.params.items() if name != "api_key"}
        assert f"{request.method} {request.url.path}" == expected["request"]
        assert query == expected.get("query", {})
        assert (json.loads(request.content) if request.content else None) == expected.get("json")
        assert KEY in str(request.url) + " ".join(request.headers.values())
        headers = {"date": DATE, "content-type": expected.get("type", "application/json; charset=utf-8")}
        content = expected["text"] if "text" in expected else json.dumps(expected["body"])
        return httpx.Response(expected.get("status", 200), headers=headers, content=content)


@pytest.mark.parametrize(("provider", "name"), ANSWERED)
async def test_an_answer_becomes_what_it_says(provider: str, name: str) -> None:
    case, known = CASES[provider, name], PROVIDERS[provider]
    server = Provider(case["exchange"])
    async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as http:
        client = known.make_client(dict.fromkeys(known.credential_fields, KEY), BASE, http)
        client._policy = calls.CallPolicy(tries=1)  # type: ignore[attr-defined]
        method = getattr(client, case["method"])
        arguments = _arguments(method, case.get("arguments", {}))
        if "raises" in case:
            error = getattr(errors, case["raises"]["error"], None) or getattr(calls, case["raises"]["error"])
            with pytest.raises(error, match=re.escape(case["raises"]["says"])) as raised:
                await method(**arguments)
            assert type(raised.value) is error
            assert isinstance(raised.value, PlatformError)
        else:
            assert as_json(await method(**arguments)) == case["returns"]
    assert server.left == []


@pytest.mark.parametrize(("provider", "name"), ANSWERED)
async def test_an_answer_with_any_field_odd_or_gone_is_read_or_refused_and_never_a_crash(
    provider: str, name: str
) -> None:
    case, known = CASES[provider, name], PROVIDERS[provider]
    odd = itertools.cycle(ODD)
    for step, at in enumerate(case["exchange"]):
        for path in list(_places(at.get("body"))):
            for _ in range(3):
                exchange = copy.deepcopy(case["exchange"])
                _put(exchange[step], ["body", *path], next(odd))
                async with httpx.AsyncClient(transport=httpx.MockTransport(Lenient(exchange))) as http:
                    client = known.make_client(dict.fromkeys(known.credential_fields, KEY), BASE, http)
                    client._policy = calls.CallPolicy(tries=1)  # type: ignore[attr-defined]
                    method = getattr(client, case["method"])
                    with contextlib.suppress(PlatformError):  # anything else is a bug
                        await method(**_arguments(method, case.get("arguments", {})))


class Lenient:
    """Answers by the request alone, in any order and however often."""

    def __init__(self, exchange: list[dict[str, Any]]) -> None:
        self._answers = {step["request"]: step for step in exchange}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        step = self._answers.get(f"{request.method} {request.url.path}", {"body": {}})
        content = step["text"] if "text" in step else json.dumps(step["body"])
        headers = {"date": DATE, "content-type": step.get("type", "application/json")}
        return httpx.Response(step.get("status", 200), headers=headers, content=content)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from _places(item, (*path, name))


def _put(value: Any, path: Sequence[str | int], new: object) -> None:
    """Put `new` at the place, or take the place away."""
    for name in path[:-1]:
        value = value[name]
    if path[-1] not in value if isinstance(value, dict) else False:
        return
    if new is GONE:
        del value[path[-1]]
        if path == ["body"]:
            value["text"] = ""
    else:
        value[path[-1]] = new


def test_there_are_answers_of_the_providers_that_have_actions() -> None:
    counted = {provider: sum(name[0] == provider for name in CASES) for provider in PROVIDERS}
    assert counted["smartlead"] >= 40
    assert counted["heyreach"] >= 60
    assert counted["emailbison"] >= 70


def _arguments(method: Any, told: dict[str, Any]) -> dict[str, Any]:
    """Records from their JSON, by what the method asks for."""
    hints = typing.get_type_hints(method)
    return {name: pydantic.TypeAdapter(hints[name]).validate_python(value) for name, value in told.items()}
