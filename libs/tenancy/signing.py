"""The signed tenant context of the inner hop: the gateway signs, owners verify with the public key only.

A JWT (EdDSA) with the owner as audience and at most 60 s of life. Signing and verifying cost about 0.1 ms, so both sides
keep what they did: the gateway per (owner, context), an owner per token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from libs.errors import Unauthenticated
from libs.ids import OrgId
from libs.tenancy.context import TenantContext, parse_scope

HEADER = "outrider-context"
LIFETIME_SECONDS = 60
_ISSUER = "outrider-gateway"
_REUSE_SECONDS = 30  # sign anew when half the life is over, so that a token never dies on its way
_KEPT = 4096


def new_private_key() -> str:
    """A fresh Ed25519 key: its 32 bytes as hex, the form in which settings carry it."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()).hex()


def public_key_of(private_key: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


class ContextSigner:
    def __init__(self, private_key: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private_key))
        self._signed: dict[tuple[str, TenantContext], tuple[float, str]] = {}

    def sign(self, context: TenantContext, audience: str) -> str:
        """A token for the service `audience` (its queue-style name, `provider-sync`)."""
        now = time.time()
        kept = self._signed.get((audience, context))
        if kept is not None and kept[0] > now:
            return kept[1]
        token = jwt.encode(
            {
                "iss": _ISSUER,
                "aud": audience,
                "exp": int(now) + LIFETIME_SECONDS,
                "sub": context.principal,
                "org": str(context.org_id),
                "companies": context.scope.setting(),
                "permissions": sorted(context.permissions),
            },
            self._key,
            algorithm="EdDSA",
        )
        if len(self._signed) >= _KEPT:
            self._signed.clear()
        self._signed[audience, context] = (now + _REUSE_SECONDS, token)
        return token


class ContextVerifier:
    """Holds one or several public keys (several while a key is being replaced)."""

    def __init__(self, public_keys: Sequence[str], audience: str) -> None:
        self._keys = [Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in public_keys]
        self._audience = audience
        self._verified: dict[str, tuple[float, TenantContext]] = {}

    def verify(self, token: str | None) -> TenantContext:
        """The context in `token`.

        Raises:
            Unauthenticated: no token, not signed by the gateway, for another service, or expired.
        """
        if not token:
            raise Unauthenticated("this service answers the gateway only: the signed context is missing")
        now = time.time()
        kept = self._verified.get(token)
        if kept is not None and kept[0] > now:
            return kept[1]
        for key in self._keys:
            try:
                claims = jwt.decode(
                    token,
                    key,
                    algorithms=["EdDSA"],
                    audience=self._audience,
                    issuer=_ISSUER,
                    options={"require": ["exp", "aud", "iss", "sub"], "strict_aud": True},
                )
                context = TenantContext(
                    principal=str(claims["sub"]),
                    org_id=OrgId(UUID(claims["org"])),
                    scope=parse_scope(claims["companies"]),
                    permissions=frozenset(claims["permissions"]),
                )
            except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, AttributeError):
                continue
            if len(self._verified) >= _KEPT:
                self._verified.clear()
            self._verified[token] = (float(claims["exp"]), context)
            return context
        raise Unauthenticated("the signed context is not valid for this service")
