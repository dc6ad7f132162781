from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event, Registry, registry, seal
from libs.contracts.events import EngagementRecordedV1, LedgerCountedV1, OrganizationCreatedV1, WebhookReceivedV1
from libs.errors import ContractViolated, UnknownVersion
from libs.ids import OrgId, new_id

ORG = OrgId(new_id())


def told(type: str, data: Mapping[str, Any]) -> Envelope:
    return envelopes.seal(type=type, source="gateway", subject="x/1", org_id=ORG, data=data)


@pytest.fixture
def room() -> Iterator[Registry]:
    """The house's registry, with what a test adds taken out again."""
    types, upcasters = dict(registry.types), dict(registry._upcasters)
    yield registry
    registry.types = types
    registry._upcasters = upcasters


def test_an_event_is_opened_with_its_envelope() -> None:
    envelope = seal(OrganizationCreatedV1(organization_id=new_id(), name="Acme"), source="gateway", org_id=ORG)

    event = registry.open(envelopes.read(envelope.raw))

    assert isinstance(event, OrganizationCreatedV1)
    assert (event.name, event.envelope.org_id, event.envelope.id) == ("Acme", ORG, envelope.id)
    assert envelope.subject == f"organization/{event.organization_id}"


def test_an_event_made_here_has_no_envelope() -> None:
    with pytest.raises(LookupError):
        _ = OrganizationCreatedV1(organization_id=new_id(), name="Acme").envelope


def test_events_are_facts_and_do_not_change() -> None:
    event = OrganizationCreatedV1(organization_id=new_id(), name="Acme")

    with pytest.raises(ValueError, match="frozen"):
        event.name = "Other"  # type: ignore[misc]


def test_a_body_travels_as_base64_and_its_fields_as_attributes() -> None:
    event = WebhookReceivedV1(
        delivery_id=new_id(),
        provider="smartlead",
        account_id=new_id(),
        endpoint_id=new_id(),
        received_at=datetime(2026, 11, 20, 12, tzinfo=UTC),
        conflicting=True,
        body=b'{"to_email": "ada@example.com"}\r\n',
    )
    envelope = seal(event, source="webhook-ingest", org_id=ORG)

    document = orjson.loads(envelope.raw)
    assert (document["deliveryid"], document["conflicting"]) == (str(event.delivery_id), "true")
    assert registry.open(envelopes.read(envelope.raw)).model_dump() == event.model_dump()


def test_unknown_fields_are_ignored_by_the_class() -> None:
    event = registry.open(told("organization.created.v1", {"organization_id": str(new_id()), "name": "A", "new": [1]}))

    assert not hasattr(event, "new")
    assert event.envelope.data is not None
    assert event.envelope.data["new"] == [1]


@pytest.mark.parametrize("type", ["organization.created.v99", "nothing.known.v1"])
def test_an_unknown_version_is_no_violation(type: str) -> None:
    with pytest.raises(UnknownVersion, match=type):
        registry.open(told(type, {}))


def test_a_violation_names_the_field_and_tells_nothing_of_the_payload() -> None:
    with pytest.raises(ContractViolated) as refused:
        registry.open(told("organization.created.v1", {"organization_id": "jane@example.com", "name": "Jane Doe"}))
    assert "field organization_id" in str(refused.value)
    assert "jane" not in str(refused.value).lower()

    with pytest.raises(ContractViolated) as refused:
        registry.open(told("ledger.counted.v1", {"service": "x", "counts": [{"hop": {"Jane": 1}}]}))
    assert "field counts.0:" in str(refused.value)


def test_a_key_of_the_payload_is_payload_too() -> None:
    fields = EngagementRecordedV1(
        engagement_id=new_id(),
        account_id=new_id(),
        lead_id=new_id(),
        revision=1,
        channel="email",
        kind="opened",
        occurred_at=datetime(2026, 11, 20, tzinfo=UTC),
        source="webhook",
    ).model_dump(mode="json")

    with pytest.raises(ContractViolated) as refused:
        registry.open(told("engagement.recorded.v1", fields | {"details": {"Jane Doe": 7}}))
    assert "field details:" in str(refused.value)
    assert "Jane" not in str(refused.value)


def test_old_versions_are_read_as_the_newest(room: Registry) -> None:
    class CupFilledV3(Event, type="cup.filled.v3", publisher="gateway", heard_by=("analytics.cups",)):
        """A cup was filled."""

        millilitres: int
        of: str

    room.upcaster("cup.filled.v1", "cup.filled.v2", lambda old: {"litres": old["l"], "of": "tea"})
    room.upcaster("cup.filled.v2", "cup.filled.v3", lambda old: {"millilitres": old["litres"] * 1000, "of": old["of"]})

    assert room.types["cup.filled.v3"] is CupFilledV3
    first = room.open(told("cup.filled.v1", {"l": 2}))
    second = room.open(told("cup.filled.v2", {"litres": 1, "of": "coffee"}))

    assert first.model_dump() == {"millilitres": 2000, "of": "tea"}
    assert second.model_dump() == {"millilitres": 1000, "of": "coffee"}
    assert first.envelope.type == "cup.filled.v1"


def test_a_type_belongs_to_one_class(room: Registry) -> None:
    with pytest.raises(ValueError, match="two classes claim"):

        class Again(Event, type="organization.created.v1", publisher="gateway", heard_by=("analytics.tenants",)):
            """A second claim."""


def test_queues_and_their_types_come_from_the_contracts() -> None:
    queues = registry.queues()

    assert LedgerCountedV1.routing_key in queues["analytics.ledger"]
    assert list(queues) == sorted(queues)
    assert {(queue, name) for queue, names in queues.items() for name in names} == {
        (queue, name) for name, event in registry.types.items() for queue in event.heard_by
    }


def test_a_given_id_is_the_events() -> None:
    wanted = UUID("019aa16b-5a7b-7000-8000-000000000001")
    event = OrganizationCreatedV1(organization_id=new_id(), name="A")

    assert seal(event, source="gateway", org_id=ORG, event_id=wanted).id == wanted  # type: ignore[arg-type]
