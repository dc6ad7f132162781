"""Records samples of event types that have none: `python -m tests.contract.events.record`.

What was recorded is never written again: it stands for bytes that are in somebody's outbox, inbox or dead letter.
"""

from __future__ import annotations

import types
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from uuid import UUID, uuid5

from pydantic import BaseModel

import libs.contracts.events  # noqa: F401 - fills the registry
from libs import clock
from libs.contracts.documents import publishers
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event, registry, seal
from libs.ids import CompanyId, EventId, OrgId

SAMPLES = Path(__file__).parent / "samples"
NOON = datetime(2026, 11, 20, 12, 0, 0, 123000, UTC)
_SPACE = UUID("6f1d1f5e-0000-4000-8000-000000000000")
_TEXTS = {
    "allowed_sources": "192.0.2.0/24",
    "campaign_external_id": "4711",
    "channel": "email",
    "consumer": "analytics.facts",
    "error_class": "contract_violated",
    "event_subject": "message/1",
    "event_type": "message.recorded.v1",
    "external_id": "4711",
    "fingerprint": "9f86d081884c7d659a2feaa0",
    "hop": "analytics.facts",
    "ids_xor": "019aa16b5a7b70008000000000000001",
    "name": "Autumn, part 2",
    "our_hash": "00000000000000000000000000000000",
    "provider": "smartlead",
    "provider_hash": "9f86d081884c7d659a2feaa0c55ad015",
    "service": "provider-sync",
    "signature_headers": '{"x-smartlead-signature": "sha256=00"}',
    "source": "webhook",
    "state": "done",
    "time_zone": "Europe/Berlin",
    "token_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
_BODY = b'{"event_type": "EMAIL_SENT", "to_email": "ada@example.com", "note": "\xc3\xbc"}'


def id_of(name: str) -> UUID:
    """The same name is the same id in all samples."""
    return uuid5(_SPACE, name)


def sample(event_type: type[Event], *, full: bool) -> Envelope:
    """An event with all its fields and attributes, or with the required ones only."""
    event = event_type.model_validate(_fields(event_type, full=full))
    minted = UUID("019aa16b-5a7b-7000-8000-00000000000" + ("1" if full else "2"))
    cause = _cause() if full else None
    with clock.frozen(NOON):
        return seal(
            event,
            source=publishers(event_type)[0],
            org_id=OrgId(id_of("org")),
            company_id=CompanyId(id_of("company")) if full else None,
            event_id=EventId(minted),
            cause=cause,
            traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" if full else None,
            replay_id=id_of("replay") if full else None,
        )


def _cause() -> Envelope:
    event = registry.types["organization.created.v1"]
    with clock.frozen(NOON):
        return seal(
            event.model_validate(_fields(event, full=False)),
            source="gateway",
            org_id=OrgId(id_of("org")),
            event_id=EventId(UUID("019aa16b-5a7b-7000-8000-000000000000")),
        )


def _fields(model: type[BaseModel], *, full: bool) -> dict[str, Any]:
    return {
        name: _value(name, field.annotation, full=full)
        for name, field in model.model_fields.items()
        if full or field.is_required()
    }


def _value(name: str, kind: Any, *, full: bool) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return parts[0]
    if origin in (Union, types.UnionType):
        return _value(name, next(part for part in parts if part is not type(None)), full=full)
    if origin is tuple:
        inner = parts[:1] if Ellipsis in parts else parts
        return tuple(_value(name, part, full=full) for part in inner)
    if origin is dict:
        return {"deliveries": 3} if parts[1] is int else {"category": "Interested"}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _fields(kind, full=full)
    plain = {
        UUID: id_of(name),
        str: _TEXTS.get(name, f"some {name.replace('_', ' ')}"),
        int: 3,
        float: 0.5,
        bool: True,
        bytes: _BODY,
        date: NOON.date(),
        datetime: NOON,
    }
    return plain[kind]


def main() -> None:
    for name, event_type in sorted(registry.types.items()):
        folder = SAMPLES / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for full in (True, False):
                (folder / f"{'full' if full else 'least'}.json").write_bytes(sample(event_type, full=full).raw)


if __name__ == "__main__":
    main()
