"""What a release promised, a later build keeps: the present contracts compared with every released document.

Events travel both ways in time. Consumers of an older release hear ours while a deployment rolls (forward), and ours are
handed what old outboxes, inboxes, dead letters and replays hold (backward). One set of rules serves both: a field keeps its
shape exactly, and only optional fields, events, publishers and listeners may join.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from libs.contracts import documents
from libs.contracts.event import registry
from libs.errors import Conflict, Invalid

Document = Mapping[str, Any]
_VERSION = re.compile(r"v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
_PROSE = frozenset({"$schema", "$id", "title", "description", "examples", "deprecated"})  # binds nobody


def promises() -> dict[str, Any]:
    """The contracts of this build: `{"envelope": schema, "events": {type: {publishers, heard_by, binary, schema}}}`."""
    return {
        "envelope": documents.envelope_schema(),
        "events": {
            name: {
                "publishers": list(documents.publishers(event)),
                "heard_by": list(event.heard_by),
                "binary": event.binary_field,
                "schema": documents.data_schema(event),
            }
            for name, event in sorted(registry.types.items())
        },
    }


def released(folder: Path) -> dict[str, dict[str, Any]]:
    """Version -> its document in `folder`, oldest first; empty before the first release.

    Raises:
        Invalid: a file there is no release.
    """
    files = sorted((folder / "released").glob("*.json"), key=lambda file: _ordered(file.stem))
    found = {file.stem: orjson.loads(file.read_bytes()) for file in files}
    for version, document in found.items():
        if document.get("version") != version:
            raise Invalid(f"released/{version}.json calls itself {document.get('version')}; restore the released file")
    return found


def breaches(releases: Mapping[str, Document], present: Document) -> list[str]:
    """A sentence for every promise of any release that the present contracts break, with what would mend it."""
    broken: dict[str, list[str]] = {}
    for version, document in releases.items():
        for breach in _of_one(document, present):
            broken.setdefault(breach, []).append(version)
    return [f"{breach} (promised by {', '.join(versions)})" for breach, versions in broken.items()]


def lost_samples(releases: Mapping[str, Document], samples: Path) -> list[str]:
    """A sentence for every sample of a release that `samples` does not hold byte for byte."""
    pinned = {
        f"{name}/{file}": (digest, version)
        for version, document in releases.items()
        for name, event in document["events"].items()
        for file, digest in event["samples"].items()
    }
    return [
        f"sample {path} is gone or was changed: restore the bytes of {version} and record new ones beside them"
        for path, (digest, version) in sorted(pinned.items())
        if not (samples / path).is_file() or _digest(samples / path) != digest
    ]


def release(folder: Path, version: str, samples: Path) -> Path:
    """Keep the present contracts as `folder`/released/`version`.json, with the digests of the recorded samples.

    Raises:
        Invalid: the version is none.
        Conflict: it was released or is not the greatest; `folder` drifts from the code; a promise is broken; samples lack.
    """
    order, past = _ordered(version), released(folder)
    if version in past:
        raise Conflict(f"{version} was released and is never written again; choose a greater version")
    if past and order <= _ordered(last := list(past)[-1]):
        raise Conflict(f"{version} is not greater than {last}, the last release; choose a greater version")
    if drifted := documents.drifted(folder, documents.documents()):
        raise Conflict(f"{', '.join(drifted)}: not what the code says; run `make contracts`, review, commit")
    document = {"version": version} | promises()
    if broken := breaches(past, document) + lost_samples(past, samples):
        raise Conflict(f"{version} would break what was promised: {'; '.join(broken)}")
    for name, event in document["events"].items():
        event["samples"] = {file.name: _digest(file) for file in sorted((samples / name).glob("*.json"))}
        if not event["samples"]:
            raise Conflict(f"{name} has no samples; record them: python -m tests.contract.events.record")
    path = folder / "released" / f"{version}.json"
    path.parent.mkdir(exist_ok=True)
    with path.open("xb") as file:
        file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return path


def _ordered(version: str) -> tuple[int, ...]:
    if not (match := _VERSION.fullmatch(version)):
        raise Invalid(f"{version!r} is no version; say it like v0.1.0")
    return tuple(int(number) for number in match.groups())


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _of_one(old: Document, new: Document) -> Iterator[str]:
    yield from (f"envelope: {breach}" for breach in _schemas(old["envelope"], new["envelope"]))
    for name, was in old["events"].items():
        if (event := new["events"].get(name)) is None:
            yield f"{name}: the event is gone, and consumers wait for it: bring it back; a successor stands beside it"
            continue
        for queue in was["heard_by"]:
            if queue not in event["heard_by"]:
                yield (
                    f"{name}: listener {queue} is gone, and its queue stays bound and fills: "
                    "name it in heard_by again; its handler may do nothing"
                )
        for service in was["publishers"]:
            if service not in event["publishers"]:
                yield f"{name}: {service} publishes it no more, and old events come from there: keep the publisher"
        if event["binary"] != was["binary"]:
            yield (
                f"{name}: field {was['binary'] or event['binary']} rides otherwise (binary), and neither old readers "
                "nor ours find it in the other's bytes: keep `binary`, or make a new version of the event"
            )
            continue
        yield from (f"{name}: {breach}" for breach in _schemas(was["schema"], event["schema"]))


def _schemas(old: Document, new: Document) -> Iterator[str]:
    return _fields(_inlined(old, old.get("$defs", {})), _inlined(new, new.get("$defs", {})), "")


def _inlined(schema: Any, definitions: Document, within: tuple[str, ...] = ()) -> Any:
    """References replaced by what they mean, so that a definition's name binds nobody; inner ones of a recursion stay."""
    if isinstance(schema, list):
        return [_inlined(item, definitions, within) for item in schema]
    if not isinstance(schema, dict):
        return schema
    target = schema.get("$ref")
    if isinstance(target, str) and target not in within:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _inlined(definitions[target.removeprefix("#/$defs/")] | beside, definitions, (*within, target))
    return {key: _inlined(value, definitions, within) for key, value in schema.items() if key != "$defs"}


