"""An OpenID Connect provider that is only its keys: signs what it is told, and answers its JWKS over ASGI."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from starlette.types import Receive, Scope, Send

ISSUER = "https://id.example.com/"
AUDIENCE = "outrider"


class Provider:
    def __init__(self) -> None:
        self.private: dict[str, tuple[str, Any]] = {
            "r1": ("RS256", rsa.generate_private_key(65537, 2048)),
            "e1": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "d1": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }
        self.fetched = 0
        self.status = 200
        self.extra: list[dict[str, Any]] = []

    def jwk(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.private[kid]
        made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key())
        return {**json.loads(made), "kid": kid, "alg": algorithm, "use": "sig"}

    def public_pem(self, kid: str) -> bytes:
        return bytes(self.private[kid][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def document(self) -> bytes:
        return json.dumps({"keys": [*(self.jwk(kid) for kid in self.private), *self.extra]}).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.fetched += 1
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": self.document()})

    def token(self, kid: str = "r1", *, header: dict[str, Any] | None = None, key: Any = None, **changed: Any) -> str:
        """A good token but for what is named; a claim of None is left out."""
        algorithm, own = self.private.get(kid, ("RS256", None))
        head = {"typ": "JWT", "alg": algorithm, "kid": kid, **(header or {})}
        return self.signed(json.dumps(without_none(head)), json.dumps(claims(**changed)), head["alg"], key or own)

    def signed(self, header: str, payload: str, algorithm: str, key: Any) -> str:
        """Any bytes as header and payload under a true signature."""
        signing = f"{encoded(header.encode())}.{encoded(payload.encode())}"
        if algorithm == "none":
            return signing + "."
        made = jwt.get_algorithm_by_name(algorithm)
        return f"{signing}.{encoded(made.sign(signing.encode(), key))}"


def claims(**changed: Any) -> dict[str, Any]:
    """Valid for a day: a forgery that was made when a long run began is refused for what it is, not for its age."""
    moment = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "idp|ada", "iat": moment, "nbf": moment, "exp": moment + 86_400}
    return without_none({**good, **changed})


def without_none(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
