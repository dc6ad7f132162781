"""Ids: new ones are UUIDv7 (they sort by time), entities' ids are derived from their natural key.

Derived ids are what lets handlers commute: whoever sees an entity first, in whatever order, computes the same id for it,
so a parent can be inserted as a stub and a child refer to it without a look-up.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import NewType
from uuid import UUID

import uuid_utils

from libs.errors import NotFound

OrgId = NewType("OrgId", UUID)
CompanyId = NewType("CompanyId", UUID)
AccountId = NewType("AccountId", UUID)
EventId = NewType("EventId", UUID)

# Rows without a tenant (a heartbeat, a topology note) belong to this reserved org, which only platform staff may read.
PLATFORM_ORG = OrgId(UUID(int=0))


def new_id() -> UUID:
    """A new UUIDv7."""
    return UUID(int=uuid_utils.uuid7().int)


def minted_at(identifier: UUID) -> datetime:
    """The millisecond at which a UUIDv7 was made."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def entity_id(account_id: UUID, kind: str, natural_key: str) -> UUID:
    """The id of the entity of `kind` that `account_id`'s provider knows as `natural_key`.

    Version 8 (RFC 9562: "custom") marks that it was derived; the account's own random id keeps it from being guessed.
    """
    digest = hashlib.sha256(
        account_id.bytes + kind.encode() + b"\0" + natural_key.encode("utf-8", "surrogatepass")
    ).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=number)


def public_id(prefix: str, identifier: UUID) -> str:
    """`cam_0190…`: what the API shows. The prefix tells a person what they hold."""
    return f"{prefix}_{identifier.hex}"


def parse_public_id(prefix: str, text: str) -> UUID:
    """The UUID in a public id.

    Raises:
        NotFound: it is none of this kind. A malformed id and a foreign one get the same answer on purpose.
    """
    head, _, tail = text.rpartition("_")  # `op_sync_…` names its owner too
    if head == prefix and len(tail) == 32 and tail.isascii() and tail.isalnum():
        try:
            return UUID(hex=tail)
        except ValueError:
            pass
    raise NotFound(f"there is no {prefix}_ object with this id")