def _fields(old: Document, new: Document, within: str) -> Iterator[str]:
    """Breaches among the fields of an object; `within` is the object's own place, with its dot."""
    fields, needed, was_needed = new.get("properties", {}), new.get("required", ()), old.get("required", ())
    for name, was in old.get("properties", {}).items():
        at = f"field {within}{name}"
        if (field := fields.get(name)) is None:
            yield f"{at} is gone, and old readers look for it: bring it back as it was"
            continue
        if name in needed and name not in was_needed:
            yield f"{at} is required now, and old events may lack it: give it back its default"
        elif name in was_needed and name not in needed:
            yield f"{at} may be absent now, and old readers refuse that: make it required again"
        elif name not in needed and _text(was.get("default")) != _text(field.get("default")):
            yield (
                f"{at} has another default, so an event without it means something else than when it was told: "
                f"let it be {_text(was.get('default'))} again"
            )
        yield from _shapes(was, field, f"{within}{name}")
    for name in fields:
        if name not in old.get("properties", {}) and name in needed:
            yield f"field {within}{name} is new and required, and old events lack it: give it a default"


def _shapes(old: Document, new: Document, at: str) -> Iterator[str]:
    """Breaches between two schemas of one value."""
    (was, was_nullable), (now, nullable) = _alternatives(old), _alternatives(new)
    if nullable and not was_nullable:
        yield f"field {at} may be null now, and old readers refuse that: forbid it, or tell it in a new optional field"
    if was_nullable and not nullable:
        yield f"field {at} may not be null now, and old events hold nulls: allow null again"
    if len(was) == 1 == len(now):
        yield from _kinds(was[0], now[0], at)
    elif not (_covers(was, now) and _covers(now, was)):
        yield _another(at, {"anyOf": was}, {"anyOf": now})


def _kinds(old: Document, new: Document, at: str) -> Iterator[str]:
    plain_old, plain_new = dict(old), dict(new)
    if "enum" in old and "enum" in new:
        del plain_old["enum"], plain_new["enum"]
        known, knew = ({_text(value) for value in values} for values in (new["enum"], old["enum"]))
        if known - knew:
            yield (
                f"field {at} has new values {', '.join(sorted(known - knew))}, and old readers dead-letter what they do "
                "not know: tell them in a new optional field or a new version of the event"
            )
        if knew - known:
            yield f"field {at} knows {', '.join(sorted(knew - known))} no more, and old events say so: know it again"
    for inner, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
            yield from _shapes(plain_old.pop(inner), plain_new.pop(inner), at + suffix)
    if len(places := old.get("prefixItems", ())) == len(new.get("prefixItems", ())) > 0:
        del plain_old["prefixItems"], plain_new["prefixItems"]
        for number, place in enumerate(places):
            yield from _shapes(place, new["prefixItems"][number], f"{at}[{number}]")
    if "properties" in old and "properties" in new:
        for part in ("properties", "required"):
            plain_old.pop(part, None)
            plain_new.pop(part, None)
        yield from _fields(old, new, f"{at}.")
    # Wider is no better than narrower: old readers refuse the one, ours refuse old events for the other. What this
    # comparison does not know (a pattern, a limit) is compared as it is written.
    differing = {key for key in plain_old.keys() | plain_new.keys() if plain_old.get(key) != plain_new.get(key)}
    if differing:
        yield _another(at, *({key: one[key] for key in differing if key in one} for one in (plain_old, plain_new)))


def _alternatives(schema: Document) -> tuple[Sequence[Document], bool]:
    """The kinds of value a schema allows beside null, without prose, and whether it allows null."""
    rules = {key: value for key, value in schema.items() if key not in _PROSE | {"anyOf", "default", "const"}}
    if "const" in schema:
        rules["enum"] = [schema["const"]]
    if "anyOf" not in schema:
        return ([], True) if schema.get("type") == "null" else ([rules], False)
    inner = [_alternatives(rules | member) for member in schema["anyOf"]]
    return [kind for kinds, _ in inner for kind in kinds], any(nullable for _, nullable in inner)


def _covers(some: Sequence[Document], others: Sequence[Document]) -> bool:
    return all(any(not list(_kinds(one, other, "")) for other in others) for one in some)


def _another(at: str, old: Document, new: Document) -> str:
    return f"field {at} is {_text(new)} and was {_text(old)}: keep it as it was and add a new optional field beside it"


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
