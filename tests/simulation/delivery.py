"""Outbox, broker, inbox: relays and consumers crash between any two steps, the broker repeats, orgs flood. Each event ends
once, after as many attempts as its errors allow, and nobody's flood is somebody else's wait.

The steps are those of relay.py and processor.py, on tables that are dicts; who is served and when is tried again is theirs.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from random import Random
from typing import Any, cast

from libs.errors import ContractViolated, ProviderUnavailable, RateLimited
from libs.messaging import fairness
from libs.messaging.consumer import MOST_RETRY_AFTER_SECONDS, RetryPolicy
from libs.messaging.inbox import LEASE_SECONDS, MAX_TAKES

_POLICY = RetryPolicy()
_LIVE_EVENTS = 6


@dataclasses.dataclass(frozen=True)
class Event:
    """`fails` times with `error`, then it is handled; `kills`: whoever runs it."""

    number: int
    org_id: int
    error: Exception | None = None
    fails: int = 0
    kills: bool = False


@dataclasses.dataclass
class Due:
    at: float
    attempts: int = 0
    takes: int = 0


class House:
    def __init__(self, rng: Random, events: list[Event]) -> None:
        self.rng = rng
        self.now = 0.0
        self.outbox = {one.number: one for one in events}
        self.broker: list[tuple[Event, int]] = []  # and how often it came back
        self.events = {one.number: one for one in events}
        self.due: dict[int, Due] = {}
        self.ended: dict[int, str] = {}
        self.applied: Counter[int] = Counter()
        self.attempts: Counter[int] = Counter()

    def relay(self) -> None:
        rows = self.rng.sample(list(self.outbox.values()), min(len(self.outbox), self.rng.randint(1, 8)))
        if self.rng.random() < 0.1:
            return  # crashed after the take
        confirmed = [one for one in rows if self.rng.random() < 0.9]
        maybe = [one for one in rows if one not in confirmed and self.rng.random() < 0.5]
        self.broker += [(one, 0) for one in (*confirmed, *maybe)]  # published, and not always confirmed
        if self.rng.random() < 0.2:
            return  # crashed after publishing, before the delete
        for one in confirmed:
            self.outbox.pop(one.number, None)

    def receive(self) -> None:
        size = min(len(self.broker), self.rng.randint(1, 12))
        taken = [self.broker.pop(self.rng.randrange(len(self.broker))) for _ in range(size)]
        fresh = [event for event, came_back in taken if came_back < 2]
        suspects = [event for event, came_back in taken if came_back >= 2]
        self.defer(suspects, takes=1)
        now, later = self.split(list({one.number: one for one in fresh}.values()))
        if any(one.kills and one.number not in self.known for one in now) or self.rng.random() < 0.1:
            self.broker += [(event, came_back + 1) for event, came_back in taken]  # dead before the commit
            return
        self.handle([(one, None) for one in now])
        self.defer(later, takes=0)
        if self.rng.random() < 0.15:
            self.broker += [(event, came_back + 1) for event, came_back in taken]  # dead before the ack

    def split(self, delivered: list[Event]) -> tuple[list[Event], list[Event]]:
        now, later = cast("tuple[list[Event], list[Event]]", fairness.split(cast("Any", delivered), _LIVE_EVENTS))
        assert sorted(one.number for one in (*now, *later)) == sorted(one.number for one in delivered)
        assert len(now) <= _LIVE_EVENTS
        if later:
            served, waiting = Counter(one.org_id for one in now), Counter(one.org_id for one in later)
            assert all(served[org] or len(served) >= _LIVE_EVENTS // 2 for org in waiting), "an org was passed over"
            assert max(served.values()) <= _LIVE_EVENTS // 2
        return now, later

    @property
    def known(self) -> set[int]:
        return {*self.ended, *self.due}

    def defer(self, events: list[Event], *, takes: int) -> None:
        for one in events:
            if one.number not in self.known:
                self.due[one.number] = Due(self.now, takes=takes)

    def handle(self, held: list[tuple[Event, Due | None]]) -> None:
        for event, row in held:
            if row is None and event.number in self.known:
                continue  # a duplicate
            if self.attempts[event.number] < event.fails and event.error is not None:
                self.fail(event, row, event.error)
                continue
            self.due.pop(event.number, None)
            self.applied[event.number] += 1
            self.ended[event.number] = "done"

    def fail(self, event: Event, row: Due | None, error: Exception) -> None:
        self.attempts[event.number] += 1
        attempts = (row.attempts if row else 0) + 1
        assert attempts == self.attempts[event.number]
        delay = _POLICY.next_delay(error, attempts)
        if delay is None:
            self.due.pop(event.number, None)
            self.ended[event.number] = "dead"
            return
        assert 0 <= delay <= MOST_RETRY_AFTER_SECONDS
        self.due[event.number] = Due(self.now + delay, attempts)

    def run_due(self) -> None:
        ready = [number for number, row in self.due.items() if row.at <= self.now]
        suspects = [number for number in ready if self.due[number].takes]
        picked = [*(number for number in ready if number not in suspects), *suspects[:1]]
        for number in picked:
            row = self.due[number]
            row.takes, row.at = row.takes + 1, self.now + LEASE_SECONDS
        if self.rng.random() < 0.1:
            return  # crashed with the leases
        for number in picked:
            event, row = self.events[number], self.due[number]
            if row.takes > MAX_TAKES:
                self.due.pop(number)
                self.ended[number] = "crash"
            elif event.kills:
                return  # and with it those that were not reached
            else:
                row.takes = 0
                self.handle([(event, row)])

    def is_over(self) -> bool:
        return not (self.outbox or self.broker or self.due)


def run(rng: Random) -> None:
    events = [_event(rng, number) for number in range(rng.randint(1, 25))]
    house = House(rng, events)
    for _ in range(20_000):
        if house.is_over():
            break
        house.now += rng.choice((0.0, 0.5, 5.0, 90.0, 700.0))
        steps = [*([house.relay] if house.outbox else []), *([house.receive] if house.broker else []), house.run_due]
        rng.choice(steps)()
    assert house.is_over(), "it never came to rest"
    assert set(house.ended) == {one.number for one in events}
    for event in events:
        _check(event, house)


def _event(rng: Random, number: int) -> Event:
    org = 0 if rng.random() < 0.6 else rng.randint(1, 5)  # org 0 floods
    error = rng.choice(
        (None, None, None, ContractViolated("bad"), ProviderUnavailable("away"), ValueError("bug"),
         RateLimited("wait", retry_after_seconds=1e9))
    )  # fmt: skip
    return Event(number, org, error, rng.randint(1, 6) if error else 0, rng.random() < 0.03)


def _check(event: Event, house: House) -> None:
    """Handed out to who dies of other causes often enough, an event may be taken for one that kills."""
    ended = house.ended[event.number]
    assert house.applied[event.number] == (ended == "done")
    if event.kills:
        assert ended in ("crash", "dead")
        return
    if ended == "crash":
        return
    if isinstance(event.error, ContractViolated):
        expected = "dead"
    else:
        delays = _POLICY.bug_delays_seconds if isinstance(event.error, ValueError) else _POLICY.delays_seconds
        expected = "dead" if event.fails > len(delays) else "done"
    assert ended == expected, (event, ended)
