"""Writes at a provider that answers late, loses answers and shows what was done with a delay; workers that crash or oversleep:
what may not happen twice happens at most once, and nobody says done of what was not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from libs.ids import AccountId, CompanyId
from libs.providers.effects import Effect as Rules
from libs.providers.effects import Evidence, Seen
from services.provider_sync.domain import operations
from services.provider_sync.domain.operations import MOST_SENDS, Effect, EffectState, Outcome

_NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
_LEASE, _WRITE_WITHIN, _LANDED = 15.0, 10.0, 120.0


async def _look(*_: Any) -> Evidence:
    raise NotImplementedError  # only that there is one is asked for here


_RULES = (
    Rules(why="it shows", read_back=_look, absence_is_proof=True, read_back_after_seconds=_LANDED),
    Rules(why="it may be late", read_back=_look, read_back_after_seconds=_LANDED),
    Rules(why="nothing shows it"),
    Rules(why="it looks first", may_repeat=True),
)


@dataclass
class World:
    rng: Random
    rules: Rules
    effect: Effect
    now: float = 0.0
    due_at: float | None = 0.0
    lease_until: float = -1.0
    lands: list[float] = field(default_factory=list)
    deadline: float = -1.0
    writes: int = 0
    refuses: bool = False  # whatever it is asked

    def landed(self) -> int:
        count = sum(at <= self.now for at in self.lands)
        return min(count, 1) if self.rules.may_repeat else count


def run(rng: Random) -> None:
    effect = Effect(
        id=UUID(int=1), operation_id=UUID(int=2), account_id=AccountId(UUID(int=3)), company_id=CompanyId(UUID(int=4)),
        kind="create_campaign", target="", arguments={}, state=EffectState.INTENT, takes=0, sends=0, attempts=0, sent_at=None,
    )  # fmt: skip
    world = World(rng, rng.choice(_RULES), effect, refuses=rng.random() < 0.15)
    for _ in range(60):
        world.now += rng.choice((0.1, 1.0, 5.0, 16.0, 130.0))
        is_due = world.due_at is not None and world.now >= world.due_at and world.now >= world.lease_until
        if is_due:
            _take(world)
        assert world.landed() <= 1, "done twice"
    world.now += 1000
    state = world.effect.state
    if state is EffectState.DONE:
        assert world.landed() == 1, "said to be done, and was not"
    if state is EffectState.REFUSED:
        assert world.landed() == 0, "said to be refused, and was done"
    assert world.writes <= min(MOST_SENDS, world.effect.sends) or world.rules.may_repeat
    # What is over, or waits for a person, is so for good; anything else has a time at which it goes on.
    if world.due_at is None:
        assert state in (EffectState.DONE, EffectState.REFUSED, EffectState.UNKNOWN)


def _take(world: World) -> None:
    """One holder: it may crash, or sleep past its lease, between any two steps."""
    mine = world.effect = replace(world.effect, takes=world.effect.takes + 1, attempts=world.effect.attempts + 1)
    world.lease_until = world.now + _LEASE
    if world.rng.random() < 0.1:
        return
    if mine.state is EffectState.INTENT:
        outcome = _send(world)
    elif mine.state is EffectState.SENT:
        # Its holder is gone, and may have written until its deadline.
        outcome = operations.lost(world.rules, "its holder is gone")
        if outcome.state is EffectState.UNKNOWN and outcome.due_in_seconds is not None:
            outcome = replace(outcome, due_in_seconds=max(0.0, world.deadline - world.now) + _LANDED)
        elif outcome.state is EffectState.INTENT:
            outcome = replace(outcome, due_in_seconds=max(0.0, world.deadline - world.now))
    else:
        seen = Seen.DONE if world.landed() else Seen.ABSENT
        outcome = operations.seen(world.rules, mine, Evidence(seen, ""), None)
    if outcome is None or world.rng.random() < 0.1:  # crashed before the outcome was kept
        return
    assert world.effect.takes == mine.takes
    world.effect = replace(
        world.effect, state=outcome.state,
        attempts=world.effect.attempts if outcome.state is world.effect.state else 0,
    )  # fmt: skip
    world.due_at = None if outcome.due_in_seconds is None else world.now + outcome.due_in_seconds
    world.lease_until = world.now


def _send(world: World) -> Outcome | None:
    world.effect = replace(
        world.effect, state=EffectState.SENT, sends=world.effect.sends + 1, sent_at=_NOON + timedelta(seconds=world.now)
    )
    world.deadline = world.now + _WRITE_WITHIN
    if world.rng.random() < 0.15:
        return None  # crashed after the note, before the call
    slept = world.rng.choice((0.0, 0.0, 1.0, 12.0))
    if slept > _WRITE_WITHIN:  # too late to write
        return Outcome(state=EffectState.INTENT, due_in_seconds=1.0, free=True)
    world.now += slept
    world.writes += 1
    fate = world.rng.random()
    if world.refuses:
        return Outcome(state=EffectState.REFUSED, error_code="provider_refused")
    if fate < 0.3:  # it never arrives, and nobody says so
        return operations.lost(world.rules, "no answer") if world.rng.random() < 0.5 else None
    world.lands.append(world.now + world.rng.uniform(0, _LANDED) * (fate < 0.7))
    if fate < 0.5:  # done or to be done, and the answer is lost
        return operations.lost(world.rules, "no answer")
    if fate < 0.7:
        return None  # crashed after the call
    return Outcome(state=EffectState.DONE)
