"""What the door decides, without I/O: whose token it is, whether bytes may be parsed, which delivery is a repetition."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import orjson

from libs.ids import AccountId, OrgId
from libs.providers.sightings import DoorReading

Verdict = Literal["accepted", "duplicate", "conflict", "quarantined"]

MAX_DEPTH = 64
_KEY_BYTES = 32
_LONGEST_EVENT_TYPE = 100
_LONGEST_REASON = 200
_LONGEST_HEADER = 1024

# What a signature check may need later, and nothing that could be a credential.
_KEPT_HEADER = re.compile(
    rb"(content-type|user-agent|webhook-(id|timestamp)|[a-z0-9-]*signature[a-z0-9-]*|x-[a-z0-9-]*timestamp)\Z"
)

# Matches from each quote to its end or to the end of all, so that no start is ever tried twice: linear on any bytes.
_STRING = re.compile(rb'"[^"\\]*(?:\\.?[^"\\]*)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")  # whether kinds match is the parser's business


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one account's provider posts. `token_sha256` is the digest (32 bytes) of the whole token text."""

    id: UUID
    org_id: OrgId
    account_id: AccountId
    provider: str
    token_sha256: bytes
    is_open: bool
    revision: int


# Compared with when an id is unknown, so that an unknown id costs what a wrong secret costs.
NOBODY = Endpoint(UUID(int=0), OrgId(UUID(int=0)), AccountId(UUID(int=0)), "", secrets.token_bytes(32), False, 0)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery as it came, not yet kept. `headers` is JSON text; `traceparent` is its request's."""

    id: UUID
    endpoint: Endpoint
    received_at: datetime
    body: bytes
    body_sha256: bytes
    headers: str
    dedupe_key: bytes | None
    event_type: str
    quarantine_reason: str | None
    traceparent: str | None

    @property
    def org_id(self) -> OrgId:
        return self.endpoint.org_id

    @property
    def occurrence(self) -> Occurrence:
        """Only for what has a dedupe key."""
        assert self.dedupe_key is not None
        return self.endpoint.id, self.dedupe_key


Occurrence = tuple[UUID, bytes]  # endpoint, dedupe key


@dataclass(frozen=True, slots=True)
class First:
    """The delivery that was first with a dedupe key, and its body's hash."""

    delivery_id: UUID
    body_sha256: bytes


@dataclass(frozen=True, slots=True)
class Judged:
    arrival: Arrival
    verdict: Verdict
    duplicate_of: UUID | None = None

    @property
    def is_published(self) -> bool:
        return self.verdict in ("accepted", "conflict")


def admits(endpoint: Endpoint, provider: str, token_sha256: bytes) -> bool:
    """Whether the token opens this endpoint; each comparison is made whatever the others say."""
    same_token = hmac.compare_digest(endpoint.token_sha256, token_sha256)
    same_provider = hmac.compare_digest(endpoint.provider.encode(), provider.encode())
    return same_token & same_provider & endpoint.is_open


def structure_fault(body: bytes) -> str | None:
    """Why these bytes must not meet a parser, or None: nested deeper than MAX_DEPTH, or brackets that do not pair."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return None
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):  # each pass takes away the innermost level
        if not brackets:
            return None
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            return "not JSON"
        brackets = left
    return f"nested deeper than {MAX_DEPTH} levels" if brackets else None


def kept_headers(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The headers worth keeping, as JSON text; the last of equal names."""
    kept = {
        name.decode("ascii"): value[:_LONGEST_HEADER].decode("latin-1").replace("\0", "\ufffd")
        for name, value in headers
        if _KEPT_HEADER.match(name)
    }
    return orjson.dumps(kept).decode()


def storable(reading: DoorReading) -> DoorReading:
    """The reading with texts that PostgreSQL takes and a key of 32 bytes, whatever an adapter made of hostile bytes."""
    reason = reading.quarantine_reason
    if reason is None and reading.dedupe_key is None:
        reason = "no dedupe key"
    if reason is not None:
        return DoorReading(quarantine_reason=_text(reason, _LONGEST_REASON) or "unreadable")
    key = reading.dedupe_key or b""
    return DoorReading(
        dedupe_key=key if len(key) == _KEY_BYTES else hashlib.sha256(key).digest(),
        event_type=_text(reading.event_type or "", _LONGEST_EVENT_TYPE),
    )


def _text(text: str, longest: int) -> str:
    return text[:longest].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def by_org(arrivals: Sequence[Arrival]) -> list[tuple[OrgId, list[Arrival]]]:
    """In the order of the orgs' ids: flushes of two replicas then lock in one order and cannot deadlock."""
    found: dict[OrgId, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        found[arrival.org_id].append(arrival)
    return sorted(found.items())


def claims(arrivals: Iterable[Arrival]) -> list[Arrival]:
    """For each occurrence the arrival that stands for it: the first of this batch. In the order of the keys."""
    found: dict[Occurrence, Arrival] = {}
    for arrival in arrivals:
        if arrival.dedupe_key is not None:
            found.setdefault(arrival.occurrence, arrival)
    return [found[key] for key in sorted(found)]


def variant_claims(arrivals: Iterable[Arrival], firsts: Mapping[Occurrence, First]) -> list[Arrival]:
    """For each body that differs from its occurrence's first one, the arrival that stands for it; in the order of the keys."""
    found: dict[tuple[Occurrence, bytes], Arrival] = {}
    for arrival in arrivals:
        if arrival.dedupe_key is not None and firsts[arrival.occurrence].body_sha256 != arrival.body_sha256:
            found.setdefault((arrival.occurrence, arrival.body_sha256), arrival)
    return [found[key] for key in sorted(found)]


def judge(
    arrival: Arrival, firsts: Mapping[Occurrence, First], variants: Mapping[tuple[Occurrence, bytes], UUID]
) -> Judged:
    """`firsts` holds the first delivery of each occurrence, `variants` that of each other body of one."""
    if arrival.dedupe_key is None:
        return Judged(arrival, "quarantined")
    first = firsts[arrival.occurrence]
    if first.body_sha256 == arrival.body_sha256:
        if first.delivery_id == arrival.id:
            return Judged(arrival, "accepted")
        return Judged(arrival, "duplicate", first.delivery_id)
    variant = variants[arrival.occurrence, arrival.body_sha256]
    if variant == arrival.id:
        return Judged(arrival, "conflict")
    return Judged(arrival, "duplicate", variant)
