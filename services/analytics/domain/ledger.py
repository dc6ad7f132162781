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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of one org: what came to the door, and every hop from a sender to a listener."""

    door: Hop
    hops: tuple[Hop, ...]

    @property
    def unaccounted(self) -> int:
        return self.door.unaccounted + sum(hop.unaccounted for hop in self.hops)

    @property
    def unbalanced(self) -> list[Hop]:
        return [hop for hop in (self.door, *self.hops) if not hop.balanced]


def advice(hop: Hop) -> str:
    """What to do about a hop that does not balance, in one sentence; nothing when it does."""
    if hop.balanced:
        return ""
    if hop.queue == "door":
        return "deliveries of these minutes have no verdict: look them up in GET /v1/deliveries, post again what is missing"
    if any(bucket.ids_differ for bucket in hop.worst):
        return (
            "as many were heard as were sent, but not the same ones: one was lost and another applied twice; compare the "
            "ids of these minutes in the sender's log with the listener's inbox, then reconcile the accounts"
        )
    if sum(bucket.on_the_way for bucket in hop.worst) > 0:
        return (
            "sent and not heard: is the consumer running, is its queue on the broker empty? If both, the events are lost: "
            "reconcile the accounts, which makes the owner tell what is missing"
        )
    return "heard and not sent: an event was counted twice, or its sender's counts have not arrived; look at its ledger loop"
