"""JSON from people: what two parsers could read differently, or a parser or a database could choke on, is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from libs.errors import RequestError

MAX_DEPTH = 64
MAX_VALUES = 50_000  # far more than any body of ours has; each costs a parser up to 100 bytes

# Matches from each quote to its end or to the end of all, so that no start is ever tried twice: linear on any bytes.
_STRING = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")  # whether kinds match is the parser's business
_BIGGEST = 2**63  # PostgreSQL's bigint, and what most languages call an integer


def read(body: bytes) -> Any:
    """The value in a body.

    Raises:
        RequestError: it is no JSON (`malformed_json`), or JSON that nobody should send: a field twice, nested deeper than
            MAX_DEPTH, over MAX_VALUES values, a number that fits nowhere, NUL or half a character in a text.
    """
    fault = structure_fault(body)
    if fault == _UNPAIRED:
        raise _malformed(fault)
    if fault is not None:
        raise RequestError(f"the body is {fault}", code="json_too_deep")
    if _values(body) > MAX_VALUES:
        raise RequestError(f"the body holds more than {MAX_VALUES} values", code="json_too_large")
    try:
        value = json.loads(
            body.decode(),
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except UnicodeDecodeError as error:
        raise _malformed(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg}, at character {error.pos}") from None
    if b"\\u" in body:
        _check_texts(value)
    return value


_UNPAIRED = "not JSON"


def structure_fault(body: bytes) -> str | None:
    """Why these bytes must not meet a parser, or None: nested deeper than MAX_DEPTH, or brackets that do not pair."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return None
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each pass takes away the innermost level
        if not brackets:
            return None
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            return _UNPAIRED
        brackets = left
    return f"nested deeper than {MAX_DEPTH} levels" if brackets else None


def _values(body: bytes) -> int:
    """At least as many as there are; those in texts are counted only where it matters."""

    def separators(text: bytes) -> int:
        return text.count(b",") + text.count(b"[") + text.count(b"{")

    found = separators(body)
    return found if found < MAX_VALUES else separators(_STRING.sub(b"", body)) + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise RequestError(f"the field {twice[:50]!a} is given twice in one object", code="duplicate_field")
    return found


def _no_constant(word: str) -> NoReturn:
    raise _malformed(f"{word} is no number in JSON")


def _integer(text: str) -> int:
    if len(text) > 20 or not -_BIGGEST <= (value := int(text)) < _BIGGEST:
        raise _out_of_range(text)
    return value


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _out_of_range(text)
    return value


def _out_of_range(text: str) -> RequestError:
    return RequestError(f"the number {text[:30]} is beyond what we can keep", code="number_out_of_range")


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise RequestError(
                "a text holds NUL (\\u0000) or half a character (\\ud800 to \\udfff alone)", code="invalid_text"
            )
        return
    inner: Iterable[Any] = (
        (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    )
    for item in inner:
        _check_texts(item)


def _malformed(why: str) -> RequestError:
    return RequestError(f"the body is no JSON: {why}", code="malformed_json")
