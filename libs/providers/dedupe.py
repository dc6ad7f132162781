"""How a provider's door makes its dedupe keys: from a few fields, whatever their JSON types."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from libs.ids import new_id

LONGEST_EVENT_TYPE = 100  # a label in lists and metrics, not a text


def digest(parts: Iterable[str]) -> bytes:
    """32 bytes, equal for equal parts."""
    return hashlib.sha256("\x1f".join(parts).encode()).digest()


def occurrence_of_its_own() -> bytes:
    """For a payload that cannot be told from a repetition of another: it counts as one of its own."""
    return hashlib.sha256(new_id().bytes).digest()


def scalar(value: object) -> str:
    """A field as a part of a key: ids are numbers here and text there, so 7 and "7" are one."""
    if value is None:
        return ""
    # Only the kind of a container: its text may be deeper than Python can print.
    return str(value).strip().lower() if isinstance(value, str | int | float) else type(value).__name__


def nested(payload: dict[str, object], name: str) -> dict[str, object]:
    """The object `name`; empty when it is anything else."""
    value = payload.get(name)
    return value if isinstance(value, dict) else {}
