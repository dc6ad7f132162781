"""A simulated provider's own time: it stands still until somebody advances it."""

from __future__ import annotations

from datetime import datetime, timedelta


class SimulatedClock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    @property
    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Never back: a provider whose clock jumps back is a fault of its own."""
        if by < timedelta(0):
            raise ValueError("time does not go back")
        self._now += by
        return self._now

    def seconds(self) -> float:
        """For SlidingWindow, where limits are to be counted in simulated time."""
        return self._now.timestamp()
