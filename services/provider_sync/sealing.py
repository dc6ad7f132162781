"""Sealed secrets: credentials and webhook tokens as they lie in the database.

AES-256-GCM twice: a secret with its org's data key, the data key with a wrapping key (key_ring.py). Each is bound to its
place: moved to another table, row or org, or set under another key, it does not open.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libs.database.engine import TenantSession
from libs.errors import PermanentError
from libs.ids import OrgId, new_id
from libs.settings import BadSetting
from services.provider_sync.key_ring import NONCE_BYTES, KeyRing, KeysUnavailable
from services.provider_sync.repository.org_keys import OrgKey, OrgKeyRepository

UNENVELOPED = b"\x01"  # sealed with a wrapping key itself, before orgs had keys of their own
ENVELOPED = b"\x02"  # then the data key's id
_HEAD_BYTES = 1 + 16

# Plain data keys in memory: few, and not for long, so that a dump of the process tells little.
_CACHED_KEYS = 500
_CACHED_SECONDS = 60.0
_RELOAD_SECONDS = 5.0


class SealBroken(PermanentError):
    """The bytes were sealed with another key, or for another place."""

    code = "seal_broken"


class Sealer:
    """Seals and opens the secrets of the session's org; call it in the transaction that writes or reads their row."""

    def __init__(self, load: Callable[[], KeyRing]) -> None:
        """`load` reads the ring, now and again when a key is missing on it.

        Raises:
            BadSetting: the ring is malformed.
        """
        self._load = load
        self._ring = load()
        self._loaded_at = time.monotonic()
        self._plain: OrderedDict[tuple[OrgId, UUID], tuple[float, AESGCM]] = OrderedDict()

    async def seal(self, secret: str, session: TenantSession, *, table: str, row_id: UUID) -> bytes:
        """Seal for this row of this table, with the org's newest data key; the org's first is made here.

        Raises:
            KeysUnavailable: a wrapping key is missing.
        """
        key = await self.newest_key(session)
        cipher, nonce = self._cipher(key, session.org_id), os.urandom(NONCE_BYTES)
        bound_to = _place(ENVELOPED, table, row_id, session.org_id) + key.id.bytes
        return ENVELOPED + key.id.bytes + nonce + cipher.encrypt(nonce, secret.encode(), bound_to)

    async def open(self, sealed: bytes, session: TenantSession, *, table: str, row_id: UUID) -> str:
        """Raises:
        KeysUnavailable: a wrapping key is missing; the same call may succeed later.
        SealBroken: the bytes do not belong here.
        """
        if sealed[:1] == UNENVELOPED:
            _, secret = self.open_unenveloped(sealed, session.org_id, table=table, row_id=row_id)
            return secret
        if sealed[:1] != ENVELOPED or len(sealed) < _HEAD_BYTES + NONCE_BYTES:
            raise _broken(table)
        cipher = await self._cipher_of(UUID(bytes=sealed[1:_HEAD_BYTES]), session, table)
        bound_to = _place(ENVELOPED, table, row_id, session.org_id) + sealed[1:_HEAD_BYTES]
        nonce, rest = sealed[_HEAD_BYTES : _HEAD_BYTES + NONCE_BYTES], sealed[_HEAD_BYTES + NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, rest, bound_to).decode()
        except (InvalidTag, ValueError):
            raise _broken(table) from None

    def open_unenveloped(self, sealed: bytes, org_id: OrgId, *, table: str, row_id: UUID) -> tuple[str, str]:
        """The id of the wrapping key that sealed it, and the secret; it does not say which key it was, so all are tried.

        Raises:
            KeysUnavailable: none of them opens it.
        """
        bound_to = _place(UNENVELOPED, table, row_id, org_id)
        opened = self._ring.open_unenveloped(sealed[1:], bound_to=bound_to)
        if opened is None and self._reloaded():
            opened = self._ring.open_unenveloped(sealed[1:], bound_to=bound_to)
        if opened is None:
            raise KeysUnavailable(
                f"a secret of {table} opens with no credential key that is here: put the oldest one back"
            )
        return opened[0], opened[1].decode()

    @property
    def wrapping_id(self) -> str:
        """The id of the wrapping key that wraps. Raises: KeysUnavailable."""
        return self._ring.newest

    @property
    def wrapping_ids(self) -> tuple[str, ...]:
        """All that are on the ring, oldest first."""
        return self._ring.ids

    async def newest_key(self, session: TenantSession) -> OrgKey:
        """The data key that seals, made if the org has none."""
        keys = OrgKeyRepository(session)
        found = await keys.newest()
        if found is None:
            await keys.insert(self.new_key(session.org_id, version=1))
            found = await keys.newest()
            assert found is not None
        return found

    def new_key(self, org_id: OrgId, *, version: int) -> OrgKey:
        return self._wrapped(AESGCM.generate_key(256), org_id, version, new_id())

    def wrapped_anew(self, key: OrgKey, org_id: OrgId) -> OrgKey:
        """The same data key under the newest wrapping key."""
        return self._wrapped(self._data_key(key, org_id), org_id, key.version, key.id)

    def _wrapped(self, data_key: bytes, org_id: OrgId, version: int, key_id: UUID) -> OrgKey:
        self._reload()  # lest it is wrapped with a key that has been dropped meanwhile; keys are made seldom
        wrapped_by, wrapped = self._ring.wrap(data_key, bound_to=_key_place(org_id, version, key_id))
        return OrgKey(version, key_id, wrapped_by, wrapped)

    async def _cipher_of(self, key_id: UUID, session: TenantSession, table: str) -> AESGCM:
        known = self._remembered(session.org_id, key_id)
        if known is not None:
            return known
        key = await OrgKeyRepository(session).find(key_id)
        if key is None:
            raise _broken(table)
        return self._cipher(key, session.org_id)

    def _cipher(self, key: OrgKey, org_id: OrgId) -> AESGCM:
        """Remembered by the key's id, which is never used twice: what a rolled-back transaction made does no harm."""
        known = self._remembered(org_id, key.id)
        if known is None:
            known = AESGCM(self._data_key(key, org_id))
            self._plain[org_id, key.id] = (time.monotonic() + _CACHED_SECONDS, known)
            if len(self._plain) > _CACHED_KEYS:
                self._plain.popitem(last=False)
        return known

    def _remembered(self, org_id: OrgId, key_id: UUID) -> AESGCM | None:
        while self._plain and next(iter(self._plain.values()))[0] <= time.monotonic():  # the oldest stands first
            self._plain.popitem(last=False)
        found = self._plain.get((org_id, key_id))
        return None if found is None else found[1]

    def _data_key(self, key: OrgKey, org_id: OrgId) -> bytes:
        if key.wrapped_by not in self._ring.ids:
            self._reloaded()
        place = _key_place(org_id, key.version, key.id)
        found = self._ring.unwrap(key.wrapped_by, key.wrapped, bound_to=place)
        if found is None:
            raise SealBroken(f"a data key does not open with the credential key {key.wrapped_by}")
        return found

    def _reloaded(self) -> bool:
        """Read the ring again, unless that was done just now: a key that was put back needs no restart."""
        if time.monotonic() - self._loaded_at < _RELOAD_SECONDS:
            return False
        self._reload()
        return True

    def _reload(self) -> None:
        self._loaded_at = time.monotonic()
        with suppress(BadSetting):  # spoilt since the start: the keys that we have stay
            self._ring = self._load()


def _place(form: bytes, table: str, row_id: UUID, org_id: OrgId) -> bytes:
    return form + table.encode() + b"\0" + row_id.bytes + org_id.bytes


def _key_place(org_id: OrgId, version: int, key_id: UUID) -> bytes:
    return b"org_keys\0" + org_id.bytes + key_id.bytes + version.to_bytes(4, "big")


def _broken(table: str) -> SealBroken:
    return SealBroken(f"a secret of {table} does not open: it was sealed with another key, or for another place")
