"""The contracts as documents: a JSON Schema per event, the envelope's, and one AsyncAPI document of who says what to whom.

Generated from the event classes and committed, so that a change of a contract is a diff that somebody reviews. The same code
gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.contracts.envelope import MAX_EVENT_BYTES
from libs.contracts.event import ANY_SERVICE, Event, registry
from libs.database.names import SERVICES, process_name

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ASYNCAPI_DIALECT = "application/schema+json;version=draft-2020-12"

# What libs.messaging does, said again because contracts lie below it; a test compares the two.
EXCHANGE = "events"
WIRE_CONTENT_TYPE = "application/cloudevents-batch+json"
WIRE_MAX_EVENTS = 200

_UUID = {"type": "string", "format": "uuid"}
_TIME = {"type": "string", "format": "date-time"}


def write(folder: Path) -> list[Path]:
    """Write every document into `folder`, remove those of events that are no more; answers the files, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    written = documents()
    for file in folder.glob("*.v*.json"):
        if file.name not in written:
            file.unlink()
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in written]


def drifted(folder: Path, expected: Mapping[str, bytes]) -> list[str]:
    """The names of documents in `folder` that are not as expected, are missing, or are of events that are no more."""
    found = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    ours = expected.keys() | {name for name in found if re.search(r"\.v[0-9]+\.json$", name)}
    return sorted(name for name in ours if found.get(name) != expected.get(name))


def documents() -> dict[str, bytes]:
    """File name -> content, sorted by name."""
    found = {f"{name}.json": _json(data_schema(event)) for name, event in registry.types.items()}
    found["envelope.json"] = _json(envelope_schema())
    found["asyncapi.yaml"] = ("\n".join(_yaml(asyncapi())) + "\n").encode()
    return dict(sorted(found.items()))


def data_schema(event: type[Event]) -> dict[str, Any]:
    """What `data` holds; for a binary event, which extension attributes stand beside `data_base64`.

    Fields that are not required were added later or are often unknown. More fields than these may come.
    """
    schema = event.model_json_schema()
    if event.binary_field is not None:
        schema = _of_binary(event, schema)
    described: dict[str, Any] = {
        "$schema": _DIALECT,
        "$id": f"/contracts/{event.routing_key}.json",
        "title": event.__name__,
        "description": _prose(event.__doc__),
        "type": "object",
    }
    for part in ("properties", "required", "$defs"):
        if part in schema:
            described[part] = untitled(schema[part], names=part != "required")
    return described


def _of_binary(event: type[Event], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Extension attributes are text under names without underscores, as CloudEvents wants them."""

    def attribute(name: str) -> str:
        return "data_base64" if name == event.binary_field else name.replace("_", "")

    properties: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        kept = {key: field[key] for key in ("description", "format") if key in field}
        if name == event.binary_field:
            kept = {"contentEncoding": "base64"}
        elif field.get("type") == "boolean":
            kept["enum"] = ["true", "false"]
        properties[attribute(name)] = {"type": "string"} | kept
    return {"properties": properties, "required": [attribute(name) for name in schema.get("required", ())]}


def envelope_schema() -> dict[str, Any]:
    """Our profile of CloudEvents: what its standard leaves open, and the extension attributes that are ours."""
    attributes: dict[str, dict[str, Any]] = {
        "specversion": {"const": "1.0"},
        "id": _UUID | {"description": "UUIDv7; the idempotency key of every consumer."},
        "source": {"type": "string", "pattern": "^/[a-z][a-z-]*$", "description": "The service that says so."},
        "type": {
            "type": "string",
            "pattern": r"^[a-z][a-z_]*\.[a-z][a-z_]*\.v[0-9]+$",
            "description": "Name and version; also the routing key.",
        },
        "subject": {"type": "string", "minLength": 1, "description": "The natural key of what the event speaks of."},
        "time": _TIME | {"description": "When it was said, by our clock; not when it happened at a provider."},
        "dataschema": {"type": "string", "pattern": r"^/contracts/[a-z_.]+\.v[0-9]+\.json$"},
        "datacontenttype": {"enum": ["application/json", "application/octet-stream"]},
        "data": {"type": "object"},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
        "orgid": _UUID | {"description": "The tenant; all zeros for what belongs to no tenant."},
        "companyid": _UUID | {"description": "The tenant's client company, where one is known."},
        "correlationid": _UUID | {"description": "The id of the first event of the chain."},
        "causationid": _UUID | {"description": "The id of the event that led to this one."},
        "traceparent": {"type": "string", "description": "W3C trace context in which it was said."},
        "replayid": _UUID | {"description": "Set when it is said again: which replay asked for it."},
    }
    return {
        "$schema": _DIALECT,
        "$id": "/contracts/envelope.json",
        "title": "Envelope",
        "description": (
            "A CloudEvent 1.0 in structured JSON mode, one byte string from outbox to dead letter, at most "
            f"{MAX_EVENT_BYTES} bytes. Readers keep attributes that they do not know."
        ),
        "type": "object",
        "properties": attributes,
        "required": "specversion id source type subject time orgid correlationid".split(),
        "oneOf": [{"required": ["data"]}, {"required": ["data_base64"]}],
    }


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: a channel per routing key (said there) and per queue (heard there), an operation per service and channel."""
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    types = dict(sorted(registry.types.items()))
    for name, event in types.items():
        channels[name] = {
            "address": name,
            "messages": {event.__name__: _reference("components", "messages", event.__name__)},
            "bindings": {
                "amqp": {
                    "is": "routingKey",
                    "exchange": {"name": EXCHANGE, "type": "topic", "durable": True, "autoDelete": False},
                    "bindingVersion": "0.3.0",
                }
            },
        }
        for service in publishers(event):
            operations[f"{service}.send.{name}"] = {
                "action": "send",
                "title": f"{service} says {name}",
                "channel": _reference("channels", name),
                "messages": [_reference("channels", name, "messages", event.__name__)],
                "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": "0.3.0"}},
            }
    for queue, bound in registry.queues().items():
        names = [types[name].__name__ for name in bound]
        channels[queue] = {
            "address": queue,
            "description": f"Bound to {EXCHANGE} by: {', '.join(bound)}.",
            "messages": {name: _reference("components", "messages", name) for name in names},
            "bindings": {
                "amqp": {
                    "is": "queue",
                    "queue": {"name": queue, "durable": True, "exclusive": False, "autoDelete": False},
                    "bindingVersion": "0.3.0",
                }
            },
        }
        operations[f"{queue}.receive"] = {
            "action": "receive",
            "title": f"{queue.split('.', 1)[0]} hears {queue.split('.', 1)[1]}",
            "channel": _reference("channels", queue),
            "messages": [_reference("channels", queue, "messages", name) for name in names],
            "bindings": {"amqp": {"ack": True, "bindingVersion": "0.3.0"}},
        }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Outrider's events",
            "version": "1.0.0",
            "description": "A channel for each routing key, where a thing is said, and for each queue, where it is heard.",
        },
        "defaultContentType": WIRE_CONTENT_TYPE,
        "channels": dict(sorted(channels.items())),
        "operations": dict(sorted(operations.items())),
        "components": {"messages": {event.__name__: _message(event) for event in types.values()}},
    }


