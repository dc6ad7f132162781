"""What a service reads, who handles it, how patient it is."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from libs.contracts.event import Event
from libs.errors import PermanentError, PlatformError, TransientError
from libs.messaging.work import UnitOfWork

# Handles the events of one org, all of the consumer's types, in one transaction. May run again after a rollback.
Handler = Callable[[Sequence[Any], UnitOfWork], Awaitable[None]]


# Who asks for longer is asked again after this all the same: nothing sleeps for a year because of one header.
MOST_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds before each retry; what then still fails is dead and an operator decides.

    Waits are drawn from (0, delay] (full jitter), so that what failed together does not come back together. Errors of ours
    (bugs) get the shorter list: the same code on the same bytes rarely ends otherwise.
    """

    delays_seconds: tuple[float, ...] = (5, 60, 600)
    bug_delays_seconds: tuple[float, ...] = (2, 30)

    def next_delay(self, error: BaseException, attempts: int) -> float | None:
        """Seconds until the attempt after `attempts` failed ones, or None: it is dead."""
        if isinstance(error, PermanentError):
            return None
        delays = self.delays_seconds if isinstance(error, TransientError) else self.bug_delays_seconds
        if attempts > len(delays):
            return None
        if isinstance(error, TransientError) and error.retry_after_seconds is not None:
            return min(max(error.retry_after_seconds, 0.0), MOST_RETRY_AFTER_SECONDS)
        return random.uniform(0, delays[attempts - 1])


@dataclass(frozen=True, slots=True)
class Consumer:
    """`queue` is `<service>.<consumer>`, declared as a listener on each of `events` in the contracts.

    `waits_while_suspended`: what it hears of a suspended organization is parked and handled once that is resumed.
    """

    queue: str
    events: tuple[type[Event], ...]
    handler: Handler
    retry: RetryPolicy = RetryPolicy()
    waits_while_suspended: bool = False

    def __post_init__(self) -> None:
        for event in self.events:
            if self.queue not in event.heard_by:
                raise ValueError(
                    f"{self.queue} listens to {event.routing_key}, but the contract does not name it in heard_by"
                )


def error_class(error: BaseException) -> str:
    """The stable word of an error: its code, or the exception's name for a bug of ours."""
    return error.code if isinstance(error, PlatformError) else type(error).__name__
