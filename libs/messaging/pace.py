"""How fast a replay goes and when it stops by itself: pure, tested without a clock.

First a canary: a few letters, and nothing more until each of them has its outcome; one failure stops it. Then a ramp up to
the rate. Every resume begins so again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, floor
from uuid import UUID

# What was not released in time (nobody worked, the consumer was behind) is made up for this much, no more: the rest of it
# would come as a flood.
_ARREARS_SECONDS = 1.0
_LEAST_IN_FLIGHT = 20


@dataclass(frozen=True, slots=True)
class Pace:
    """Letters a second for the whole plan and for each account; `stop_ratio` counts once `stop_failures` failed again."""

    rate: float = 50.0
    account_rate: float = 50.0
    canary: int = 5
    ramp_seconds: float = 10.0
    stop_failures: int = 10
    stop_ratio: float = 0.1

    @property
    def most_in_flight(self) -> int:
        """Released and without outcome: of a consumer that stands still no more than this is piled up."""
        return max(self.canary, ceil(2 * self.rate), _LEAST_IN_FLIGHT)


@dataclass(frozen=True, slots=True)
class Phase:
    """What happened since the replay was begun or resumed. `released` counts from the canary's end, once that is over."""

    in_canary: bool
    elapsed_seconds: float
    released: int
    in_flight: int
    failed: int
    settled: int


def earned(rate: float, ramp_seconds: float, elapsed_seconds: float) -> float:
    """How many may have been released by now: the rate grows from nothing to its full over the ramp."""
    elapsed = max(elapsed_seconds, 0.0)
    if elapsed < ramp_seconds:
        return rate * elapsed * elapsed / (2 * ramp_seconds)
    return rate * (elapsed - ramp_seconds / 2)


def forfeited(rate: float, ramp_seconds: float, elapsed_seconds: float, released: int) -> int:
    """`released` as it is to be counted from now on: arrears beyond a second's worth are dropped."""
    return max(released, floor(earned(rate, ramp_seconds, elapsed_seconds) - max(rate * _ARREARS_SECONDS, 1.0)))


def allowance(pace: Pace, phase: Phase) -> int:
    """How many may be released now."""
    room = pace.most_in_flight - phase.in_flight
    if phase.in_canary:
        return max(min(pace.canary - phase.released, room), 0)
    due = floor(earned(pace.rate, pace.ramp_seconds, phase.elapsed_seconds)) - phase.released
    return max(min(due, room), 0)


def is_canary_over(pace: Pace, phase: Phase, *, waiting: int) -> bool:
    return phase.in_canary and phase.in_flight == 0 and (phase.released >= pace.canary or waiting == 0)


def reason_to_stop(pace: Pace, phase: Phase) -> str | None:
    if phase.in_canary and phase.failed:
        return f"{phase.failed} of the first {phase.released} failed again"
    if phase.failed >= pace.stop_failures and phase.failed > pace.stop_ratio * phase.settled:
        return f"{phase.failed} of {phase.settled} failed again, over {pace.stop_ratio:.0%}"
    return None


def shares(most: int, limits: Mapping[UUID, int]) -> dict[UUID, int]:
    """Deal `most` out so that each account gets an equal share, or its limit where that is less."""
    dealt: dict[UUID, int] = {}
    open_limits = sorted((limit, account) for account, limit in limits.items() if limit > 0)
    for position, (limit, account) in enumerate(open_limits):
        share = min(limit, ceil(most / (len(open_limits) - position)))
        if share > 0:
            dealt[account] = share
            most -= share
    return dealt
