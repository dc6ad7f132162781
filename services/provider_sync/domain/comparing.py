"""Comparing a campaign as its provider lists it with what we hold: counts and hashes per day, keys only where they differ."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from libs.contracts.events import SnapshotDifference, SnapshotDigest
from libs.providers.capabilities import RemoteMessageKey

Kind = Literal["sent", "reply"]
_HASH_BYTES = 16
# About 150 bytes a key: a part then stays well below what one event may weigh.
KEYS_PER_PART = 4000


@dataclass(frozen=True, slots=True)
class OurMessage:
    """`occurred_at` None: nothing told the time yet; `seen_at` is then the time of what told of the message."""

    key: str
    kind: Kind
    lead_key: str
    occurred_at: datetime | None
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    digests: tuple[SnapshotDigest, ...]
    differences: tuple[SnapshotDifference, ...]


def compare(theirs: Iterable[RemoteMessageKey], ours: Iterable[OurMessage]) -> Comparison:
    """Digests of all (kind, UTC day), and the keys of those that differ.

    A message that both sides have lies on the provider's day on both: two opinions about its time are no message missing.
    """
    # By place: message key -> lead key.
    provider: dict[tuple[Kind, date], dict[str, str]] = defaultdict(dict)
    own: dict[tuple[Kind, date], dict[str, str]] = defaultdict(dict)
    placed: dict[str, tuple[Kind, date]] = {}
    for remote in theirs:
        place = (_kind(remote.kind), _day(remote.occurred_at))
        if placed.setdefault(remote.key, place) == place:
            provider[place][remote.key] = remote.lead_key
    for message in ours:
        place = placed.get(message.key) or (message.kind, _day(message.occurred_at or message.seen_at))
        own[place][message.key] = message.lead_key
    digests, differences = [], []
    for kind, day in sorted(provider.keys() | own.keys()):
        there, here = provider[kind, day], own[kind, day]
        digests.append(
            SnapshotDigest(
                kind=kind,
                day=day,
                provider_count=len(there),
                provider_hash=_hash(there),
                our_count=len(here),
                our_hash=_hash(here),
            )
        )
        missing = sorted((key, lead) for key, lead in there.items() if key not in here)
        surplus = sorted((key, lead) for key, lead in here.items() if key not in there)
        if missing or surplus:
            differences.append(SnapshotDifference(kind=kind, day=day, missing=tuple(missing), surplus=tuple(surplus)))
    return Comparison(tuple(digests), tuple(differences))


def split(comparison: Comparison, keys_per_part: int = KEYS_PER_PART) -> list[Comparison]:
    """In parts that fit an event: the digests with the first, the keys over as many as they need."""
    parts: list[list[SnapshotDifference]] = [[]]
    room = keys_per_part
    for difference in comparison.differences:
        for chunk in _chunks(difference, keys_per_part):
            size = len(chunk.missing) + len(chunk.surplus)
            if size > room:
                parts.append([])
                room = keys_per_part
            parts[-1].append(chunk)
            room -= size
    return [
        Comparison(comparison.digests if number == 0 else (), tuple(differences))
        for number, differences in enumerate(parts)
    ]


def _chunks(difference: SnapshotDifference, size: int) -> Iterator[SnapshotDifference]:
    for name in ("missing", "surplus"):
        pairs: Sequence[tuple[str, str]] = getattr(difference, name)
        for start in range(0, len(pairs), size):
            piece = {name: tuple(pairs[start : start + size])}
            yield SnapshotDifference.model_validate({"kind": difference.kind, "day": difference.day, **piece})


def _hash(keys: Iterable[str]) -> str:
    mixed = 0
    for key in keys:
        mixed ^= int.from_bytes(hashlib.sha256(key.encode()).digest()[:_HASH_BYTES], "big")
    return mixed.to_bytes(_HASH_BYTES, "big").hex()


def _kind(text: str) -> Kind:
    return "reply" if text == "reply" else "sent"


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
