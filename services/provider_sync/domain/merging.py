"""Merging: what is known of an entity is the join of all statements about it, whatever their order and number.

Field by field the newer statement wins; versions are totally ordered, so the join is commutative, associative and
idempotent. An older statement fills gaps, as what it alone states has no rival.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from libs.clock import rfc3339
from libs.ids import AccountId, CompanyId
from libs.providers.sightings import Source

Value = str | int | datetime | UUID | Mapping[str, str]
_RANKS = {source: source.rank for source in Source}  # asked for with every field of every webhook
_LARGEST_INTEGER = 2**31 - 1  # of a PostgreSQL integer; a larger number is no step and no count of days


class Version(NamedTuple):
    """Compared left to right. `seen_at` is RFC 3339 text of fixed length in UTC, so text sorts as time does."""

    seen_at: str
    rank: int
    hash: str


@dataclass(frozen=True, slots=True)
class Stated:
    version: Version
    value: Value


@dataclass(frozen=True, slots=True)
class State:
    """What statements say of one entity. `identity` are the columns that its natural key fixes, `sources` a bit per rank."""

    id: UUID
    account_id: AccountId
    identity: tuple[Value, ...]
    fields: Mapping[str, Stated] = field(default_factory=dict)
    sources: int = 0


@dataclass(slots=True)
class Row:
    """An entity as stored. `values` holds what events tell, and of other fields only what has just changed."""

    id: UUID
    account_id: AccountId
    identity: tuple[Value, ...]
    company_id: CompanyId | None = None
    revision: int = 0
    sources: int = 0
    versions: dict[str, Version] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Joined:
    """`changed` are the fields with another value; `moved` says that versions or sources went on, if only that."""

    row: Row
    changed: frozenset[str]
    moved: bool


def state(values: Mapping[str, Value | None], seen_at: datetime, source: Source) -> dict[str, Stated]:
    """The statements of one source at one time; a value that is None is not stated."""
    at, rank = rfc3339(seen_at), _RANKS[source]
    fields = {}
    for name, value in values.items():
        if value is None or (isinstance(value, int) and abs(value) > _LARGEST_INTEGER):
            continue
        plain = str(value) if isinstance(value, str) else value  # a StrEnum's word
        fields[name] = Stated(Version(at, rank, _hash(plain)), plain)
    return fields


def merge(one: State, other: State) -> State:
    """The join of two states of one entity."""
    fields = dict(one.fields)
    for name, theirs in other.fields.items():
        ours = fields.get(name)
        if ours is None or theirs.version > ours.version:
            fields[name] = theirs
    return State(one.id, one.account_id, one.identity, fields, one.sources | other.sources)


def join(row: Row | None, seen: State) -> Joined:
    """The stored entity with what was seen; None: it was not stored. The given row is left as it is."""
    known = row or Row(seen.id, seen.account_id, seen.identity)
    versions, values = dict(known.versions), dict(known.values)
    changed = set()
    moved = row is None or known.sources | seen.sources != known.sources
    for name, stated in seen.fields.items():
        before = versions.get(name)
        if before is not None and stated.version <= before:
            continue
        moved = True
        versions[name] = stated.version
        if before is None or before.hash != stated.version.hash:
            values[name] = stated.value
            changed.add(name)
    after = Row(
        known.id,
        known.account_id,
        known.identity,
        known.company_id,
        known.revision,
        known.sources | seen.sources,
        versions,
        values,
    )
    return Joined(after, frozenset(changed), moved)


def is_news(seen: State, versions: Mapping[str, Version], sources: int) -> bool:
    """Whether `seen` would change the row of which this is known: another value that wins, or another way of knowing."""
    if seen.sources & ~sources:
        return True
    for name, stated in seen.fields.items():
        before = versions.get(name)
        if before is None or (stated.version > before and stated.version.hash != before.hash):
            return True
    return False


def bit(source: Source) -> int:
    return 1 << _RANKS[source]


def provenance(sources: int) -> Source:
    """How we know: by webhook if any told it, else by a pull, else because something else refers to it."""
    return next((source for source in (Source.WEBHOOK, Source.PULL) if sources & bit(source)), Source.INFERRED)


def source_of(version: Version) -> Source:
    return list(Source)[version.rank]


def _hash(value: Value) -> str:
    if isinstance(value, str):
        data = value.encode()
    elif isinstance(value, datetime):
        data = rfc3339(value).encode()
    else:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(data).hexdigest()[:16]
