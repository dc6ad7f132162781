"""Which slot of a schedule is due, and which never will be. Pure: the moment is the database's and is handed in.

Slots start at `anchor + n * interval_seconds`. They are decided in rising order only: all before `next_slot` were started,
were skipped, or were never to be run. So a clock that jumps back finds nothing to do, one that jumps ahead decides slots
early, and neither decides one twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto


class Verdict(Enum):
    DUE = auto()
    OFF_GRID = auto()  # no slot of the schedule
    OVER = auto()  # before next_slot: started, skipped, or never to be run
    DISABLED = auto()
    NOT_DUE = auto()  # it has not begun
    MISSED = auto()  # a newer one is due, and only the newest is caught up


@dataclass(frozen=True, slots=True)
class Timetable:
    """All times are aware; slots are whole seconds."""

    anchor: datetime
    interval_seconds: int
    enabled: bool
    next_slot: datetime  # the oldest that is not decided
    last_slot: datetime | None = None  # the newest that was started

    def judge(self, slot: datetime, moment: datetime) -> Verdict:
        """Whether `slot` may be started at `moment`, and if not, why."""
        if slot < self.anchor or (slot - self.anchor) % self._interval:
            return Verdict.OFF_GRID
        if slot < self.next_slot:
            return Verdict.OVER
        if not self.enabled:
            return Verdict.DISABLED
        if slot > moment:
            return Verdict.NOT_DUE
        return Verdict.DUE if slot == self._newest(moment) else Verdict.MISSED

    def newest_due(self, moment: datetime) -> datetime | None:
        """The one slot that may be started at `moment`."""
        return self._newest(moment) if self.enabled and self.next_slot <= moment else None

    def missed_before(self, slot: datetime, most: int) -> list[datetime]:
        """What is skipped when `slot` is started: rising, of very many the newest."""
        count = min((slot - self.next_slot) // self._interval, most)
        return [slot - back * self._interval for back in range(count, 0, -1)]

    def after(self, slot: datetime) -> Timetable:
        """Once `slot` was started."""
        return replace(self, next_slot=slot + self._interval, last_slot=slot)

    def changed(self, moment: datetime, *, anchor: datetime, interval_seconds: int, enabled: bool) -> Timetable:
        """Another grid, or on again: what began before `moment` was not missed, and what was started stays behind."""
        wanted = replace(self, anchor=anchor, interval_seconds=interval_seconds, enabled=enabled)
        is_same_grid = (anchor, interval_seconds) == (self.anchor, self.interval_seconds)
        if is_same_grid and (self.enabled or not enabled):
            return wanted
        begin = moment if self.last_slot is None else max(moment, self.last_slot + timedelta(seconds=1))
        return replace(wanted, next_slot=_first(anchor, interval_seconds, begin))

    def _newest(self, moment: datetime) -> datetime:
        return moment - (moment - self.anchor) % self._interval

    @property
    def _interval(self) -> timedelta:
        return timedelta(seconds=self.interval_seconds)


def new_timetable(moment: datetime, *, anchor: datetime | None, interval_seconds: int, enabled: bool) -> Timetable:
    """One that begins with the first slot from `moment` on; without an anchor that is one interval away."""
    anchor = anchor or moment.replace(microsecond=0)
    return Timetable(anchor, interval_seconds, enabled, _first(anchor, interval_seconds, moment))


def _first(anchor: datetime, interval_seconds: int, moment: datetime) -> datetime:
    """The first slot that does not begin before `moment`."""
    interval = timedelta(seconds=interval_seconds)
    return anchor if moment <= anchor else anchor - (anchor - moment) // interval * interval
