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
from libs.web.sources import Address, Network, within

Verdict = Literal["accepted", "duplicate", "conflict", "quarantined"]

TOKEN_ENDED = "token_ended"  # noqa: S105 - a reason
SOURCE_NOT_ALLOWED = "source_not_allowed"

_KEY_BYTES = 32
_LONGEST_EVENT_TYPE = 100
_LONGEST_REASON = 200
_LONGEST_HEADER = 1024

# What a signature check may need later, and nothing that could be a credential.
_KEPT_HEADER = re.compile(
    rb"(content-type|user-agent|webhook-(id|timestamp)|[a-z0-9-]*signature[a-z0-9-]*|x-[a-z0-9-]*timestamp)\Z"
)


@dataclass(frozen=True, slots=True)
class Token:
    """`sha256` is the digest (32 bytes) of the whole token text. The newest token of an endpoint has no end."""

    id: UUID
    sha256: bytes
    ends_at: datetime | None = None  # from then on what is posted to it is quarantined
    dead_at: datetime | None = None  # and from then on refused

    def is_late(self, moment: datetime) -> bool:
        return self.ends_at is not None and self.ends_at <= moment

    def is_dead(self, moment: datetime) -> bool:
        return self.dead_at is not None and self.dead_at <= moment


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one account's provider posts. `tokens` begins with the newest; no `allowed_sources` means any."""

    id: UUID
    org_id: OrgId
    account_id: AccountId
    provider: str
    tokens: tuple[Token, ...]
    is_open: bool
    revision: int
    allowed_sources: tuple[Network, ...] = ()
    enforces_sources: bool = False

    def lists(self, source: Address | None) -> bool | None:
        """Whether posts are expected from there; None: nothing in particular is expected. Unknown is not expected."""
        if not self.allowed_sources:
            return None
        return source is not None and within(source, self.allowed_sources)


# Compared with when an id is unknown, so that an unknown id costs what a wrong secret costs.
NOBODY = Endpoint(
    UUID(int=0),
    OrgId(UUID(int=0)),
    AccountId(UUID(int=0)),
    "",
    (Token(UUID(int=0), secrets.token_bytes(32)),),
    False,
    0,
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivery as it came, not yet kept. `headers` is JSON text, so is `signature_headers`; `traceparent` is its request's.

    `source_listed`: see `Endpoint.lists`.
    """

    id: UUID
    endpoint: Endpoint
    token_id: UUID
    received_at: datetime
    body: bytes
    body_sha256: bytes
    headers: str
    dedupe_key: bytes | None
    event_type: str
    quarantine_reason: str | None
    traceparent: str | None
    signature_headers: str | None = None
    source: str | None = None  # an address
    source_listed: bool | None = None

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


def opening(endpoint: Endpoint, provider: str, token_sha256: bytes, moment: datetime) -> Token | None:
    """The token of this endpoint that was shown, if it opens it; each comparison is made whatever the others say."""
    found: Token | None = None
    for token in endpoint.tokens:
        if hmac.compare_digest(token.sha256, token_sha256):
            found = token
    same_provider = hmac.compare_digest(endpoint.provider.encode(), provider.encode())
    if found is None or not same_provider & endpoint.is_open or found.is_dead(moment):
        return None
    return found


def objection(endpoint: Endpoint, token: Token, source_listed: bool | None, moment: datetime) -> str | None:
    """Why a delivery is kept but not told until somebody releases it, whatever its bytes say."""
    if token.is_late(moment):
        return TOKEN_ENDED
    if endpoint.enforces_sources and source_listed is False:
        return SOURCE_NOT_ALLOWED
    return None


def kept_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers worth keeping; the last of equal names."""
    return {
        name.decode("ascii"): value[:_LONGEST_HEADER].decode("latin-1").replace("\0", "\ufffd")
        for name, value in headers
        if _KEPT_HEADER.match(name)
    }


def signature_headers(kept: Mapping[str, str], names: Sequence[str]) -> str | None:
    """Those of the kept headers by which a provider may sign, as JSON text; None if there is none."""
    found = {name: kept[name] for name in names if name in kept}
    return orjson.dumps(found).decode() if found else None


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
