"""What an account may still ask of its provider: calls a minute, pauses that the provider asked for, and a breaker.

One budget per account, whoever spends: replicas, live work, syncs, reconciliation. A bucket fills evenly; it holds a
fifth of a minute's calls, and what fills and what it holds together stay below the provider's limit in any minute. The
bucket's last quarter is for live work alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

_HELD = 0.2  # of a minute's calls may be made at once
_USED = 0.95  # of the limit; calls that were let through one by one may arrive bunched
_LIVE_ONLY = 0.25  # of the bucket
ASKED_TO_WAIT_SECONDS = 60.0  # when a 429 does not say how long; all three providers count by the minute
LONGEST_PAUSE_SECONDS = 3600.0  # whatever a Retry-After says
FAILURES = 5  # in a row, and the account is left alone for a while
_OPEN_SECONDS = (30.0, 600.0)  # doubling from first to last
_SHORTEST_WAIT_SECONDS = 0.01  # a shorter one may round to none
PROBE_SECONDS = 60.0  # after which another may try: whoever probed is gone
LIMITED = "the provider asked to wait"
AWAY = "the provider does not answer"


@dataclass(frozen=True, slots=True)
class Budget:
    """`failures` in a row without an answer; from FAILURES on one call at a time probes, after each pause."""

    calls_left: float
    counted_at: datetime
    paused_until: datetime | None = None
    pause_reason: str = ""
    failures: int = 0
    probing_until: datetime | None = None

    @property
    def is_suspect(self) -> bool:
        return self.failures >= FAILURES


def fresh(calls_per_minute: int, at: datetime) -> Budget:
    return Budget(capacity(calls_per_minute), at)


def spend(budget: Budget, calls_per_minute: int, at: datetime, *, live: bool) -> tuple[Budget, float]:
    """The budget after one call now, and 0; or the budget as it is, and in how many seconds to ask again."""
    for until in (budget.paused_until, budget.probing_until if budget.is_suspect else None):
        if until is not None and at < until:
            return budget, (until - at).total_seconds()
    there = left(budget, calls_per_minute, at)
    needed = 1.0 if live else 1.0 + capacity(calls_per_minute) * _LIVE_ONLY
    if there < needed:
        wait = max(_SHORTEST_WAIT_SECONDS, (needed - there) / _per_second(calls_per_minute))
        return replace(budget, calls_left=there, counted_at=at), wait
    probing = at + timedelta(seconds=PROBE_SECONDS) if budget.is_suspect else None
    return replace(budget, calls_left=there - 1, counted_at=at, probing_until=probing), 0.0


def left(budget: Budget, calls_per_minute: int, at: datetime) -> float:
    """How many calls the bucket holds now, whatever pauses the account."""
    elapsed = max(0.0, (at - budget.counted_at).total_seconds())
    return min(capacity(calls_per_minute), budget.calls_left + elapsed * _per_second(calls_per_minute))


def answered(budget: Budget) -> Budget:
    """A call was answered, whatever was said: the provider is there. A pause it asked for stays."""
    paused = budget.paused_until if budget.pause_reason == LIMITED else None
    return replace(budget, failures=0, probing_until=None, paused_until=paused, pause_reason=LIMITED if paused else "")


def limited(budget: Budget, at: datetime, retry_after_seconds: float | None) -> Budget:
    """The provider said 429: nobody calls until it is over."""
    asked = ASKED_TO_WAIT_SECONDS if retry_after_seconds is None else retry_after_seconds
    until = at + timedelta(seconds=min(asked, LONGEST_PAUSE_SECONDS))
    return replace(_paused(budget, until, LIMITED), calls_left=0.0, counted_at=at, failures=0, probing_until=None)


def unanswered(budget: Budget, at: datetime, jitter: float) -> Budget:
    """A call got no answer, or a server's error. `jitter` is drawn from 0..1: accounts must not come back at once."""
    failures = budget.failures + 1
    failed = replace(budget, failures=failures, probing_until=None)
    if failures < FAILURES:
        return failed
    first, longest = _OPEN_SECONDS
    seconds = min(longest, first * 2.0 ** min(failures - FAILURES, 10)) * (0.5 + jitter / 2)
    return _paused(failed, at + timedelta(seconds=seconds), AWAY)


def _paused(budget: Budget, until: datetime, reason: str) -> Budget:
    if budget.paused_until is not None and budget.paused_until >= until:
        return budget
    return replace(budget, paused_until=until, pause_reason=reason)


def capacity(calls_per_minute: int) -> float:
    """How many calls may be made at once."""
    return max(1.0, calls_per_minute * _HELD)


def _per_second(calls_per_minute: int) -> float:
    return max(0.5, calls_per_minute * _USED - capacity(calls_per_minute)) / 60
