"""The envelope: a CloudEvent (1.0, structured JSON) as one byte string that never changes after it was sealed.

The bytes written to the outbox are the bytes published, kept in the inbox, dead-lettered and replayed. Attributes of ours
are extension attributes: `orgid` `companyid` `correlationid` `causationid` `traceparent` `replayid`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.clock import now, rfc3339
from libs.errors import ContractViolated
from libs.ids import CompanyId, EventId, OrgId, new_id

# RabbitMQ copes with more, but one event must fit a wire batch, a log of its shape and a person's screen.
MAX_EVENT_BYTES = 1_500_000

_TRACEPARENT = b'"traceparent":"'  # within a JSON string its quotes would be escaped
_HEAD_BYTES = 2000

_CORE = frozenset(
    "specversion id source type subject time dataschema datacontenttype data data_base64 "
    "orgid companyid correlationid causationid traceparent replayid".split()
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event. `raw` is what travels; the other fields are read from it, `attributes` and `data` as the event's class wants."""

    id: EventId
    type: str
    source: str
    subject: str
    time: datetime
    org_id: OrgId
    company_id: CompanyId | None
    correlation_id: UUID
    causation_id: UUID | None
    traceparent: str | None
    replay_id: UUID | None
    data: Mapping[str, Any] | None
    binary: bytes | None
    attributes: Mapping[str, str]
    raw: bytes


def seal(
    *,
    type: str,
    source: str,
    subject: str,
    org_id: OrgId,
    company_id: CompanyId | None = None,
    data: Mapping[str, Any] | None = None,
    binary: bytes | None = None,
    attributes: Mapping[str, str] | None = None,
    event_id: EventId | None = None,
    cause: Envelope | None = None,
    traceparent: str | None = None,
    replay_id: UUID | None = None,
) -> Envelope:
    """Write an event's bytes. `cause` is the event that led to this one: it hands on the correlation and the replay.

    Raises:
        ContractViolated: the event is larger than MAX_EVENT_BYTES.
    """
    event_id = event_id or EventId(new_id())
    correlation_id = cause.correlation_id if cause else event_id
    replay_id = replay_id or (cause.replay_id if cause else None)
    time = now()
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/{source}",
        "type": type,
        "subject": subject,
        "time": rfc3339(time),
        "dataschema": f"/contracts/{type}.json",
        "orgid": str(org_id),
        "correlationid": str(correlation_id),
    }
    if company_id is not None:
        document["companyid"] = str(company_id)
    if cause is not None:
        document["causationid"] = str(cause.id)
    if traceparent is not None:
        document["traceparent"] = traceparent
    if replay_id is not None:
        document["replayid"] = str(replay_id)
    document |= attributes or {}
    if binary is not None:
        document["datacontenttype"] = "application/octet-stream"
        document["data_base64"] = base64.b64encode(binary).decode("ascii")
    else:
        document["datacontenttype"] = "application/json"
        document["data"] = data
    raw = orjson.dumps(document)
    if len(raw) > MAX_EVENT_BYTES:
        raise ContractViolated(f"a {type} event of {len(raw)} bytes is over the limit of {MAX_EVENT_BYTES}")
    return Envelope(
        id=event_id, type=type, source=source, subject=subject, time=time, org_id=org_id, company_id=company_id,
        correlation_id=correlation_id, causation_id=cause.id if cause else None, traceparent=traceparent,
        replay_id=replay_id, data=data, binary=binary, attributes=attributes or {}, raw=raw,
    )  # fmt: skip


def read(raw: bytes) -> Envelope:
    """An envelope from its bytes.

    Raises:
        ContractViolated: these bytes are no envelope of ours; the message names the attribute at fault.
    """
    try:
        document = orjson.loads(raw)
    except ValueError as error:
        raise ContractViolated("the bytes are not JSON") from error
    if not isinstance(document, dict) or document.get("specversion") != "1.0":
        raise ContractViolated("the bytes are no CloudEvent 1.0")
    data = document.get("data")
    if data is not None and not isinstance(data, dict):
        raise ContractViolated("attribute data is not an object")
    try:
        encoded = document.get("data_base64")
        binary = None if encoded is None else base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ContractViolated("attribute data_base64 is not base64") from error
    event_id = EventId(_uuid(document, "id"))
    company = _optional_uuid(document, "companyid")
    return Envelope(
        id=event_id,
        type=_text(document, "type"),
        source=_text(document, "source").removeprefix("/"),
        subject=_text(document, "subject"),
        time=_time(document),
        org_id=OrgId(_uuid(document, "orgid")),
        company_id=None if company is None else CompanyId(company),
        correlation_id=_uuid(document, "correlationid"),
        causation_id=_optional_uuid(document, "causationid"),
        traceparent=document["traceparent"] if isinstance(document.get("traceparent"), str) else None,
        replay_id=_optional_uuid(document, "replayid"),
        data=data,
        binary=binary,
        attributes={key: value for key, value in document.items() if key not in _CORE and isinstance(value, str)},
        raw=raw,
    )


def traceparent_of(raw: bytes) -> str | None:
    """The trace context in an event's bytes, found without parsing them: attributes come before data."""
    start = raw.find(_TRACEPARENT, 0, _HEAD_BYTES)
    if start < 0:
        return None
    start += len(_TRACEPARENT)
    return raw[start : start + 55].decode("ascii", "replace")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ContractViolated(f"attribute {name} is missing or not text")
    return value


def _uuid(document: Mapping[str, Any], name: str) -> UUID:
    try:
        return UUID(_text(document, name))
    except ValueError as error:
        raise ContractViolated(f"attribute {name} is not a UUID") from error


def _optional_uuid(document: Mapping[str, Any], name: str) -> UUID | None:
    return None if document.get(name) is None else _uuid(document, name)


def _time(document: Mapping[str, Any]) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(document, "time"))
    except ValueError as error:
        raise ContractViolated("attribute time is not RFC 3339") from error
    if moment.tzinfo is None:
        raise ContractViolated("attribute time names no time zone")
    return moment
