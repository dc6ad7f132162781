"""API keys: `otr_live_<id, 32 hex>_<secret, 43 base62><checksum, 6 base62>`, and the little that we keep of them.

The secret has 256 bits, so a keyed hash is enough (slow hashes are for passwords); a database without the pepper proves
nothing about any key. The checksum lets scanners tell a leaked key from a look-alike; it protects nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from uuid import UUID

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SHAPE = re.compile(r"otr_live_([0-9a-f]{32})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")
_NUMBERED = re.compile(r"(?:([1-9][0-9]{0,3}):)?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as its holder sends it; what it claims is not proven."""

    id: UUID
    secret: str


def make(key_id: UUID) -> tuple[str, str]:
    """A new key for `key_id`: the whole text, to be shown once, and its secret."""
    secret = _base62(secrets.randbits(256), 43)
    head = f"otr_live_{key_id.hex}_{secret}"
    return head + _checksum(head), secret


def parse(text: str) -> PresentedKey | None:
    """None for what cannot be a key of ours."""
    shape = _SHAPE.fullmatch(text)
    if shape is None or _checksum(text[:-6]) != shape[3]:
        return None
    return PresentedKey(UUID(hex=shape[1]), shape[2])


def _checksum(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), 6)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


class Peppers:
    """The peppers by version, as the setting lists them: oldest first, so old keys live on when a new one is appended.

    Versions count from 1. To leave out the oldest, write the version before what stays (`2:new`): the count goes on there.
    """

    def __init__(self, listed: str) -> None:
        self._peppers: dict[int, bytes] = {}
        for part in listed.split(","):
            numbered = _NUMBERED.fullmatch(part.strip())
            if numbered is None or not numbered[2]:
                raise ValueError("a pepper is empty")
            version = int(numbered[1]) if numbered[1] else self.newest + 1
            if version <= self.newest:
                raise ValueError("the versions of the peppers do not rise")
            self._peppers[version] = numbered[2].encode()

    @property
    def newest(self) -> int:
        return max(self._peppers, default=0)

    def mac(self, version: int, key_id: UUID, secret: str) -> bytes:
        """What is kept of a secret. A version that is gone gives random bytes: such a key fits nothing."""
        pepper = self._peppers.get(version)
        if pepper is None:
            return secrets.token_bytes(32)
        return hmac.digest(pepper, key_id.bytes + secret.encode(), hashlib.sha256)

    def derived(self, purpose: str) -> str:
        """A key for another purpose of the gateway's replicas, so that they need to share one secret only."""
        return hmac.digest(self._peppers[self.newest], b"derived " + purpose.encode(), hashlib.sha256).hex()
