"""Webhooks that a simulator's own changes cause: told once, twice, late, out of order or never, and again if not heard.

What was planned in advance is sent by posts.post_all; this is for what happens while somebody calls the API.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from libs.providers.simulation.clock import SimulatedClock
from libs.providers.simulation.posts import PlannedPost, PostJournal, PostKind, Send, try_to_send


@dataclass(slots=True)
class PostFaults:
    """What the provider does to its posts. `silent` tells nothing at all, as a disabled webhook does."""

    silent: bool = False
    silent_types: frozenset[str] = frozenset()
    duplicates: float = 0.0  # the share that is posted once more
    longest_delay: timedelta = timedelta(0)  # each post waits for anything up to it, so that some overtake others
    reorders: bool = False  # what is due at once goes out in any order
    seed: int = 1


@dataclass(slots=True)
class _Due:
    at: datetime
    url: str
    post: PlannedPost
    attempt: int = 0


@dataclass(slots=True)
class WebhookPoster:
    """Posts by the simulated clock: `send_due` sends what is due now. `retry_after` is the provider's patience: what is
    not answered with a 2xx is posted again so long after each attempt.

    `posts` are all that were to be told, in the order in which they happened; those of kind WITHHELD never were.
    """

    clock: SimulatedClock
    send: Send | None = None
    retry_after: Sequence[timedelta] = ()
    faults: PostFaults = field(default_factory=PostFaults)
    posts: list[PlannedPost] = field(default_factory=list)
    journal: PostJournal = field(default_factory=PostJournal)
    _due: list[_Due] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(f"posts {self.faults.seed}")

    @property
    def waiting(self) -> int:
        return len(self._due)

    def tell(self, url: str, body: bytes, *, event_type: str, message_keys: frozenset[str] = frozenset()) -> None:
        """Post it when it is due, if the faults let it happen."""
        faults = self.faults
        silent = faults.silent or event_type in faults.silent_types
        kind = PostKind.WITHHELD if silent else PostKind.NORMAL
        post = self._add(kind, body, event_type, message_keys)
        if silent:
            return
        self._due.append(_Due(self._when(), url, post))
        if self._rng.random() < faults.duplicates:
            self._due.append(_Due(self._when(), url, self._add(PostKind.DUPLICATE, body, event_type, message_keys)))

    async def send_due(self) -> int:
        """Send what is due by now, one after the other; answers how many were sent. Without `send` they are kept."""
        if self.send is None:
            return 0
        due = sorted((one for one in self._due if one.at <= self.clock.now), key=lambda one: one.at)
        if self.faults.reorders:
            self._rng.shuffle(due)
        for one in due:
            self._due.remove(one)
            answer = await try_to_send(self.send, one.url, one.post.body)
            self.journal.note(one.post, answer)
            heard = isinstance(answer, int) and 200 <= answer < 300
            if not heard and one.attempt < len(self.retry_after):
                again = self.clock.now + self.retry_after[one.attempt]
                self._due.append(_Due(again, one.url, one.post, one.attempt + 1))
        return len(due)

    def _add(self, kind: PostKind, body: bytes, event_type: str, message_keys: frozenset[str]) -> PlannedPost:
        post = PlannedPost(
            number=len(self.posts), kind=kind, body=body, event_type=event_type, message_keys=message_keys
        )
        self.posts.append(post)
        return post

    def _when(self) -> datetime:
        return self.clock.now + self.faults.longest_delay * self._rng.random()
