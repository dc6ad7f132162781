"""Bytes that were once sent must be readable for ever: they lie in outboxes, inboxes and dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from libs.contracts import documents
from libs.contracts import envelope as envelopes
from libs.contracts.event import Event, registry, seal
from libs.errors import ContractViolated
from tests.contract.events.record import SAMPLES, sample

FILES = sorted(SAMPLES.glob("*/*.json"))
every_sample = pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}/{file.stem}" for file in FILES])
every_event = pytest.mark.parametrize("event", registry.types.values(), ids=registry.types.keys())


@every_event
def test_every_version_has_samples(event: type[Event]) -> None:
    found = list((SAMPLES / event.routing_key).glob("*.json"))

    assert found, "record them once: python -m tests.contract.events.record"


@every_sample
def test_a_sample_is_read_as_the_event_it_was(file: Path) -> None:
    envelope = envelopes.read(file.read_bytes())
    event = registry.open(envelope)

    assert envelope.type == file.parent.name
    assert envelope.raw == file.read_bytes()
    if event.routing_key == envelope.type:
        assert event.subject() == envelope.subject
        told = orjson.loads(seal(event, source="x", org_id=envelope.org_id).raw)
        assert told.get("data", told).keys() >= (envelope.data or envelope.attributes).keys(), (
            "fields are never taken away"
        )


@every_sample
def test_a_sample_fits_the_documents(file: Path) -> None:
    document = orjson.loads(file.read_bytes())

    _fits(documents.envelope_schema(), document)
    if event := registry.types.get(document["type"]):  # else an upcaster reads it, and its document is gone
        _fits(documents.data_schema(event), document if event.binary_field else document["data"])


@every_event
def test_sealing_and_reading_lose_nothing(event: type[Event]) -> None:
    for full in (True, False):
        envelope = sample(event, full=full)
        opened = registry.open(envelopes.read(envelope.raw))

        again = seal(
            opened,
            source=envelope.source,
            org_id=envelope.org_id,
            event_id=envelope.id,
            company_id=envelope.company_id,
        )
        assert (again.data, again.binary, again.attributes) == (envelope.data, envelope.binary, envelope.attributes)
        assert opened == registry.open(envelope)


@every_event
def test_a_required_field_that_is_missing_is_refused_by_class_and_document_alike(event: type[Event]) -> None:
    document = orjson.loads(sample(event, full=True).raw)
    schema = documents.data_schema(event)
    holder = document if event.binary_field else document["data"]

    for name in schema["required"]:
        value = holder.pop(name)
        assert not jsonschema_rs.is_valid(schema, holder), name
        with pytest.raises(ContractViolated):
            registry.open(envelopes.read(orjson.dumps(document)))
        holder[name] = value


def _fits(schema: dict[str, Any], document: Any) -> None:
    errors = [error.message for error in jsonschema_rs.iter_errors(schema, document, validate_formats=True)]
    assert errors == []
