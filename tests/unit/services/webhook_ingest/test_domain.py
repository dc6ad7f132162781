"""What the door decides without I/O."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from hypothesis import given, strategies

from libs.clock import now
from libs.ids import AccountId, OrgId, new_id
from libs.providers.sightings import DoorReading
from services.webhook_ingest import domain
from services.webhook_ingest.domain import MAX_DEPTH, NOBODY, Arrival, Endpoint, First, admits, structure_fault


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
    started = time.perf_counter()
    structure_fault(body)
    assert time.perf_counter() - started < 1.0  # about 20 ms; a quadratic count takes minutes


def test_keys_are_claimed_in_one_order_whatever_the_arrivals() -> None:
    """Two replicas that insert the same keys in different orders would wait for each other."""
    known = endpoint()

    def arrival(key: int, body: int) -> Arrival:
        return Arrival(new_id(), known, now(), b"", bytes([body]), "{}", bytes([key]), "", None, None)

    arrivals = [arrival(key, body) for key, body in ((3, 1), (1, 1), (2, 1), (3, 3), (1, 2), (3, 2), (3, 2))]
    firsts = {one.occurrence: First(new_id(), b"first") for one in arrivals}

    assert [one.dedupe_key for one in domain.claims(arrivals)] == [b"\1", b"\2", b"\3"]
    assert [(one.dedupe_key, one.body_sha256) for one in domain.variant_claims(arrivals, firsts)] == [
        (b"\1", b"\1"),
        (b"\1", b"\2"),
        (b"\2", b"\1"),
        (b"\3", b"\1"),
        (b"\3", b"\2"),
        (b"\3", b"\3"),
    ]


def endpoint(token: bytes = b"right", *, is_open: bool = True) -> Endpoint:
    return Endpoint(
        new_id(), OrgId(new_id()), AccountId(new_id()), "smartlead", hashlib.sha256(token).digest(), is_open, 1
    )


@pytest.mark.parametrize(
    ("known", "provider", "token", "opens"),
    [
        (endpoint(), "smartlead", b"right", True),
        (endpoint(), "smartlead", b"wrong", False),
        (endpoint(), "heyreach", b"right", False),
        (endpoint(is_open=False), "smartlead", b"right", False),
        (NOBODY, "smartlead", b"right", False),
        (NOBODY, "", b"", False),
    ],
)
def test_who_is_let_in(known: Endpoint, provider: str, token: bytes, opens: bool) -> None:
    assert admits(known, provider, hashlib.sha256(token).digest()) is opens


def test_credentials_are_no_headers_worth_keeping() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"user-agent", b"na\xefve\0"),
        (b"x-hub-signature-256", b"s" * 5000),
        (b"webhook-id", b"1"),
        (b"webhook-timestamp", b"2"),
        (b"authorization", b"secret"),
        (b"cookie", b"secret"),
        (b"x-api-key", b"secret"),
        (b"host", b"door"),
    ]

    assert json.loads(domain.kept_headers(headers)) == {
        "content-type": "application/json",
        "user-agent": "na\xefve\ufffd",
        "x-hub-signature-256": "s" * 1024,
        "webhook-id": "1",
        "webhook-timestamp": "2",
    }


def test_a_reading_is_made_fit_for_the_database() -> None:
    good = DoorReading(dedupe_key=b"k" * 32, event_type="A")
    assert domain.storable(good) == good
    assert domain.storable(DoorReading(dedupe_key=b"long" * 99)).dedupe_key == hashlib.sha256(b"long" * 99).digest()
    assert domain.storable(DoorReading(event_type="A")) == DoorReading(quarantine_reason="no dedupe key")
    assert domain.storable(DoorReading(quarantine_reason="")).quarantine_reason == "unreadable"
    assert domain.storable(DoorReading(quarantine_reason="a\0b")).quarantine_reason == "a\ufffdb"
