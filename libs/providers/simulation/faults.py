"""Faults on demand of a simulated API. The one list of all that can go wrong between a provider's answer and us."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class FaultKind(StrEnum):
    # Answered so, and not done.
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    RATE_LIMITED_WITHOUT_HINT = "rate_limited_without_hint"
    RATE_LIMITED_BROKEN_HINT = "rate_limited_broken_hint"  # 429 whose Retry-After is neither seconds nor a date
    RATE_LIMITED_PAGE = "rate_limited_page"  # 429 that is not even JSON
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"  # 502 with the guard's page
    PAGE = "page"  # 200 with HTML
    EMPTY = "empty"  # 200 with no bytes
    GARBAGE = "garbage"  # 200 that calls itself JSON and is none
    HANGS = "hangs"  # answers long after anyone's patience
    DROPPED = "dropped"  # the connection ends instead of an answer
    # Done, and answered so.
    DONE_AND_DROPPED = "done_and_dropped"  # the connection ends instead of the answer: the ambiguous write
    DONE_AND_FAILED = "done_and_failed"  # a 500 all the same
    TRUNCATED = "truncated"  # the answer ends in the middle
    SLOW_DRIP = "slow_drip"  # the answer comes in small pieces with a pause before each
    WRONG_TYPES = "wrong_types"  # every value is of another type than it should be
    # Lists.
    PAGE_LOOP = "page_loop"  # every page is the first one
    PAGE_SKIPS = "page_skips"  # a row left the list meanwhile: what follows the first page moves up by one
    PAGE_REPEATS = "page_repeats"  # a row came to the front: what follows the first page moves down by one


INSTEAD = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.RATE_LIMITED_WITHOUT_HINT,
        FaultKind.RATE_LIMITED_BROKEN_HINT,
        FaultKind.RATE_LIMITED_PAGE,
        FaultKind.SERVER_ERROR,
        FaultKind.BAD_GATEWAY,
        FaultKind.PAGE,
        FaultKind.EMPTY,
        FaultKind.GARBAGE,
        FaultKind.HANGS,
        FaultKind.DROPPED,
    }
)


@dataclass(slots=True)
class _Wanted:
    kind: FaultKind
    part: str
    times: int | None  # None: until calm()
    share: float


@dataclass(slots=True)
class Faults:
    """The next calls meet these faults in the order in which they were asked for.

    A call is "POST /campaigns/7/leads"; a fault is asked for by any part of that.
    """

    retry_after_seconds: int = 1
    hang_seconds: float = 60.0
    drip_bytes: int = 16
    drip_seconds: float = 1.0
    seed: int = 1
    met: list[tuple[FaultKind, str]] = field(default_factory=list)  # which call met what: a test must see that it did
    _waiting: list[_Wanted] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"faults {self.seed}")

    def next(self, kind: FaultKind, times: int = 1, *, path: str = "") -> None:
        """The next `times` calls that contain `path` fail so."""
        self._waiting.append(_Wanted(kind, path, times, 1.0))

    def always(self, kind: FaultKind, *, share: float = 1.0, path: str = "") -> None:
        """Every call that contains `path` fails so, or a `share` of them, until calm()."""
        self._waiting.append(_Wanted(kind, path, None, share))

    def wanted(self) -> list[dict[str, object]]:
        """What was asked for and is still to be met: `times` None is until calm()."""
        return [{"kind": one.kind, "call": one.part, "times": one.times, "share": one.share} for one in self._waiting]

    def calm(self) -> None:
        """Nothing fails any more."""
        self._waiting.clear()

    def take(self, call: str) -> FaultKind | None:
        """What this call meets; None for nothing."""
        for wanted in self._waiting:
            if wanted.part not in call or (wanted.share < 1.0 and self._rng.random() >= wanted.share):
                continue
            if wanted.times is not None:
                wanted.times -= 1
                if not wanted.times:
                    self._waiting.remove(wanted)
            self.met.append((wanted.kind, call))
            return wanted.kind
        return None


def cut(rows: Sequence[T], offset: int, limit: int, fault: FaultKind | None = None) -> list[T]:
    """One page of a list, or what `fault` makes of it."""
    match fault:
        case FaultKind.PAGE_LOOP:
            offset = 0
        case FaultKind.PAGE_SKIPS if offset:
            offset += 1
        case FaultKind.PAGE_REPEATS if offset:
            offset -= 1
    return list(rows[offset : offset + limit])


def retyped(value: object) -> object:
    """The same JSON with every single value in a list of its own."""
    if isinstance(value, dict):
        return {name: retyped(item) for name, item in value.items()}
    if isinstance(value, list):
        return [retyped(item) for item in value]
    return value if value is None else [value]
