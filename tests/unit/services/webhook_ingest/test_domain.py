"""What the door decides without I/O."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from libs.clock import now
from libs.ids import AccountId, OrgId, new_id
from libs.providers.sightings import DoorReading
from libs.web.sources import networks
from services.webhook_ingest import domain
from services.webhook_ingest.domain import NOBODY, Arrival, Endpoint, First, Token, opening

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR, TICK = timedelta(hours=1), timedelta(microseconds=1)


def test_keys_are_claimed_in_one_order_whatever_the_arrivals() -> None:
    """Two replicas that insert the same keys in different orders would wait for each other."""
    known = endpoint()

    def arrival(key: int, body: int) -> Arrival:
        return Arrival(new_id(), known, new_id(), now(), b"", bytes([body]), "{}", bytes([key]), "", None, None)

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


def token(text: bytes, **ends: datetime) -> Token:
    return Token(new_id(), hashlib.sha256(text).digest(), **ends)


def endpoint(*tokens: Token, is_open: bool = True, **more: Any) -> Endpoint:
    return Endpoint(
        new_id(), OrgId(new_id()), AccountId(new_id()), "smartlead", tokens or (token(b"right"),), is_open, 1, **more
    )


@pytest.mark.parametrize(
    ("known", "provider", "text", "opens"),
    [
        (endpoint(), "smartlead", b"right", True),
        (endpoint(), "smartlead", b"wrong", False),
        (endpoint(), "heyreach", b"right", False),
        (endpoint(is_open=False), "smartlead", b"right", False),
        (NOBODY, "smartlead", b"right", False),
        (NOBODY, "", b"", False),
    ],
)
def test_who_is_let_in(known: Endpoint, provider: str, text: bytes, opens: bool) -> None:
    found = opening(known, provider, hashlib.sha256(text).digest(), now())

    assert found == (known.tokens[0] if opens else None)


def test_a_token_opens_then_is_late_then_dead() -> None:
    """Its successor opens all the time, and the two never open as each other."""
    ends, dead = NOON + HOUR, NOON + 2 * HOUR
    newest, old = token(b"new"), token(b"old", ends_at=ends, dead_at=dead)
    known = endpoint(newest, old, token(b"oldest", ends_at=NOON - HOUR, dead_at=NOON))

    def shown(text: bytes, moment: datetime) -> Token | None:
        return opening(known, "smartlead", hashlib.sha256(text).digest(), moment)

    def held_against(moment: datetime) -> str | None:
        return domain.objection(known, old, None, moment)

    for moment in (NOON, ends, dead):
        assert shown(b"new", moment) is newest
        assert shown(b"oldest", moment) is None
    assert (shown(b"old", dead - TICK), shown(b"old", dead)) == (old, None)
    assert (held_against(ends - TICK), held_against(ends)) == (None, "token_ended")


@pytest.mark.parametrize(
    ("blocks", "enforced", "source", "listed", "held_against"),
    [
        ((), True, "198.51.100.1", None, None),
        (("192.0.2.0/24",), True, "192.0.2.200", True, None),
        (("192.0.2.0/24",), False, "198.51.100.1", False, None),
        (("192.0.2.0/24", "2001:db8::/32"), True, "198.51.100.1", False, "source_not_allowed"),
        (("192.0.2.0/24", "2001:db8::/32"), True, "2001:db8:7::1", True, None),
        (("192.0.2.0/24",), True, None, False, "source_not_allowed"),
    ],
)
def test_sources_are_a_signal_until_they_are_enforced(
    blocks: tuple[str, ...], enforced: bool, source: str | None, listed: bool | None, held_against: str | None
) -> None:
    known = endpoint(allowed_sources=networks(blocks), enforces_sources=enforced)

    found = known.lists(None if source is None else ip_address(source))

    assert found is listed
    assert domain.objection(known, known.tokens[0], found, now()) == held_against


def test_only_the_headers_of_a_providers_proof_go_on() -> None:
    kept = {"user-agent": "robin", "x-one-signature": "a", "x-other-signature": "b"}

    assert domain.signature_headers(kept, ("x-one-signature",)) == '{"x-one-signature":"a"}'
    assert domain.signature_headers(kept, ("x-third-signature",)) is None


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

    assert domain.kept_headers(headers) == {
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
