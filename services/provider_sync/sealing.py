"""Sealed secrets: credentials and webhook tokens as they lie in the database.

AES-256-GCM. Each is bound to its row: moved to another table, row or org it does not open.
"""

from __future__ import annotations

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.errors import PermanentError
from libs.ids import OrgId
from libs.settings import BadSetting

_VERSION = b"\x01"
_NONCE_BYTES = 12


class SealBroken(PermanentError):
    """The bytes were sealed with another key, or for another row."""

    code = "seal_broken"


class Sealer:
    """Holds the key and shows it to nobody. Safe for about 2^32 seals under one key, as nonces are random."""

    __slots__ = ("_cipher",)

    def __init__(self, key: str) -> None:
        """`key`: 32 bytes as hex."""
        try:
            raw = bytes.fromhex(key)
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise BadSetting("the credential key is not 32 bytes written as 64 hex digits")
        self._cipher = AESGCM(raw)

    def seal(self, secret: str, *, table: str, row_id: UUID, org_id: OrgId) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), _bound_to(table, row_id, org_id))

    def open(self, sealed: bytes, *, table: str, row_id: UUID, org_id: OrgId) -> str:
        """Raises: SealBroken."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, rest, _bound_to(table, row_id, org_id)).decode()
        except (InvalidTag, ValueError):
            raise SealBroken(f"a secret of {table} does not open: was the credential key replaced?") from None


def _bound_to(table: str, row_id: UUID, org_id: OrgId) -> bytes:
    return _VERSION + table.encode() + b"\0" + row_id.bytes + org_id.bytes
