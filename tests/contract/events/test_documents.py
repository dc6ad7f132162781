"""What contracts/ says is what the classes do, and reads as a document should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
import yaml

from libs.contracts import documents
from libs.contracts.envelope import _CORE
from libs.contracts.event import ANY_SERVICE, Event, registry
from libs.database.names import SERVICES, process_name
from libs.messaging import topology, wire
from libs.state import CHECKOUT

COMMITTED = CHECKOUT / "contracts"
PROCESSES = {process_name(service) for service in SERVICES}
# The words of things that must not travel; a hash of one may.
SECRET = re.compile(
    r"secret|password|passphrase|token|api_?key|private|credential|authorization|cookie|pepper", re.IGNORECASE
)
HASHED = {"token_sha256"}
NAMED = {"token_id", "tokenid", "earlier_tokens"}  # which token, never the token

every_event = pytest.mark.parametrize("event", registry.types.values(), ids=registry.types.keys())


def test_what_is_committed_is_what_the_code_says() -> None:
    expected = documents.documents()
    found = {file.name: file.read_bytes() for file in COMMITTED.glob("*.*") if file.name != "openapi.json"}

    drifted = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    assert drifted == [], "run `make contracts` and review the diff"


def test_writing_twice_gives_the_same_bytes_and_removes_what_is_no_more(tmp_path: Path) -> None:
    (tmp_path / "gone.away.v1.json").write_text("{}")
    (tmp_path / "openapi.json").write_text("{}")

    first = {file: file.read_bytes() for file in documents.write(tmp_path)}
    second = {file: file.read_bytes() for file in documents.write(tmp_path)}

    assert first == second
    assert list(first) == sorted(first)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in first} | {"openapi.json"}


@every_event
def test_the_class_is_named_for_its_type_and_says_what_it_means(event: type[Event]) -> None:
    subject, verb, version = event.routing_key.split(".")
    words = "".join(word.capitalize() for word in f"{subject}_{verb}".split("_"))

    assert event.__name__ == f"{words}{version.upper()}"
    assert event.__doc__
    assert documents.data_schema(event)["description"]


@every_event
def test_publisher_and_listeners_are_services_of_the_house(event: type[Event]) -> None:
    assert event.publisher in PROCESSES | {ANY_SERVICE}
    assert event.heard_by, "the broker would return an event that nobody hears"
    for queue in event.heard_by:
        process, consumer = queue.split(".")
        assert process in PROCESSES
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", consumer)


@every_event
def test_the_schema_is_one_and_lets_unknown_fields_pass(event: type[Event]) -> None:
    schema = documents.data_schema(event)

    jsonschema_rs.meta.validate(schema)
    assert not [value for key, value in _members(schema) if key == "additionalProperties" and value is False]


@every_event
def test_no_field_looks_like_a_secret(event: type[Event]) -> None:
    names = {name for key, value in _members(documents.data_schema(event)) if key == "properties" for name in value}

    assert {name for name in names if SECRET.search(name)} <= HASHED | NAMED


@every_event
def test_attributes_of_a_binary_event_hide_none_of_the_envelope(event: type[Event]) -> None:
    if event.binary_field is None:
        return
    attributes = {name.replace("_", "") for name in event.model_fields if name != event.binary_field}

    assert attributes & _CORE == set()
    assert len(attributes) == len(event.model_fields) - 1


def test_the_envelopes_schema_is_one() -> None:
    jsonschema_rs.meta.validate(documents.envelope_schema())


def test_the_yaml_is_the_document() -> None:
    assert yaml.safe_load((COMMITTED / "asyncapi.yaml").read_text()) == documents.asyncapi()


def test_every_reference_of_the_document_leads_somewhere() -> None:
    document = documents.asyncapi()
    references = {value for key, value in _members(document) if key == "$ref"}
    assert references

    for reference in sorted(references):
        if reference.startswith("#/"):
            assert _at(document, reference), reference
        else:
            assert orjson.loads((COMMITTED / reference).read_bytes())["$id"], reference


def test_an_operations_messages_are_messages_of_its_channel() -> None:
    document = documents.asyncapi()

    for name, operation in document["operations"].items():
        channel = operation["channel"]["$ref"]
        assert operation["action"] in ("send", "receive"), name
        assert operation["messages"], name
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"]), name


def test_the_document_tells_the_topology() -> None:
    document = documents.asyncapi()
    heard = {
        name: tuple(sorted(_at(document, _at(document, one["$ref"])["$ref"])["name"] for one in operation["messages"]))
        for name, operation in document["operations"].items()
        if operation["action"] == "receive"
    }
    said = {name for name, operation in document["operations"].items() if operation["action"] == "send"}

    assert heard == {f"{queue}.receive": types for queue, types in registry.queues().items()}
    assert said == {
        f"{process}.send.{name}"
        for name, event in registry.types.items()
        for process in (PROCESSES if event.publisher == ANY_SERVICE else {event.publisher})
    }


def test_what_the_document_says_of_the_wire_is_what_messaging_does() -> None:
    assert topology.EVENTS == documents.EXCHANGE
    assert wire.CONTENT_TYPE == documents.WIRE_CONTENT_TYPE
    assert wire.MAX_EVENTS == documents.WIRE_MAX_EVENTS


def _members(document: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield key, value
            yield from _members(value)
    elif isinstance(document, list):
        for item in document:
            yield from _members(item)


def _at(document: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document
