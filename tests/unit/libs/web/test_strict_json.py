"""Bodies that two parsers could read differently, or that a parser or a database could choke on."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies

from libs.errors import RequestError
from libs.web import problems, strict_json
from libs.web.strict_json import MAX_DEPTH, MAX_VALUES, structure_fault


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(
    strategies.recursive(
        strategies.none() | strategies.text(strategies.sampled_from('a"\\[]{}')),
        lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text('"[{\\a'), inner),
        max_leaves=30,
    ),
    strategies.integers(0, 80),
)
def test_depth_is_counted_as_a_parser_would(value: object, wrapped: int) -> None:
    for _ in range(wrapped):
        value = [value, "]["]
    fault = structure_fault(json.dumps(value).encode())

    assert fault == (None if depth_of(value) <= MAX_DEPTH else "nested deeper than 64 levels")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}"), ('[{"":', "}]"), ('{"":[', "]}")])
def test_the_deepest_that_is_taken(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    deepest = f"{opening * (64 // levels)}1{closing * (64 // levels)}"

    assert structure_fault(deepest.encode()) is None
    assert structure_fault(f"[{deepest}]".encode()) == "nested deeper than 64 levels"


@given(strategies.text('"\\[]{}a').map(str.encode))
def test_no_bytes_break_the_count(body: bytes) -> None:
    structure_fault(body * 70)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 2**20,
        b"[" * 2**19 + b"]" * 2**19,
        b"[{" * 2**18 + b"}]" * 2**18,
        b'"' + b'\\"' * (2**19 - 1) + b"[" * 65,
        b'"' * 2**20 + b"[" * 65,
        b"\\" * 2**20 + b"[" * 65,
        b"[]" * 2**19,
        b'["\\' * 2**18,
    ],
)
def test_hostile_bytes_cost_little_time(body: bytes) -> None:
    started = time.process_time()
    structure_fault(body)
    assert time.process_time() - started < 1.0  # about 20 ms; a quadratic count takes minutes


DEEPEST = "[" * 64 + "]" * 64


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"{}{}", "malformed_json"),
        (b"{'a': 1}", "malformed_json"),
        (b'{"a": 1,}', "malformed_json"),
        (b"[01]", "malformed_json"),
        (b'"tab\there"', "malformed_json"),
        (b'"NUL \x00"', "malformed_json"),
        (b"\xef\xbb\xbf{}", "malformed_json"),
        (b'{"a": "\xff"}', "malformed_json"),
        (b'"\xed\xa0\x80"', "malformed_json"),  # a surrogate has no UTF-8
        (b'"\xc0\x80"', "malformed_json"),  # NUL the long way round
        ("[]".encode("utf-16"), "malformed_json"),
        (b"NaN", "malformed_json"),
        (b'{"a": [NaN]}', "malformed_json"),
        (b"[Infinity]", "malformed_json"),
        (b"[-Infinity]", "malformed_json"),
        (b"[nan]", "malformed_json"),
        (b"[" * 65 + b"1", "malformed_json"),
        (b'{"a": 1, "a": 1}', "duplicate_field"),
        (b'{"a": 1, "\\u0061": 1}', "duplicate_field"),
        (b'[{"b": {"a": 1, "c": 2, "a": null}}]', "duplicate_field"),
        (f"[{DEEPEST}]".encode(), "json_too_deep"),
        (b'{"":' * 65 + b"1" + b"}" * 65, "json_too_deep"),
        (b"[" + b"1," * MAX_VALUES + b"1]", "json_too_large"),
        (b"[9223372036854775808]", "number_out_of_range"),
        (b"[-9223372036854775809]", "number_out_of_range"),
        (b"[" + b"9" * 5000 + b"]", "number_out_of_range"),
        (b"[1e999]", "number_out_of_range"),
        (b"[-1e999]", "number_out_of_range"),
        (b'["\\u0000"]', "invalid_text"),
        (b'["\\ud800"]', "invalid_text"),
        (b'{"a": {"\\udfff": 1}}', "invalid_text"),
        (b'["\\udc00\\ud800"]', "invalid_text"),
    ],
)
def test_what_nobody_should_send_is_refused_by_name(body: bytes, code: str) -> None:
    with pytest.raises(RequestError) as refused:
        strict_json.read(body)

    assert refused.value.code == code
    assert problems.status_of(refused.value) == 400
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b" [1, -2.5, 1e3, true, null] \n", [1, -2.5, 1000.0, True, None]),
        (b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        (b'{"a": {"a": 1}, "A": 2}', {"a": {"a": 1}, "A": 2}),
        (b'"\\ud83d\\ude00 \\\\u0000"', "\U0001f600 \\u0000"),
        (DEEPEST.encode(), json.loads(DEEPEST)),
        (b'"' + b"," * (2 * MAX_VALUES) + b'"', "," * (2 * MAX_VALUES)),  # commas in a text are no values
    ],
)
def test_what_is_json_is_read_as_what_it_is(body: bytes, value: Any) -> None:
    assert strict_json.read(body) == value


_any_json = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(strategies.characters()),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(strategies.characters()), inner),
    max_leaves=10,
)


def storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= one <= "\udfff" for one in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return all(storable(one) for one in inner)


@given(_any_json)
def test_it_takes_what_can_be_kept_and_nothing_else(value: Any) -> None:
    """Checked against the strict parser that we answer with: what it cannot write, nobody may send."""
    body = json.dumps(value).encode()
    try:
        taken = strict_json.read(body)
    except RequestError:
        assert not storable(value)
    else:
        assert storable(value)
        assert orjson.loads(orjson.dumps(taken)) == orjson.loads(body) == value


@given(strategies.binary(max_size=300) | strategies.text(max_size=300).map(str.encode))
def test_no_bytes_end_in_anything_but_a_value_or_a_refusal(body: bytes) -> None:
    try:
        value = strict_json.read(body)
    except RequestError:
        return
    assert value == json.loads(body)
