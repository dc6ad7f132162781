"""What proves that a delivery is Smartlead's: the signature that it documents, or the key that it repeats in each body."""

from __future__ import annotations

import hashlib
import hmac

import orjson
import pytest
from hypothesis import given, strategies

from libs.providers.registry import PROVIDERS
from libs.providers.signing import Verdict
from libs.providers.smartlead.signing import HEADER, SmartleadSigning
from libs.providers.smartlead.simulator import SmartleadSimulator

OLD, NEW = "0b6e2f0a-1111-4222-8333-944455556666", "a secret that signs"
BODY = b'{"event_type": "EMAIL_SENT", "campaign_id": 7}'
SIGNING = SmartleadSigning()


def signed(body: bytes, secret: str) -> dict[str, str]:
    return {HEADER: "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def keyed(key: object) -> bytes:
    return orjson.dumps({"event_type": "EMAIL_SENT", "secret_key": key})


@pytest.mark.parametrize(
    ("headers", "body", "verdict"),
    [
        (signed(BODY, NEW), BODY, Verdict.VERIFIED),
        (signed(BODY, OLD), BODY, Verdict.VERIFIED),  # each of several secrets is good
        ({HEADER: signed(BODY, NEW)[HEADER].upper().replace("SHA256", "sha256")}, BODY, Verdict.VERIFIED),
        ({}, keyed(OLD), Verdict.VERIFIED),
        ({HEADER: "sha256=00"}, keyed(OLD), Verdict.VERIFIED),  # either proof is one
        ({}, BODY, Verdict.UNSIGNED),
        ({"x-other-signature": "sha256=00"}, BODY, Verdict.UNSIGNED),
        ({}, keyed(None), Verdict.UNSIGNED),
        ({}, keyed(""), Verdict.UNSIGNED),
        ({}, b"no JSON", Verdict.UNSIGNED),
        ({}, b"[]", Verdict.UNSIGNED),
        ({}, keyed("0b6e2f0a-1111-4222-8333-944455556667"), Verdict.MISMATCHED),
        ({}, keyed("schl\xfcssel"), Verdict.MISMATCHED),
        (signed(BODY, "another secret"), BODY, Verdict.MISMATCHED),
        (signed(BODY, NEW), orjson.dumps(orjson.loads(BODY)), Verdict.MISMATCHED),  # the same JSON, other bytes
        (signed(BODY, NEW), BODY + b" ", Verdict.MISMATCHED),
        ({HEADER: signed(BODY, NEW)[HEADER].removeprefix("sha256=")}, BODY, Verdict.MISMATCHED),
        ({HEADER: ""}, BODY, Verdict.MISMATCHED),
        ({HEADER: "sha256=\xe9"}, BODY, Verdict.MISMATCHED),
    ],
)
def test_what_is_a_proof(headers: dict[str, str], body: bytes, verdict: Verdict) -> None:
    assert SIGNING.verify(headers, body, [NEW, OLD]) is verdict


def test_without_secrets_nothing_is_proven() -> None:
    assert SIGNING.verify(signed(BODY, ""), BODY, []) is Verdict.MISMATCHED
    assert SIGNING.verify({}, keyed(""), []) is Verdict.UNSIGNED


@given(strategies.dictionaries(strategies.just(HEADER), strategies.text()), strategies.binary())
def test_no_bytes_break_it(headers: dict[str, str], body: bytes) -> None:
    assert SIGNING.verify(headers, body, [NEW]) is not Verdict.VERIFIED


def test_what_the_simulator_posts_is_proven_by_its_accounts_key_alone() -> None:
    posts = SmartleadSimulator(seed=5).deliveries(20).to_send()
    keys = {orjson.loads(post.body)["secret_key"] for post in posts}

    assert len(keys) == 1
    assert {SIGNING.verify({}, post.body, list(keys)) for post in posts} == {Verdict.VERIFIED}
    assert {SIGNING.verify({}, post.body, [NEW]) for post in posts} == {Verdict.MISMATCHED}


def test_who_signs_nothing_is_not_asked_for_it() -> None:
    assert {name for name, provider in PROVIDERS.items() if provider.signing is not None} == {"smartlead"}
