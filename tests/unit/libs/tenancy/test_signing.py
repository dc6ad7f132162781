"""An owner believes the gateway's signature and nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.errors import Unauthenticated
from libs.ids import CompanyId, OrgId
from libs.tenancy import signing
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import ContextSigner, ContextVerifier, new_private_key, public_key_of

PRIVATE = new_private_key()
PUBLIC = public_key_of(PRIVATE)
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(PRIVATE))
OTHER_KEY = Ed25519PrivateKey.generate()
CONTEXT = TenantContext(
    "key:1", OrgId(uuid4()), CompanyScope.of([CompanyId(uuid4()), CompanyId(uuid4())]), frozenset({"leads:read"})
)


def verifier() -> ContextVerifier:
    return ContextVerifier([PUBLIC], "provider-sync")


def claims(**changes: Any) -> dict[str, Any]:
    right = {
        "iss": "outrider-gateway",
        "aud": "provider-sync",
        "exp": int(time.time()) + 60,
        "sub": "key:1",
        "org": str(CONTEXT.org_id),
        "companies": "*",
        "permissions": ["leads:read"],
    }
    return {name: value for name, value in (right | changes).items() if value is not None}


def signed(key: Any = KEY, algorithm: str = "EdDSA", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def encoded(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def hs256(secret: bytes) -> str:
    head = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(claims())}"
    return f"{head}.{encoded(hmac.digest(secret, head.encode(), hashlib.sha256))}"


def with_payload(token: str, **changes: Any) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{encoded(claims(**changes))}.{signature}"


PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
OTHER_JWK = {"kty": "OKP", "crv": "Ed25519", "x": encoded(OTHER_KEY.public_key().public_bytes_raw())}

# Made when asked for: one that has merely expired meanwhile would prove nothing.
FORGED: dict[str, Callable[[], str]] = {
    "none": lambda: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(claims())}.",
    "None, spelled oddly": lambda: f"{encoded({'alg': 'nOnE'})}.{encoded(claims())}.",
    "EdDSA without a signature": lambda: signed().rsplit(".", 1)[0] + ".",
    "HS256 with the public key's bytes": lambda: hs256(bytes.fromhex(PUBLIC)),
    "HS256 with the public key's hex": lambda: hs256(PUBLIC.encode()),
    "HS256 with the public key's PEM": lambda: hs256(PEM),
    "RS256 with a key of its own": lambda: signed(rsa.generate_private_key(65537, 2048), "RS256"),
    "another Ed25519 key": lambda: signed(OTHER_KEY),
    "another key, which the header brings along": lambda: signed(OTHER_KEY, headers={"jwk": OTHER_JWK}),
    "another key, with a path for its id": lambda: signed(OTHER_KEY, headers={"kid": "../../etc/passwd"}),
    "another owner's": lambda: signed(aud="analytics"),
    "a list of owners with ours": lambda: signed(aud=["provider-sync", "analytics"]),
    "no audience": lambda: signed(aud=None),
    "another issuer": lambda: signed(iss="outrider"),
    "no issuer": lambda: signed(iss=None),
    "expired": lambda: signed(exp=int(time.time()) - 1),
    "no end": lambda: signed(exp=None),
    "an end that is no number": lambda: with_payload(signed(), exp="tomorrow"),
    "not yet valid": lambda: signed(nbf=int(time.time()) + 30),
    "no principal": lambda: signed(sub=None),
    "no org": lambda: signed(org=None),
    "an org that is none": lambda: signed(org="all"),
    "no scope": lambda: signed(companies=None),
    "a scope that is none": lambda: signed(companies="everything"),
    "a scope of another kind": lambda: signed(companies=["*"]),
    "no permissions": lambda: signed(permissions=None),
    "a changed org under a true signature": lambda: with_payload(signed(), org=str(uuid4())),
    "a wider scope under a true signature": lambda: with_payload(signed(companies=""), companies="*"),
    "a critical header that we do not know": lambda: signed(headers={"crit": ["b64"], "b64": False}),
    "half a token": lambda: signed()[: len(signed()) // 2],
    "words": lambda: "gateway",
    "dots": lambda: "..",
    "empty": lambda: "",
    "not ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_context_is_refused(name):
    with pytest.raises(Unauthenticated):
        verifier().verify(FORGED[name]())


def test_the_same_claims_rightly_signed_are_believed():
    context = verifier().verify(signed())

    assert context == TenantContext("key:1", CONTEXT.org_id, ALL_COMPANIES, frozenset({"leads:read"}))


def test_no_context_at_all_is_refused():
    with pytest.raises(Unauthenticated, match="missing"):
        verifier().verify(None)


@pytest.mark.parametrize(
    "scope", [ALL_COMPANIES, CompanyScope.of([]), CONTEXT.scope], ids=["all", "none", "two companies"]
)
def test_what_was_signed_is_what_is_read(scope):
    context = TenantContext("platform:7", CONTEXT.org_id, scope, frozenset({"a:read", "b:write"}))

    assert verifier().verify(ContextSigner(PRIVATE).sign(context, "provider-sync")) == context


def test_a_context_is_for_one_owner():
    token = ContextSigner(PRIVATE).sign(CONTEXT, "analytics")

    with pytest.raises(Unauthenticated):
        verifier().verify(token)


def test_a_context_lives_a_minute_at_most(monkeypatch):
    signer = ContextSigner(PRIVATE)
    past = time.time() - signing.LIFETIME_SECONDS - 1
    monkeypatch.setattr("time.time", lambda: past)
    token = signer.sign(CONTEXT, "provider-sync")
    monkeypatch.undo()

    assert jwt.decode(token, options={"verify_signature": False})["exp"] <= past + 60
    with pytest.raises(Unauthenticated):
        verifier().verify(token)


def test_a_remembered_context_is_judged_anew_once_it_has_ended(monkeypatch):
    judge = verifier()
    token = signed()
    judge.verify(token)
    decoded: list[str] = []
    decode = jwt.decode

    def counted(given: str, *rest: Any, **more: Any) -> Any:
        decoded.append(given)
        return decode(given, *rest, **more)

    monkeypatch.setattr("jwt.decode", counted)

    judge.verify(token)
    assert decoded == []
    later = time.time() + 61
    monkeypatch.setattr("time.time", lambda: later)
    judge.verify(token)
    assert decoded == [token]


def test_a_signature_is_reused_while_half_its_life_is_left(monkeypatch):
    signer = ContextSigner(PRIVATE)
    first = signer.sign(CONTEXT, "provider-sync")
    start = time.time()

    monkeypatch.setattr("time.time", lambda: start + 20)
    assert signer.sign(CONTEXT, "provider-sync") == first
    monkeypatch.setattr("time.time", lambda: start + 31)
    assert signer.sign(CONTEXT, "provider-sync") != first


def test_while_a_key_is_replaced_both_are_believed():
    new = new_private_key()
    both = ContextVerifier([PUBLIC, public_key_of(new)], "provider-sync")

    for private in (PRIVATE, new):
        assert both.verify(ContextSigner(private).sign(CONTEXT, "provider-sync")) == CONTEXT
