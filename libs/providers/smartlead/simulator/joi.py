"""The strictness of the real API's bodies, and its way to say no: the first thing that is wrong, in Joi's words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


class Refused(Exception):
    """Answered with this status and body."""

    def __init__(self, status: int, body: Mapping[str, object]) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Key:
    """What one member of a body may be. `keys` are those of an object, `items` of each object of a list."""

    kind: type | tuple[type, ...]
    required: bool = False
    least: int | None = None
    most: int | None = None  # of a list: how many
    one_of: Collection[object] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)
    items: Mapping[str, Key] = field(default_factory=dict)


_KINDS: dict[type, str] = {
    str: "a string",
    int: "a number",
    bool: "a boolean",
    list: "an array",
    dict: "of type object",
}


def check(body: Mapping[str, object], keys: Mapping[str, Key], *, source: str = "body", path: str = "") -> None:
    """Null counts as not given.

    Raises:
        Refused: something is missing, of the wrong kind, or not allowed.
    """
    for name in body:
        if name not in keys:
            raise refusal(source, path + name, "is not allowed")
    for name, key in keys.items():
        value = body.get(name)
        if value is None:
            if key.required:
                raise refusal(source, path + name, "is required")
            continue
        kinds = key.kind if isinstance(key.kind, tuple) else (key.kind,)
        if not any(isinstance(value, kind) and not (kind is int and isinstance(value, bool)) for kind in kinds):
            raise refusal(source, path + name, f"must be {_KINDS[kinds[0]]}")
        if key.one_of and value not in key.one_of:
            raise refusal(source, path + name, f"must be one of [{', '.join(map(str, key.one_of))}]")
        if key.least is not None and isinstance(value, int) and value < key.least:
            raise refusal(source, path + name, f"must be larger than or equal to {key.least}")
        if key.most is not None:
            if isinstance(value, int) and value > key.most:
                raise refusal(source, path + name, f"must be less than or equal to {key.most}")
            if isinstance(value, list) and len(value) > key.most:
                raise refusal(source, path + name, f"must contain less than or equal to {key.most} items")
        if isinstance(value, dict) and key.keys:
            check(value, key.keys, source=source, path=f"{path}{name}.")
        if isinstance(value, list) and key.items:
            for index, item in enumerate(value):
                if not isinstance(item, dict):
                    raise refusal(source, f"{path}{name}[{index}]", "must be of type object")
                check(item, key.items, source=source, path=f"{path}{name}[{index}].")


def number(query: Mapping[str, str], name: str, *, default: int, least: int = 0, most: int | None = None) -> int:
    """A number of the query. Whether the real one refuses too high a limit or cuts it is not known; refusing shows the
    mistake."""
    text = query.get(name)
    if text is None or text == "":
        return default
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise refusal("query", name, "must be a number")
    check({name: int(text)}, {name: Key(int, least=least, most=most)}, source="query")
    return int(text)


def day(query: Mapping[str, str], name: str, *, end: bool = False) -> datetime | None:
    """The beginning (or the end) of a day of the query, or a moment of it; None when it is not given."""
    text = query.get(name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise refusal("query", name, "must be a valid date") from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    return found + timedelta(days=1) if end and len(text) == len("2026-07-11") else found


def refusal(source: str, name: str, problem: str) -> Refused:
    message, validation = f'"{name}" {problem}', {"source": source, "keys": [name]}
    return Refused(400, {"statusCode": 400, "error": "Bad Request", "message": message, "validation": validation})


def no(sentence: str, status: int = 400) -> Refused:
    """A rule of the business, as opposed to one of form."""
    return Refused(status, {"error": sentence})
