"""Two replicas spend one account's budget by a clock that jumps: never more than the provider allows, nothing while it asked
to wait, one probe at a time while it is away."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from random import Random

from services.provider_sync.domain import budgets
from services.provider_sync.domain.budgets import Budget

_NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)


def run(rng: Random) -> None:
    rate = rng.randint(60, 300)
    at, real = _NOON, 0.0  # the database's clock, and time itself
    budget: Budget = budgets.fresh(rate, at)
    spent: deque[float] = deque()
    probe_until = -1.0
    latest = at
    may_jump_ahead = rng.random() < 0.2
    for _ in range(rng.randint(50, 300)):
        step = rng.choice((0.0, 0.0, 0.05, 0.3, 2.0, 20.0, 70.0))
        real += step
        at += timedelta(seconds=step)
        jump = rng.random()
        if jump < 0.03:
            at -= timedelta(seconds=rng.randint(1, 90))
        elif may_jump_ahead and jump < 0.05:
            at += timedelta(seconds=30)
        latest = max(latest, at)
        act = rng.random()
        if act < 0.8:
            budget = _spend(rng, budget, rate, at, real, spent, probe_until)
            if budget.probing_until is not None:
                probe_until = real + budgets.PROBE_SECONDS
        elif act < 0.88:
            budget = budgets.answered(budget)
            assert budget.failures == 0
        elif act < 0.94:
            budget = budgets.unanswered(budget, at, rng.random())
        else:
            asked = rng.choice((None, 0.0, 5.0, 1e9))
            budget = budgets.limited(budget, at, asked)
            assert budget.paused_until is not None
            assert budget.paused_until <= latest + timedelta(seconds=budgets.LONGEST_PAUSE_SECONDS)
        if not may_jump_ahead:
            while spent and spent[0] < real - 60:
                spent.popleft()
            assert len(spent) <= rate, f"{len(spent)} calls in a minute, {rate} allowed"


def _spend(
    rng: Random, budget: Budget, rate: int, at: datetime, real: float, spent: deque[float], probe_until: float
) -> Budget:
    live = rng.random() < 0.5
    after, wait = budgets.spend(budget, rate, at, live=live)
    if wait:
        assert wait > 0
        assert after.calls_left >= 0
        if budget.paused_until is None and budget.probing_until is None:
            _, again = budgets.spend(after, rate, at + timedelta(seconds=wait + 0.001), live=live)
            assert again == 0, "who waited as long as it was told is told to wait again"
        return after
    assert budget.paused_until is None or at >= budget.paused_until, "called while it was told to wait"
    if budget.is_suspect:
        assert budget.probing_until is None or at >= budget.probing_until, "two probes at once"
    if not live:
        assert after.calls_left >= budgets.capacity(rate) * 0.25 - 1e-6, "bulk work took what is left for live work"
    if rng.random() < 0.1:
        return budget  # crashed before the commit: the call was not made
    spent.append(real)
    return after
