"""Does the ledger balance? Per hop: sent = done + due + dead + parked + discarded + on the way, in count and in ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

HEARD = ("done", "due", "dead", "parked", "discarded")
DOOR = ("published", "duplicate", "quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """One minute of one hop that does not balance. `ids_differ`: the counts agree, yet not over the same events."""

    bucket: datetime
    on_the_way: int
    ids_differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A sender and one listener (or the door). `entered` is what came in, `states` what became of it."""

    event_type: str
    queue: str
    entered: int
    states: dict[str, int]
    unaccounted: int
    worst: tuple[Bucket, ...] = ()

    @property
    def on_the_way(self) -> int:
        return self.entered - sum(self.states.values())

    @property
    def balanced(self) -> bool:
        return self.unaccounted == 0