def publishers(event: type[Event]) -> tuple[str, ...]:
    """The processes that publish the event."""
    if event.publisher == ANY_SERVICE:
        return tuple(sorted(process_name(service) for service in SERVICES))
    return (event.publisher,)


def _message(event: type[Event]) -> dict[str, Any]:
    schema = {"$ref": f"./{event.routing_key}.json"}
    body: dict[str, Any] = {"properties": {"type": {"const": event.routing_key}}}
    if event.binary_field is None:
        body["properties"]["data"] = schema
        parts = [body]
    else:
        parts = [body, schema]
    return {
        "name": event.routing_key,
        "title": event.__name__,
        "summary": _prose(event.__doc__),
        "contentType": WIRE_CONTENT_TYPE,
        "headers": {
            "type": "object",
            "properties": {
                "offsets": {
                    "type": "array",
                    "items": {"type": "integer"},
                    "description": "Start, end, start, end … of each event's bytes in the body.",
                }
            },
        },
        "payload": {
            "schemaFormat": _ASYNCAPI_DIALECT,
            "schema": {
                "type": "array",
                "minItems": 1,
                "maxItems": WIRE_MAX_EVENTS,
                "items": {"allOf": [{"$ref": "./envelope.json"}, *parts]},
            },
        },
    }


def _reference(*path: str) -> dict[str, str]:
    return {"$ref": "#/" + "/".join(path)}


def _prose(docstring: str | None) -> str:
    """A docstring as one line per paragraph."""
    paragraphs = re.split(r"\n\s*\n", (docstring or "").strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def untitled(schema: Any, *, names: bool = False) -> Any:
    """Without the titles that pydantic makes from field names; `names` marks a mapping of fields, where `title` is one."""
    if isinstance(schema, dict):
        found = {}
        for key, value in schema.items():
            if key == "title" and not names:
                continue
            if key == "description" and isinstance(value, str):
                found[key] = _prose(value)
            else:
                found[key] = untitled(value, names=not names and key == "properties")
        return found
    if isinstance(schema, list):
        return [untitled(item) for item in schema]
    return schema


def _json(document: Mapping[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _yaml(value: Mapping[str, Any] | list[Any], indent: str = "") -> Iterator[str]:
    """Lines of YAML in block style. JSON's scalars and empty containers are YAML too, so quoting is never a question."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list) and item:
                first, *others = _yaml(item, f"{indent}  ")
                yield f"{indent}- {first.strip()}"
                yield from others
            else:
                yield f"{indent}- {_scalar(item)}"
        return
    for key, item in value.items():
        name = key if re.fullmatch(r"[A-Za-z][\w.-]*", key) else _scalar(key)
        if isinstance(item, dict | list) and item:
            yield f"{indent}{name}:"
            yield from _yaml(item, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    return orjson.dumps(value).decode()
