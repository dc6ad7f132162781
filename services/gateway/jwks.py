"""The public keys of an OpenID Connect provider, as its JWKS lists them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from libs.errors import DependencyDown
from libs.observability.logs import get_logger

log = get_logger()

ASK_AGAIN_SECONDS = 30.0  # whoever sends tokens with made-up key ids must not make us flood the provider
REFRESH_SECONDS = 300.0  # so long may a key live on that the provider took back
STALE_SECONDS = 86_400.0  # so long people stay signed in while the provider is away
_TIMEOUT_SECONDS = 3.0
_MAX_BYTES = 262_144
_MAX_KEYS = 100
_MIN_RSA_BITS = 2048

_FAMILY = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}

Fetch = Callable[[], Awaitable[bytes]]


class Jwks:
    """Keys by id and algorithm. `fetch` answers the JWKS document or raises DependencyDown."""

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[tuple[str, str], Any] = {}
        self._heard_at: float | None = None
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def find(self, kid: str, algorithm: str) -> Any | None:
        """The key, or None when the provider has none of this id for this algorithm.

        Raises:
            DependencyDown: nothing was heard from the provider for a day, or ever.
        """
        key = self._known(kid, algorithm)
        if key is None:
            async with self._asking:
                key = self._known(kid, algorithm)
                if key is None and await self.refresh():
                    key = self._known(kid, algorithm)
        if key is None and self._is_stale():
            raise DependencyDown("the provider of sign-ins does not answer at the moment")
        return key

    def _known(self, kid: str, algorithm: str) -> Any | None:
        return None if self._is_stale() else self._keys.get((kid, algorithm))

    def _is_stale(self) -> bool:
        return self._heard_at is None or self._heard_at + STALE_SECONDS <= self._clock()

    async def refresh(self) -> bool:
        """Ask the provider, unless it was asked a moment ago; whether an answer came."""
        moment = self._clock()
        if self._asked_at is not None and moment < self._asked_at + ASK_AGAIN_SECONDS:
            return False
        self._asked_at = moment
        try:
            self._keys = read_jwks(await self._fetch())
        except (DependencyDown, ValueError) as error:
            log.warning("jwks_not_heard", reason=str(error))
            return False
        self._heard_at = moment
        return True

    async def run(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_SECONDS)


def read_jwks(document: bytes) -> dict[tuple[str, str], Any]:
    """The keys that may sign for us, by id and algorithm; others are passed over.

    Raises:
        ValueError: no JWKS.
    """
    parsed = orjson.loads(document)
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise ValueError("this is no JWKS")
    keys: dict[tuple[str, str], Any] = {}
    for entry in listed[:_MAX_KEYS]:
        if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
            continue
        for algorithm, (family, curve) in _FAMILY.items():
            fits = entry.get("kty") == family and (curve is None or entry.get("crv") == curve)
            operations = entry.get("key_ops")
            if (
                fits
                and entry.get("alg", algorithm) == algorithm
                and entry.get("use", "sig") == "sig"
                and (operations is None or (isinstance(operations, list) and "verify" in operations))
                and "d" not in entry  # a private key that everyone can read proves nothing
            ):
                with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
                    key = jwt.PyJWK(entry, algorithm).key
                    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
                        continue
                    if algorithm == "EdDSA" and not isinstance(key, Ed25519PublicKey):
                        continue
                    keys[entry["kid"], algorithm] = key
    return keys


def over_http(url: str, transport: httpx.AsyncBaseTransport | None = None) -> Fetch:
    """Fetches from the one address in the settings; what a token or an answer names is never followed."""

    async def fetch() -> bytes:
        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False) as client,
                client.stream("GET", url, headers={"Accept": "application/json"}) as response,
            ):
                if response.status_code != 200:
                    raise DependencyDown(f"the JWKS answered {response.status_code}")
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise DependencyDown("the JWKS is too large")
                return body
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            raise DependencyDown(f"the JWKS does not answer: {type(error).__name__}") from error

    return fetch
