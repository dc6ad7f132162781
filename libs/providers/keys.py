"""What natural keys of all providers have in common: their parts stay short enough for an index."""

from __future__ import annotations

import hashlib

# Keys are indexed, and a B-tree entry of PostgreSQL ends near 2,700 bytes; tracking links alone can be longer.
LONGEST_PART = 200


def part(text: str) -> str:
    """`text`, or its SHA-256 when it is too long for a part of a key."""
    return text if len(text) <= LONGEST_PART else "sha256-" + hashlib.sha256(text.encode()).hexdigest()
