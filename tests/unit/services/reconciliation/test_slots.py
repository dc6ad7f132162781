"""Slots: each at most once, never early, none forgotten, whatever clocks, replicas and people do."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.reconciliation.domain.slots import Timetable, Verdict, new_timetable
from services.reconciliation.schemas import parse_moment

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hourly(*, enabled: bool = True) -> Timetable:
    return Timetable(NOON, 3600, enabled=enabled, next_slot=NOON)


@pytest.mark.parametrize(
    ("slot", "moment", "verdict"),
    [
        (NOON, NOON, Verdict.DUE),
        (NOON, NOON + HOUR - timedelta(microseconds=1), Verdict.DUE),
        (NOON, NOON - timedelta(microseconds=1), Verdict.NOT_DUE),
        (NOON + HOUR, NOON, Verdict.NOT_DUE),
        (NOON, NOON + HOUR, Verdict.MISSED),
        (NOON + 2 * HOUR, NOON + 2 * HOUR, Verdict.DUE),
        (NOON + timedelta(seconds=1), NOON + HOUR, Verdict.OFF_GRID),
        (NOON - HOUR, NOON + HOUR, Verdict.OFF_GRID),
    ],
)
def test_of_what_began_only_the_newest_is_due(slot, moment, verdict):
    assert hourly().judge(slot, moment) is verdict


def test_what_is_decided_stays_so():
    after = hourly().after(NOON + HOUR)

    for moment in (NOON - HOUR, NOON, NOON + HOUR, NOON + 9 * HOUR):
        assert after.judge(NOON, moment) is Verdict.OVER
        assert after.judge(NOON + HOUR, moment) is Verdict.OVER
    assert after.judge(NOON + 2 * HOUR, NOON + 2 * HOUR) is Verdict.DUE


def test_a_disabled_one_has_nothing_due():
    off = hourly(enabled=False)

    assert off.judge(NOON, NOON) is Verdict.DISABLED
    assert off.newest_due(NOON) is None


@pytest.mark.parametrize(
    ("anchor", "first"),
    [
        (None, NOON + HOUR),  # now, and so the first is an hour away
        (NOON, NOON),
        (NOON + timedelta(minutes=7), NOON + timedelta(minutes=7)),
        (NOON + 30 * HOUR, NOON + 30 * HOUR),
        (NOON - timedelta(minutes=7), NOON + timedelta(minutes=53)),
        (datetime(2000, 1, 1, 0, 30, tzinfo=UTC), NOON + timedelta(minutes=30)),
    ],
)
def test_a_new_one_begins_with_the_first_slot_from_now_on(anchor, first):
    made = new_timetable(
        NOON + timedelta(microseconds=5 if anchor is None else 0), anchor=anchor, interval_seconds=3600, enabled=True
    )

    assert made.next_slot == first


def test_what_was_missed_is_named_and_of_very_much_the_newest():
    assert hourly().missed_before(NOON + 3 * HOUR, 1000) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert hourly().missed_before(NOON + 9999 * HOUR, 2) == [NOON + 9997 * HOUR, NOON + 9998 * HOUR]
    assert hourly().missed_before(NOON, 1000) == []


def test_on_again_catches_up_nothing():
    off = hourly().after(NOON).changed(NOON + HOUR, anchor=NOON, interval_seconds=3600, enabled=False)

    on = off.changed(NOON + 5.5 * HOUR, anchor=NOON, interval_seconds=3600, enabled=True)

    assert on.next_slot == NOON + 6 * HOUR


def test_a_change_of_nothing_forgets_nothing_that_is_due():
    late = hourly().changed(NOON + 5 * HOUR, anchor=NOON, interval_seconds=3600, enabled=True)

    assert late == hourly()


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-07-11", "2026-07-11T12:00Z", "2026-07-11 12:00:00Z", "2026-07-11T12:00:00", "2026-07-11T12:00:00+00:00",
        "2026-07-11T12:00:00.5Z", "2026-07-11T12:00:00.000001Z", "2026-06-31T12:00:00Z", "2026-07-11T25:00:00Z",
        "1999-07-11T12:00:00Z", "2100-07-11T12:00:00Z", "2026-07-11T12:00:00Z\n", "٢٠26-07-11T12:00:00Z", 1783771318, None, True,
    ],
)  # fmt: skip
def test_a_moment_is_written_in_one_way(text):
    with pytest.raises(ValueError):
        parse_moment(text)


def test_a_moment_reads_as_answers_show_it():
    assert parse_moment("2026-07-11T12:00:00Z") == parse_moment("2026-07-11T12:00:00.000000Z") == NOON


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@given(
    st.integers(946_684_800, 4_102_444_799).map(_at),
    st.floats(1_600_000_000, 3_900_000_000).map(_at),
    st.integers(300, 7 * 86_400),
)
def test_the_first_slot_is_on_the_grid_and_less_than_an_interval_away(anchor, moment, interval_seconds):
    interval = timedelta(seconds=interval_seconds)

    made = new_timetable(moment, anchor=anchor, interval_seconds=interval_seconds, enabled=True)

    assert made.judge(made.next_slot, made.next_slot) is Verdict.DUE
    assert max(anchor, moment) <= made.next_slot < max(anchor, moment) + interval
    assert made.newest_due(made.next_slot - timedelta(microseconds=1)) is None


class World(RuleBasedStateMachine):
    """One schedule; replicas that believe what they once read; schedulers outside that name any slot; a clock that jumps.

    What starts a slot is what the handler does with the row held: judge by the clock, then move on.
    """

    @initialize(interval_seconds=st.sampled_from([300, 3600, 86_400]), offset=st.integers(-10_000_000, 10_000))
    def begin(self, interval_seconds: int, offset: int) -> None:
        self.now = NOON
        self.table = new_timetable(
            self.now, anchor=NOON + timedelta(seconds=offset), interval_seconds=interval_seconds, enabled=True
        )
        self.started: Counter[datetime] = Counter()
        self.skipped: Counter[datetime] = Counter()
        self.undecided_from = self.table.next_slot
        self.beliefs: list[datetime] = []

    def start(self, slot: datetime) -> None:
        if self.table.judge(slot, self.now) is Verdict.DUE:
            assert slot <= self.now, "started before it began"
            assert self.table.enabled
            self.skipped.update(self.table.missed_before(slot, 10**9))
            self.started[slot] += 1
            self.table = self.table.after(slot)

    @rule(seconds=st.integers(0, 400_000))
    def time_goes_on(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(seconds=st.integers(-2_000_000, 2_000_000))
    def the_clock_jumps(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def a_replica_looks(self) -> None:
        due = self.table.newest_due(self.now)
        if due is not None:
            self.beliefs.append(due)

    @rule(which=st.integers(0, 1_000_000))
    def a_replica_acts_on_what_it_saw(self, which: int) -> None:
        if self.beliefs:
            self.start(self.beliefs[which % len(self.beliefs)])

    @rule()
    def the_leader_does_both(self) -> None:
        due = self.table.newest_due(self.now)
        if due is None:
            return
        self.start(due)
        assert self.started[due] == 1
        assert self.table.newest_due(self.now) is None, "a second slot is due at the same moment"

    @rule(steps=st.integers(-5, 5), seconds=st.sampled_from([0, 0, 0, 1]))
    def a_scheduler_names_a_slot(self, steps: int, seconds: int) -> None:
        interval = timedelta(seconds=self.table.interval_seconds)
        self.start(self.table.next_slot + steps * interval + timedelta(seconds=seconds))

    @rule()
    def a_scheduler_names_the_newest(self) -> None:
        since = (self.now - self.table.anchor) % timedelta(seconds=self.table.interval_seconds)
        self.start(self.now - since)

    @rule(interval_seconds=st.sampled_from([300, 3600, 86_400]), seconds=st.integers(-10_000, 10_000))
    def somebody_changes_the_grid(self, interval_seconds: int, seconds: int) -> None:
        anchor = self.table.anchor + timedelta(seconds=seconds)
        same = (anchor, interval_seconds) == (self.table.anchor, self.table.interval_seconds)
        self.table = self.table.changed(
            self.now, anchor=anchor, interval_seconds=interval_seconds, enabled=self.table.enabled
        )
        if not same:
            self.forget()

    @rule()
    def somebody_turns_it_off_or_on(self) -> None:
        enabled = not self.table.enabled
        self.table = self.table.changed(
            self.now, anchor=self.table.anchor, interval_seconds=self.table.interval_seconds, enabled=enabled
        )
        if enabled:
            assert self.table.newest_due(self.now - timedelta(microseconds=1)) is None, "caught up what was off"
            self.forget()

    def forget(self) -> None:
        """What began before is of another grid: from here on we count anew."""
        self.undecided_from = self.table.next_slot

    @invariant()
    def no_slot_is_decided_twice(self) -> None:
        if hasattr(self, "started"):
            assert max(self.started.values(), default=0) <= 1
            assert max(self.skipped.values(), default=0) <= 1
            assert not set(self.started) & set(self.skipped)

    @invariant()
    def every_slot_behind_us_was_decided(self) -> None:
        if hasattr(self, "started"):
            slot, interval = self.undecided_from, timedelta(seconds=self.table.interval_seconds)
            while slot < self.table.next_slot:
                assert self.started[slot] + self.skipped[slot] == 1, slot
                slot += interval
            self.undecided_from = slot

    @invariant()
    def what_comes_is_behind_nothing_that_was_started(self) -> None:
        if hasattr(self, "started"):
            assert self.table.next_slot > max(self.started, default=NOON - timedelta(days=36500))


TestWorld = World.TestCase
