"""A replay is stepped by two replicas that crash, with clocks that differ: canary first, never faster than its pace, each
letter once, and it ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from uuid import UUID

from libs.messaging import pace as pacing
from libs.messaging.pace import Pace, Phase


@dataclass
class Plan:
    """As its row holds it; the letters of account `n` are numbered, and `released` in their order."""

    pace: Pace
    totals: dict[UUID, int]
    state: str = "running"
    released: dict[UUID, int] = field(default_factory=dict)
    paced: dict[UUID, int] = field(default_factory=dict)
    in_flight: list[tuple[UUID, int]] = field(default_factory=list)
    done: int = 0
    failed: int = 0
    paced_since: float | None = None
    paced_released: int = 0

    @property
    def waiting(self) -> int:
        return sum(self.totals.values()) - sum(self.released.values())


def run(rng: Random) -> None:
    pace = Pace(
        rate=rng.choice((1.0, 20.0, 200.0)),
        account_rate=rng.choice((0.5, 10.0, 200.0)),
        canary=rng.randint(1, 5),
        ramp_seconds=rng.choice((0.5, 10.0)),
        stop_failures=rng.randint(1, 10),
    )
    accounts = [UUID(int=number) for number in range(rng.randint(1, 4))]
    plan = Plan(pace, {account: rng.randint(0, 60) for account in accounts})
    fails = rng.choice((0.0, 0.0, 0.05, 0.5))
    ever: set[tuple[UUID, int]] = set()
    now = 0.0
    for _ in range(5_000):
        if plan.state != "running":
            break
        now += rng.choice((0.05, 0.2, 0.2, 1.0, 30.0))
        _settle(rng, plan, fails)
        after = replace(plan, released={**plan.released}, paced={**plan.paced}, in_flight=[*plan.in_flight])
        new = _step(after, now + rng.choice((0.0, 0.0, -2.0)))
        if rng.random() < 0.1:
            continue  # crashed before the commit: as if it had not been
        assert not ever & set(new), "released twice"
        ever |= set(new)
        plan = after
        _check(plan, now)
    assert plan.state in ("completed", "stopped"), "it never ended"
    if plan.state == "completed":
        assert len(ever) == sum(plan.totals.values()) == plan.done + plan.failed
        assert not plan.in_flight
    else:
        assert plan.failed, "it was stopped, and nothing had failed"


def _settle(rng: Random, plan: Plan, fails: float) -> None:
    """What became of letters; outcomes are rows of their own, and no crash of ours takes them back."""
    for letter in list(plan.in_flight):
        if rng.random() < 0.5:
            plan.in_flight.remove(letter)
            if rng.random() < fails:
                plan.failed += 1
            else:
                plan.done += 1


def _step(plan: Plan, now: float) -> list[tuple[UUID, int]]:
    """As replaying._Step.go_on does it."""
    pace = plan.pace
    elapsed = 0.0 if plan.paced_since is None else now - plan.paced_since
    if plan.paced_since is not None:
        plan.paced_released = pacing.forfeited(pace.rate, pace.ramp_seconds, elapsed, plan.paced_released)
    in_canary = plan.paced_since is None
    released = sum(plan.released.values()) if in_canary else plan.paced_released
    phase = Phase(in_canary, elapsed, released, len(plan.in_flight), plan.failed, plan.done + plan.failed)
    if pacing.reason_to_stop(pace, phase):
        plan.state = "stopped"
        return []
    if not plan.waiting and not plan.in_flight:
        plan.state = "completed"
        return []
    if pacing.is_canary_over(pace, phase, waiting=plan.waiting):
        plan.paced_since, plan.paced_released, plan.paced = now, 0, {}
        return []
    limits = {}
    for account, total in plan.totals.items():
        limit = total - plan.released.get(account, 0)
        if not in_canary:
            known = pacing.forfeited(pace.account_rate, pace.ramp_seconds, elapsed, plan.paced.get(account, 0))
            plan.paced[account] = known
            limit = min(limit, int(pacing.earned(pace.account_rate, pace.ramp_seconds, elapsed)) - known)
        limits[account] = limit
    most = pacing.allowance(pace, phase)
    shares = pacing.shares(most, limits)
    assert sum(shares.values()) == min(most, sum(max(limit, 0) for limit in limits.values()))
    new = []
    for account, share in shares.items():
        assert 0 < share <= limits[account]
        first = plan.released.get(account, 0)
        plan.released[account] = first + share
        plan.paced[account] = plan.paced.get(account, 0) + share
        plan.paced_released += share
        new += [(account, number) for number in range(first, first + share)]
    plan.in_flight += new
    return new


def _check(plan: Plan, now: float) -> None:
    assert len(plan.in_flight) <= plan.pace.most_in_flight
    if plan.paced_since is None:
        assert sum(plan.released.values()) <= plan.pace.canary
    else:
        # A replica whose clock was behind began the ramp, and one whose clock is ahead goes on with it.
        earned = pacing.earned(plan.pace.rate, plan.pace.ramp_seconds, now - plan.paced_since)
        assert sum(plan.released.values()) <= plan.pace.canary + earned + 1, "faster than its pace"
