"""Tokens of an OpenID Connect provider: who somebody is, proven by the provider's signature. What they may do is not in it.

The rules are those of RFC 8725: one key for one algorithm, every claim checked, nothing fetched because a token says so.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Collection
from typing import Any

import jwt

from libs.clock import now
from libs.errors import Unauthenticated
from services.gateway.jwks import Jwks

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
TYPES = frozenset({"jwt", "at+jwt"})  # RFC 7519, RFC 9068; with or without `application/`
MAX_TOKEN_BYTES = 8192
LEEWAY_SECONDS = 60  # between the provider's clock and ours

_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")


class SignIn:
    """`audiences`: a token must be meant for one of them, and for nobody else."""

    def __init__(self, jwks: Jwks, *, issuer: str, audiences: Collection[str]) -> None:
        self._jwks = jwks
        self._issuer = issuer
        self._audiences = frozenset(audiences)

    async def subject(self, token: str) -> str:
        """The person whom a token names.

        Raises:
            Unauthenticated: it is not one of this provider for us, or not valid now.
            DependencyDown: the provider's keys were never heard, or too long ago.
        """
        if len(token) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(token):
            raise _refused()
        head, body, _ = token.split(".")
        header = _document(head)
        algorithm, kid = header.get("alg"), header.get("kid")
        kind = header.get("typ")
        if (
            algorithm not in ALGORITHMS
            or not isinstance(kid, str)
            or not isinstance(kind, str)
            or kind.lower().removeprefix("application/") not in TYPES
            or "crit" in header  # an extension that must be understood, and we understand none
        ):
            raise _refused()
        key = await self._jwks.find(kid, str(algorithm))
        if key is None:
            raise _refused()
        try:
            jwt.api_jws.decode(token, key, algorithms=[str(algorithm)])
        except (jwt.PyJWTError, ValueError, TypeError):
            raise _refused() from None
        return self._checked(_document(body))

    def _checked(self, claims: dict[str, Any]) -> str:
        moment = now().timestamp()
        if claims.get("iss") != self._issuer or not self._is_for_us(claims.get("aud")):
            raise _refused()
        expires, issued = _seconds(claims.get("exp")), _seconds(claims.get("iat"))
        not_before = _seconds(claims.get("nbf", 0))
        if expires is None or issued is None or not_before is None:
            raise _refused()
        if max(issued, not_before) > moment + LEEWAY_SECONDS:
            raise _refused()
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise _refused()
        if expires <= moment - LEEWAY_SECONDS:
            raise Unauthenticated("this sign-in has expired: sign in again", code="token_expired")
        return subject

    def _is_for_us(self, audience: object) -> bool:
        named = [audience] if isinstance(audience, str) else audience
        # One that is also meant for another party could have been passed on by it.
        return (
            isinstance(named, list)
            and bool(named)
            and all(isinstance(one, str) and one in self._audiences for one in named)
        )


def looks_like_token(text: str) -> bool:
    return text.count(".") == 2


def _document(part: str) -> dict[str, Any]:
    try:
        raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        found = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError):
        raise _refused() from None
    if not isinstance(found, dict):
        raise _refused()
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of `{"sub": "a", "sub": "b"}` may see two people.
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _refused() -> Unauthenticated:
    return Unauthenticated("this sign-in is not valid here")
