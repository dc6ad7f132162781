"""Rate limits as providers keep them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class SlidingWindow:
    """At most `limit` calls in any `seconds`, per key. `clock` is the machine's unless a simulated one is given."""

    limit: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _calls: dict[str, deque[float]] = field(default_factory=dict)

    def take(self, key: str) -> bool:
        """Count one more call, if it is allowed."""
        calls = self._recent(key)
        if len(calls) >= self.limit:
            return False
        calls.append(self.clock())
        return True

    def left(self, key: str) -> int:
        return self.limit - len(self._recent(key))

    def free_in_seconds(self, key: str) -> float:
        """Until the oldest call leaves the window; 0 without any."""
        calls = self._recent(key)
        return calls[0] + self.seconds - self.clock() if calls else 0.0

    def _recent(self, key: str) -> deque[float]:
        calls = self._calls.setdefault(key, deque())
        while calls and calls[0] <= self.clock() - self.seconds:
            calls.popleft()
        return calls
