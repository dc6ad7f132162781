"""What makes a class an event, and the registry that knows them all.

An event class is owned by its one publisher. Who hears it is written here too, so that topology, ledger and documents come
from one place: an event that nobody hears would be returned by the broker and must not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.errors import ContractViolated, UnknownVersion
from libs.ids import CompanyId, EventId, OrgId

ANY_SERVICE = "*"  # the publisher of events that every service publishes


class Event(BaseModel):
    """A fact, immutable. Fields unknown to this build are ignored here and kept in the envelope's bytes.

    Class arguments: `type` (= routing key, with its version), `publisher`, `heard_by` (queue names), `binary` (the one
    field that rides as `data_base64`; the other fields then ride as extension attributes).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")

    routing_key: ClassVar[str] = ""
    publisher: ClassVar[str] = ""
    heard_by: ClassVar[tuple[str, ...]] = ()
    binary_field: ClassVar[str | None] = None

    _envelope: Envelope | None = PrivateAttr(default=None)

    def __init_subclass__(
        cls, *, type: str, publisher: str, heard_by: tuple[str, ...], binary: str | None = None, **more: Any
    ) -> None:
        super().__init_subclass__(**more)
        cls.routing_key, cls.publisher, cls.heard_by, cls.binary_field = type, publisher, heard_by, binary

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        registry.add(cls)

    @property
    def envelope(self) -> Envelope:
        """The envelope it came in; only for events that were received."""
        if self._envelope is None:
            raise LookupError("this event was made here and has no envelope yet")
        return self._envelope

    def subject(self) -> str:
        """The natural key of what the event speaks of: `message/<id>`."""
        raise LookupError(f"{type(self).__name__} names no subject")


E = TypeVar("E", bound=Event)
Upcaster = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Registry:
    """Event types by name, and how an old version becomes the next."""

    def __init__(self) -> None:
        self.types: dict[str, type[Event]] = {}
        self._upcasters: dict[str, tuple[str, Upcaster]] = {}

    def add(self, event: type[Event]) -> None:
        if event.routing_key in self.types:
            raise ValueError(f"two classes claim the event type {event.routing_key}")
        self.types[event.routing_key] = event

    def upcaster(self, old: str, new: str, function: Upcaster) -> None:
        """Read `old` as `new` from now on: `function` turns the old data into the new (pure, total)."""
        self._upcasters[old] = (new, function)

    def open(self, envelope: Envelope) -> Event:
        """The event inside an envelope, as its newest version.

        Raises:
            UnknownVersion: no class and no upcaster knows this type; park it, a later build may.
            ContractViolated: the data is not what the version promises.
        """
        name, fields = envelope.type, _fields(envelope)
        while name in self._upcasters:
            name, upcast = self._upcasters[name]
            fields = dict(upcast(fields))
        event_type = self.types.get(name)
        if event_type is None:
            raise UnknownVersion(f"this build knows no event {envelope.type}; deploy one that does, then replay")
        if event_type.binary_field is not None:
            fields = {field: fields.get(field.replace("_", "")) for field in event_type.model_fields}
            fields = {field: value for field, value in fields.items() if value is not None}
            fields[event_type.binary_field] = envelope.binary
        try:
            event = event_type.model_validate(fields)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            # Below the field only positions: a mapping's keys are payload too.
            where = ".".join(
                str(part) for depth, part in enumerate(first["loc"]) if depth == 0 or isinstance(part, int)
            )
            raise ContractViolated(f"{envelope.type}: field {where}: {first['msg']}") from None
        event._envelope = envelope
        return event

    def queues(self) -> dict[str, tuple[str, ...]]:
        """Every queue and the event types bound to it: the whole topology."""
        found: dict[str, list[str]] = {}
        for name, event in sorted(self.types.items()):
            for queue in event.heard_by:
                found.setdefault(queue, []).append(name)
        return {queue: tuple(types) for queue, types in sorted(found.items())}


registry = Registry()


def _attribute(value: Any) -> str:
    """CloudEvents' text of a scalar: `true`, not Python's `True`."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _fields(envelope: Envelope) -> Mapping[str, Any]:
    return envelope.attributes if envelope.binary is not None else (envelope.data or {})


def seal(
    event: Event,
    *,
    source: str,
    org_id: OrgId,
    company_id: CompanyId | None = None,
    event_id: EventId | None = None,
    cause: Envelope | None = None,
    traceparent: str | None = None,
    replay_id: UUID | None = None,
) -> Envelope:
    """An event in its envelope, ready for the outbox."""
    data: Mapping[str, Any] | None = None
    binary: bytes | None = None
    attributes: dict[str, str] | None = None
    if event.binary_field is None:
        data = event.model_dump(mode="json")
    else:
        binary = getattr(event, event.binary_field)
        dumped = event.model_dump(mode="json", exclude={event.binary_field}, exclude_none=True)
        attributes = {name.replace("_", ""): _attribute(value) for name, value in dumped.items()}
    return envelopes.seal(
        type=event.routing_key, source=source, subject=event.subject(), org_id=org_id, company_id=company_id, data=data,
        binary=binary, attributes=attributes, event_id=event_id, cause=cause, traceparent=traceparent, replay_id=replay_id,
    )  # fmt: skip
