"""The wrapping keys: they seal the orgs' data keys and nothing else, and lie outside the database.

A key is known by an id that is computed from it, so no two people can call one key by two names. The newest wraps; older
ones stay until `outrider keys rotate` has moved what hangs on them and `outrider keys status` says so.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.errors import DependencyDown
from libs.settings import BadSetting

NONCE_BYTES = 12
_KEY_BYTES = 32
_SETTING = "PROVIDER_SYNC_CREDENTIAL_KEYS"


class KeysUnavailable(DependencyDown):
    """A wrapping key is not here. What it would open waits, and goes on once the key is back."""


def key_id(key: bytes) -> str:
    """`k` and 12 hex digits of a hash: enough to tell a house's few keys apart, and nothing of a random key."""
    return "k" + hashlib.sha256(b"outrider wrapping key\0" + key).hexdigest()[:12]


def new_key() -> str:
    """A wrapping key as settings hold it."""
    return os.urandom(_KEY_BYTES).hex()


class KeyRing:
    """Holds keys and shows them to nobody. Safe for about 2^32 wraps under one key, as nonces are random."""

    __slots__ = ("_ciphers",)

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys`: 32 bytes as hex each, oldest first. None is no mistake here: all that needs one waits.

        Raises:
            BadSetting: one is malformed.
        """
        self._ciphers: dict[str, AESGCM] = {}
        for place, key in enumerate(keys, start=1):
            try:
                raw = bytes.fromhex(key)
            except ValueError:
                raw = b""
            if len(raw) != _KEY_BYTES:
                raise BadSetting(f"credential key {place} of {len(keys)} is not 32 bytes written as 64 hex digits")
            self._ciphers[key_id(raw)] = AESGCM(raw)

    @property
    def ids(self) -> tuple[str, ...]:
        """Oldest first."""
        return tuple(self._ciphers)

    @property
    def newest(self) -> str:
        """The id of the key that wraps.

        Raises:
            KeysUnavailable: there is none.
        """
        if not self._ciphers:
            raise KeysUnavailable(f"there is no credential key: set {_SETTING}, or run `outrider migrate`")
        return self.ids[-1]

    def wrap(self, data_key: bytes, *, bound_to: bytes) -> tuple[str, bytes]:
        """The id of the newest key, and `data_key` sealed with it."""
        newest, nonce = self.newest, os.urandom(NONCE_BYTES)
        return newest, nonce + self._ciphers[newest].encrypt(nonce, data_key, bound_to + newest.encode())

    def unwrap(self, wrapped_by: str, wrapped: bytes, *, bound_to: bytes) -> bytes | None:
        """The data key; None when it was not wrapped with this key, for this place.

        Raises:
            KeysUnavailable: the key is not on the ring; its id is named.
        """
        cipher = self._ciphers.get(wrapped_by)
        if cipher is None:
            raise KeysUnavailable(
                f"the credential key {wrapped_by} is missing: put it back into {_SETTING}, in front of newer ones"
            )
        try:
            return cipher.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound_to + wrapped_by.encode())
        except (InvalidTag, ValueError):
            return None

    def open_unenveloped(self, sealed: bytes, *, bound_to: bytes) -> tuple[str, bytes] | None:
        """What was sealed with a key of the ring itself, as all was before orgs had keys; with the id of that key."""
        for name, cipher in self._ciphers.items():
            try:
                return name, cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
            except (InvalidTag, ValueError):
                continue
        return None
