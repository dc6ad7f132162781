"""contracts/openapi.json says what the gateway and the owners behind it answer, all of it, and reads as a document should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
from typer.testing import CliRunner

from libs.state import CHECKOUT
from services.cli import openapi
from services.cli.main import app
from services.gateway.forwarding import FORWARDS
from tests.integration.services.gateway.house import OWNERS
from tests.security.test_routes import opened, shape

COMMITTED = CHECKOUT / "contracts" / openapi.FILE
DOCUMENT: dict[str, Any] = openapi.document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

every_operation = pytest.mark.parametrize("route", OPERATIONS)


def within(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document, from the outside in."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from within(item)


def test_what_is_committed_is_what_the_code_says() -> None:
    assert COMMITTED.read_bytes() == openapi.content(), "run `make contracts` and review the diff"


def test_making_it_twice_gives_the_same_bytes() -> None:
    assert openapi.document() == DOCUMENT


def test_the_check_tells_a_document_that_drifted(tmp_path: Path) -> None:
    for file in COMMITTED.parent.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert CliRunner().invoke(app, ["contracts", "--check", "--folder", str(tmp_path)]).exit_code == 0

    (tmp_path / openapi.FILE).write_bytes(COMMITTED.read_bytes().replace(b'"get_me"', b'"get_you"'))

    result = CliRunner().invoke(app, ["contracts", "--check", "--folder", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stdout.startswith("openapi.json is not what the code says")


async def test_it_has_every_route_and_no_other() -> None:
    """The routes are those of the apps that answer, whatever the document's own maker thinks of them."""
    async with opened("gateway") as gateway:
        expected = {shape(route) for route in gateway.routes}
    for process in OWNERS:
        async with opened(process) as owner:
            expected |= {shape(route.replace(" ", " /v1", 1)) for route in owner.routes}

    assert {shape(route) for route in OPERATIONS if " /health/" not in route} == expected
    assert {shape(f"{one.method} {one.path}") for one in FORWARDS} <= expected


def test_it_is_openapi() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name
    for one in within(DOCUMENT):
        if "$ref" in one:
            target: Any = DOCUMENT
            for part in one["$ref"].removeprefix("#/").split("/"):
                target = target[part]
    used = {one["$ref"].rpartition("/")[2] for one in within(DOCUMENT) if "$ref" in one}
    for kind in ("schemas", "responses", "parameters", "headers"):
        assert DOCUMENT["components"][kind].keys() <= used, f"components.{kind} has what nobody refers to"


@every_operation
def test_an_operation_says_all_that_a_client_needs(route: str) -> None:
    operation = OPERATIONS[route]
    method, path = route.split(" ")
    parameters = [one for one in operation.get("parameters", ()) if "$ref" not in one]

    assert re.fullmatch(r"[a-z][a-z0-9_]*", operation["operationId"])
    assert [one["name"] for one in parameters if one["in"] == "path"] == re.findall(r"\{(\w+)\}", path)
    assert all(one["required"] for one in parameters if one["in"] == "path")
    answered = [status for status in operation["responses"] if status.startswith("2")]
    assert len(answered) == 1
    if answered != ["204"]:
        assert operation["responses"][answered[0]]["content"]["application/json"]["schema"]
    if path.startswith("/v1/"):
        assert operation["security"] == [{"apiKey": []}]
        assert {"401", "403", "404", "422", "429", "503"} <= operation["responses"].keys()
    assert ("409" in operation["responses"]) == (method != "GET")
    assert "500" not in operation["responses"]  # a bug is promised to nobody


def test_operations_have_names_of_their_own_that_come_from_their_address() -> None:
    names = {route: operation["operationId"] for route, operation in OPERATIONS.items()}

    assert len(set(names.values())) == len(names)
    assert names["GET /v1/leads/{id}"] == "get_leads_by_id"
    assert names["POST /v1/api-keys/{key}/rotations"] == "post_api_keys_by_key_rotations"


@every_operation
def test_a_body_is_strict_and_has_an_example_that_fits(route: str) -> None:
    body = OPERATIONS[route].get("requestBody")
    if body is None:
        return
    assert body["required"]
    assert list(body["content"]) == ["application/json"]
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["additionalProperties"] is False
    assert schema["examples"], f"{name} has no example"
    for example in schema["examples"]:
        jsonschema_rs.validate(schema | {"components": DOCUMENT["components"]}, example)


def test_companies_can_be_asked_for_on_every_forward_and_only_there() -> None:
    forwards = {f"{one.method} {one.path}": one for one in FORWARDS}
    for route, operation in OPERATIONS.items():
        asked = [orjson.dumps(one).decode() for one in operation.get("parameters", ())]
        given = [one for one in asked if "ompan" in one and '"in":"path"' not in one]
        assert len(given) == (2 if route in forwards else 0), route
        if route in forwards:
            said = "by accident" in "".join(given)
            assert said == forwards[route].company_filter, route


def test_two_meanings_of_one_name_are_kept_apart() -> None:
    def face(kind: str) -> dict[str, Any]:
        return {"components": {"schemas": {"Page": {"type": kind}, "Same": {"type": "object", "title": kind}}}}

    operation = {"responses": {"200": [{"$ref": f"#/components/schemas/{name}"} for name in ("Page", "Same")]}}
    schemas = openapi._Schemas()

    first = schemas.taken(operation, face("string"), "analytics")
    second = schemas.taken(operation, face("integer"), "provider-sync")

    assert [one["$ref"].rpartition("/")[2] for one in first["responses"]["200"]] == ["Page", "Same"]
    assert [one["$ref"].rpartition("/")[2] for one in second["responses"]["200"]] == ["ProviderSyncPage", "Same"]
    assert schemas.found["Page"] == {"type": "string"}
    assert schemas.found["ProviderSyncPage"] == {"type": "integer"}


@every_operation
def test_a_text_in_a_query_is_a_cursor_an_id_or_bounded_in_what_it_may_hold(route: str) -> None:
    """Cursors and ids are read before they come to the database; any other text goes there, which takes no NUL."""
    shared = DOCUMENT["components"]["parameters"]
    parameters = [
        shared.get(one.get("$ref", "").rpartition("/")[2], one) for one in OPERATIONS[route].get("parameters", ())
    ]
    loose = [
        one["name"]
        for one in parameters
        if one["in"] == "query" and one["name"] != "after" and not one["name"].endswith("_id")
        for each in one["schema"].get("anyOf", [one["schema"]])
        if each.get("type") == "string" and not each.keys() & {"pattern", "format", "enum", "const"}
    ]
    assert loose == []
