"""How a provider proves that a delivery is its own, where it can. Pure: headers, bytes and secrets in, a verdict out."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol


class Verdict(StrEnum):
    VERIFIED = "verified"  # by one of the secrets
    UNSIGNED = "unsigned"  # it shows no proof
    MISMATCHED = "mismatched"  # it shows one that none of the secrets makes


class Signing(Protocol):
    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that a proof needs, in lower case: the door hands on these and no others."""
        ...

    def verify(self, headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Verdict:
        """Whether any of `secrets` (several while one replaces another) proves the delivery. Never raises on any bytes."""
        ...


def any_equal(shown: str, expected: Sequence[str]) -> bool:
    """Whether `shown` is one of `expected`; the time it takes tells nothing of which, or how much of one."""
    found = False
    for one in expected:
        found |= hmac.compare_digest(shown.encode(errors="replace"), one.encode(errors="replace"))
    return found
