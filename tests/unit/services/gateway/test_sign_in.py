"""Tokens: the good ones of three kinds, and every forgery that we know of."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from libs.errors import DependencyDown, Unauthenticated
from services.gateway.jwks import ASK_AGAIN_SECONDS, STALE_SECONDS, Jwks, over_http, read_jwks
from services.gateway.sign_in import MAX_TOKEN_BYTES, SignIn
from tests.unit.services.gateway.provider import AUDIENCE, ISSUER, Provider, claims, encoded

PROVIDER = Provider()
OTHER = Provider()


class Clock:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


def sign_in(provider: Provider, clock: Any = time.monotonic, *audiences: str) -> SignIn:
    fetch = over_http("http://id.example.com/jwks", httpx.ASGITransport(provider))
    return SignIn(Jwks(fetch, clock=clock), issuer=ISSUER, audiences=audiences or (AUDIENCE,))


@pytest.mark.parametrize("kid", ["r1", "e1", "d1"])
@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
async def test_a_good_token_names_its_subject(kid, typ):
    assert await sign_in(PROVIDER).subject(PROVIDER.token(kid, header={"typ": typ})) == "idp|ada"


async def test_clocks_may_differ_by_a_minute_and_audiences_may_be_listed():
    moment = time.time()
    door = sign_in(PROVIDER, time.monotonic, AUDIENCE, "outrider-console")
    for changed in (
        {"exp": moment - 50}, {"iat": moment + 50}, {"nbf": moment + 50.5}, {"nbf": None}, {"aud": [AUDIENCE]},
        {"aud": ["outrider-console", AUDIENCE]}, {"role": "super_admin", "company_ids": ["*"]},
    ):  # fmt: skip
        assert await door.subject(PROVIDER.token(**changed)) == "idp|ada"


def hs256(key: bytes, header: dict[str, Any]) -> str:
    signing = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims()).encode())}"
    return f"{signing}.{encoded(hmac.digest(key, signing.encode(), hashlib.sha256))}"


def own_key_inside(name: str, value: Any) -> str:
    return PROVIDER.token(header={name: value}, key=OTHER.private["r1"][1])


def spoilt(token: str, part: int, change: Any) -> str:
    parts = token.split(".")
    parts[part] = change(parts[part])
    return ".".join(parts)


def flip(text: str) -> str:
    return text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]


NOW = time.time()
HEADER = json.dumps({"typ": "JWT", "alg": "RS256", "kid": "r1"})
RSA = PROVIDER.private["r1"][1]
GOOD = json.dumps(claims())
FORGED = {
    "no signature, alg none": PROVIDER.token(header={"alg": "none"}),
    "alg None in other letters": spoilt(PROVIDER.token(), 0, lambda _: encoded(b'{"alg":"nOnE","kid":"r1","typ":"JWT"}')),
    "signature cut off": PROVIDER.token().rsplit(".", 1)[0] + ".",
    "signature of zeros": spoilt(PROVIDER.token(), 2, lambda text: "A" * len(text)),
    "HS256 with the public key": hs256(PROVIDER.public_pem("r1"), {"typ": "JWT", "alg": "HS256", "kid": "r1"}),
    "HS256 that calls itself RS256": hs256(PROVIDER.public_pem("r1"), {"typ": "JWT", "alg": "RS256", "kid": "r1"}),
    "RS512": PROVIDER.token(header={"alg": "RS512"}),
    "PS256": PROVIDER.token(header={"alg": "PS256"}),
    "no alg": PROVIDER.signed('{"typ":"JWT","kid":"r1"}', GOOD, "RS256", RSA),
    "alg of another family": PROVIDER.signed('{"typ":"JWT","kid":"e1","alg":"RS256"}', GOOD, "RS256", RSA),
    "another's RSA key": PROVIDER.token(key=OTHER.private["r1"][1]),
    "another's EC key": PROVIDER.token("e1", key=ec.generate_private_key(ec.SECP256R1())),
    "another's Ed25519 key": PROVIDER.token("d1", key=ed25519.Ed25519PrivateKey.generate()),
    "EC signature of zeros": spoilt(PROVIDER.token("e1"), 2, lambda _: encoded(b"\0" * 64)),
    "own key in jwk": own_key_inside("jwk", OTHER.jwk("r1")),
    "own key behind jku": own_key_inside("jku", "https://evil.example.com/jwks"),
    "own key behind x5u": own_key_inside("x5u", "https://evil.example.com/cert"),
    "own key in x5c": own_key_inside("x5c", ["AAAA"]),
    "unknown kid": PROVIDER.token(header={"kid": "r9"}),
    "kid as a path": PROVIDER.token(header={"kid": "../../dev/null"}),
    "kid as SQL": PROVIDER.token(header={"kid": "' OR 1=1 --"}),
    "kid no text": PROVIDER.token(header={"kid": ["r1"]}),
    "no kid": PROVIDER.token(header={"kid": None}),
    "no typ": PROVIDER.token(header={"typ": None}),
    "typ of a logout token": PROVIDER.token(header={"typ": "logout+jwt"}),
    "typ of our inner context": PROVIDER.token(header={"typ": "outrider-context"}),
    "critical extension": PROVIDER.token(header={"crit": ["exp"]}),
    "payload outside (b64)": PROVIDER.token(header={"crit": ["b64"], "b64": False}),
    "changed payload": spoilt(PROVIDER.token(), 1, lambda _: encoded(json.dumps(claims(sub="idp|eve")).encode())),
    "changed header": spoilt(PROVIDER.token(), 0, lambda _: encoded(b'{"alg":"RS256","kid":"r1","typ":"at+jwt"}')),
    "changed signature": spoilt(PROVIDER.token(), 2, flip),
    "other issuer": PROVIDER.token(iss="https://evil.example.com/"),
    "issuer without the slash": PROVIDER.token(iss=ISSUER.rstrip("/")),
    "issuer as a list": PROVIDER.token(iss=[ISSUER]),
    "no issuer": PROVIDER.token(iss=None),
    "other audience": PROVIDER.token(aud="another-app"),
    "audience also of another": PROVIDER.token(aud=[AUDIENCE, "another-app"]),
    "empty audiences": PROVIDER.token(aud=[]),
    "audience as a longer text": PROVIDER.token(aud=AUDIENCE + "-admin"),
    "audience as an object": PROVIDER.token(aud={AUDIENCE: 1}),
    "no audience": PROVIDER.token(aud=None),
    "expired": PROVIDER.token(exp=NOW - 61),
    "no exp": PROVIDER.token(exp=None),
    "exp as text": PROVIDER.token(exp=str(NOW + 86_400)),
    "exp true": PROVIDER.token(exp=True),
    "exp infinite": PROVIDER.signed(HEADER, GOOD.replace('"exp": ', '"exp": 1e999, "x": '), "RS256", RSA),
    "exp NaN": PROVIDER.signed(HEADER, GOOD.replace('"exp": ', '"exp": NaN, "x": '), "RS256", RSA),
    "exp of 400 digits": PROVIDER.token(exp=10**400),
    "no iat": PROVIDER.token(iat=None),
    "iat to come": PROVIDER.token(iat=NOW + 86_400),
    "nbf to come": PROVIDER.token(nbf=NOW + 86_400),
    "nbf as text": PROVIDER.token(nbf="0"),
    "no sub": PROVIDER.token(sub=None),
    "sub a number": PROVIDER.token(sub=7),
    "sub empty": PROVIDER.token(sub=""),
    "sub with NUL": PROVIDER.token(sub="idp|ada\0"),
    "sub twice": PROVIDER.signed(HEADER, GOOD[:-1] + ', "sub": "idp|eve"}', "RS256", RSA),
    "alg twice": PROVIDER.signed(HEADER[:-1] + ', "alg": "RS256"}', GOOD, "RS256", RSA),
    "payload a list": PROVIDER.signed(HEADER, "[1]", "RS256", RSA),
    "payload no JSON": PROVIDER.signed(HEADER, "sub=ada", "RS256", RSA),
    "payload very deep": PROVIDER.signed(HEADER, "[" * 3000, "RS256", RSA),
    "huge": PROVIDER.token(padding="x" * MAX_TOKEN_BYTES),
    "four parts": PROVIDER.token() + ".AAAA",
    "padded base64": spoilt(PROVIDER.token(), 2, lambda text: text + "=="),
    "a line break at the end": PROVIDER.token() + "\n",
    "two dots": "..",
    "not ASCII": "é.é.é",
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused(name):
    door = sign_in(PROVIDER)
    assert await door.subject(PROVIDER.token()) == "idp|ada"
    with pytest.raises(Unauthenticated):
        await door.subject(FORGED[name])


def test_there_are_enough_forgeries():
    assert len(FORGED) >= 30


async def test_nothing_is_fetched_because_a_token_says_so():
    provider = Provider()
    asked: list[str] = []

    async def app(scope, receive, send):
        asked.append(scope["path"])
        await provider(scope, receive, send)

    fetch = over_http("http://id.example.com/jwks", httpx.ASGITransport(app))
    door = SignIn(Jwks(fetch), issuer=ISSUER, audiences=[AUDIENCE])
    for name in ("jku", "x5u"):
        with pytest.raises(Unauthenticated):
            await door.subject(provider.token(header={name: "http://id.example.com/evil"}, key=OTHER.private["r1"][1]))
    assert set(asked) == {"/jwks"}


async def test_a_flood_of_unknown_keys_asks_the_provider_twice_a_minute():
    provider, clock = Provider(), Clock()
    door = sign_in(provider, clock)
    for second in range(60):
        clock.at = 1000.0 + second
        for number in range(5):
            with pytest.raises(Unauthenticated):
                await door.subject(provider.token(header={"kid": f"x{second}-{number}"}))
    assert provider.fetched == 2


async def test_a_new_key_is_taken_up_and_one_taken_back_ends():
    provider, clock = Provider(), Clock()
    door = sign_in(provider, clock)
    old = provider.token()
    await door.subject(old)
    provider.private["r2"] = ("RS256", rsa.generate_private_key(65537, 2048))
    del provider.private["r1"]
    fresh = provider.token("r2")
    with pytest.raises(Unauthenticated):
        await door.subject(fresh)
    clock.at += ASK_AGAIN_SECONDS

    assert await door.subject(fresh) == "idp|ada"
    with pytest.raises(Unauthenticated):
        await door.subject(old)


async def test_an_absent_provider_is_borne_for_a_day():
    provider, clock = Provider(), Clock()
    door = sign_in(provider, clock)
    provider.status = 500
    with pytest.raises(DependencyDown):
        await door.subject(provider.token())
    provider.status = 200
    clock.at += ASK_AGAIN_SECONDS
    await door.subject(provider.token())
    provider.status = 500

    clock.at += STALE_SECONDS - 1
    assert await door.subject(provider.token()) == "idp|ada"
    with pytest.raises(Unauthenticated):
        await door.subject(provider.token(header={"kid": "r9"}))
    clock.at += 1
    with pytest.raises(DependencyDown):
        await door.subject(provider.token())


def test_keys_that_must_not_sign_for_us_are_passed_over():
    provider = Provider()
    good = provider.jwk("r1")
    weak = Provider()
    weak.private = {"w1": ("RS256", rsa.generate_private_key(65537, 1024))}
    odd = [
        {"kty": "oct", "k": "AAAA", "kid": "o1"}, {**good, "kid": "n1", "use": "enc"}, {**good, "kid": "n2", "alg": "RS512"},
        {**good, "kid": "n3", "key_ops": ["encrypt"]}, {**good, "kid": 7}, {**good, "kid": "n4", "n": "!"}, "text", None,
        {**good, "kid": "n5", "d": "AAAA"}, {**provider.jwk("e1"), "kid": "n6", "crv": "P-384"}, weak.jwk("w1"),
    ]  # fmt: skip
    assert set(read_jwks(json.dumps({"keys": [good, *odd]}).encode())) == {("r1", "RS256")}
    for document in (b"", b"[]", b"{}", b'{"keys": {}}', b"<html>"):
        with pytest.raises(ValueError):
            read_jwks(document)


async def test_a_huge_or_moved_jwks_is_none():
    for status, size in ((302, 0), (200, 300_000)):
        provider = Provider()
        provider.status = status
        provider.extra = [{"x": "y" * size}]
        with pytest.raises(DependencyDown):
            await over_http("http://id.example.com/jwks", httpx.ASGITransport(provider))()
