"""What a comparison says and what follows from it. Pure: parts and answers in, the next step out.

A run goes through at most MAX_PASSES captures. Between two of them the missing messages are pulled; a drift is repaired
only when a later capture no longer shows it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from libs.contracts.events import SnapshotCapturedV1
from libs.ids import CompanyId, entity_id

MAX_PASSES = 3
LEADS_PER_REPAIR = 500

Keys = tuple[tuple[str, str], ...]  # (message key, lead key)


class State(StrEnum):
    REQUESTED = "requested"
    CAPTURING = "capturing"
    REPAIRING = "repairing"
    VERIFYING = "verifying"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        return self in (State.COMPLETED, State.FAILED)


@dataclass(frozen=True, slots=True)
class Difference:
    """One kind on one day. `missing` are the provider's only, `surplus` ours only; both empty when keys were not told."""

    kind: str
    day: date
    missing: Keys = ()
    surplus: Keys = ()

    def joined(self, other: Difference) -> Difference:
        """The keys of both: those of one day may be told in several parts."""
        missing, surplus = {*self.missing, *other.missing}, {*self.surplus, *other.surplus}
        return Difference(self.kind, self.day, tuple(sorted(missing)), tuple(sorted(surplus)))


@dataclass(frozen=True, slots=True)
class Part:
    """One campaign compared in one pass."""

    part: int
    parts: int
    campaign_id: UUID | None
    campaign_external_id: str
    company_id: CompanyId | None
    differences: tuple[Difference, ...]
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A repair that ended."""

    campaign_id: UUID | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Repair:
    """A wish: pull these leads' messages."""

    campaign_id: UUID
    campaign_external_id: str
    company_id: CompanyId | None
    lead_keys: tuple[str, ...]


class Step(StrEnum):
    WAIT = "wait"
    REPAIR = "repair"
    VERIFY = "verify"
    COMPLETE = "complete"
    FAIL = "fail"


def differences_of(event: SnapshotCapturedV1) -> tuple[Difference, ...]:
    """What differs: every (kind, day) whose digests are unequal, with the keys told of it, and every one with keys."""
    unequal = {
        (digest.kind, digest.day)
        for digest in event.digests
        if (digest.provider_count, digest.provider_hash) != (digest.our_count, digest.our_hash)
    }
    keys: dict[tuple[str, date], tuple[set[tuple[str, str]], set[tuple[str, str]]]] = defaultdict(
        lambda: (set(), set())
    )
    for told in event.differences:
        if told.missing or told.surplus:
            missing, surplus = keys[told.kind, told.day]
            missing.update(told.missing)
            surplus.update(told.surplus)
    return tuple(
        Difference(kind, day, tuple(sorted(keys[kind, day][0])), tuple(sorted(keys[kind, day][1])))
        for kind, day in sorted(unequal | set(keys))
    )


def is_complete(parts: Sequence[Part]) -> bool:
    """Whether every part of the pass is in."""
    return bool(parts) and len(parts) >= max(part.parts for part in parts)


def errors_of(parts: Sequence[Part]) -> str | None:
    """Why the captures failed, if any did: the first reasons, and of how many parts."""
    errors = [part.error for part in sorted(parts, key=lambda part: part.part) if part.error]
    if not errors:
        return None
    reasons = "; ".join(list(dict.fromkeys(errors))[:3])
    return f"{len(errors)} of {len(parts)} campaigns could not be compared: {reasons}"


def repairs_of(parts: Sequence[Part]) -> list[Repair]:
    """Per campaign the leads with missing messages, at most LEADS_PER_REPAIR a wish. Surplus cannot be pulled away."""
    found: dict[UUID, tuple[Part, set[str]]] = {}
    for part in parts:
        if part.campaign_id is not None:
            leads = found.setdefault(part.campaign_id, (part, set()))[1]
            leads.update(lead for one in part.differences for _, lead in one.missing if lead)
    repairs = []
    for campaign_id, (part, leads) in sorted(found.items()):
        ordered = sorted(leads)
        repairs += [
            Repair(
                campaign_id,
                part.campaign_external_id,
                part.company_id,
                tuple(ordered[start : start + LEADS_PER_REPAIR]),
            )
            for start in range(0, len(ordered), LEADS_PER_REPAIR)
        ]
    return repairs


def are_answered(repairs: Collection[Repair], answers: Collection[Answer]) -> bool:
    """Whether every wish has its answer; one that names no campaign counts for whichever is still open."""
    asked = Counter(repair.campaign_id for repair in repairs)
    told = Counter(answer.campaign_id for answer in answers)
    settled = sum(min(count, told[campaign]) for campaign, count in asked.items())
    return settled + told[None] >= len(repairs)


def after_capture(parts: Sequence[Part], *, pass_number: int, dry_run: bool) -> Step:
    """What follows once parts of a pass came in."""
    if not is_complete(parts):
        return Step.WAIT
    if errors_of(parts) is not None:
        return Step.FAIL
    if dry_run or pass_number >= MAX_PASSES or not repairs_of(parts):
        return Step.COMPLETE
    return Step.REPAIR


def compared(parts: Sequence[Part]) -> tuple[UUID, ...]:
    """The campaigns that were compared in this pass."""
    return tuple(sorted({part.campaign_id for part in parts if part.campaign_id is not None and part.error is None}))


def drift_id(run_id: UUID, campaign_id: UUID, difference: Difference) -> UUID:
    """A drift's id follows from what it is, so that whoever hears of it first makes the same row."""
    return entity_id(run_id, "drift", f"{campaign_id}/{difference.kind}/{difference.day.isoformat()}")
