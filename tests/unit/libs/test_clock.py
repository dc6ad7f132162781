from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import clock

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
moments = st.datetimes(datetime(1000, 1, 2), datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001 - as above


def test_the_present_is_aware_and_utc() -> None:
    assert clock.now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_the_clock_is_held_inside_the_block_only() -> None:
    with clock.frozen(NOON):
        assert clock.now() == NOON
        with clock.frozen(NOON + timedelta(hours=1)):
            assert clock.now() == NOON + timedelta(hours=1)
        assert clock.now() == NOON
    assert clock.now() > NOON


def test_the_clock_goes_on_when_the_block_fails() -> None:
    with pytest.raises(ZeroDivisionError), clock.frozen(NOON):
        raise ZeroDivisionError
    assert clock.now() != NOON


def test_text_is_utc_with_six_digits() -> None:
    berlin = timezone(timedelta(hours=2))

    assert clock.rfc3339(datetime(2026, 7, 11, 14, 1, 58, 23000, berlin)) == "2026-07-11T12:01:58.023000Z"


@given(moments)
def test_text_reads_back(moment: datetime) -> None:
    assert datetime.fromisoformat(clock.rfc3339(moment)) == moment.astimezone(UTC)


@given(one=moments, other=moments)
def test_text_sorts_as_time_does(one: datetime, other: datetime) -> None:
    assert (clock.rfc3339(one) < clock.rfc3339(other)) == (one.astimezone(UTC) < other.astimezone(UTC))


def test_text_sorts_as_time_does_before_the_year_1000_too() -> None:
    assert clock.rfc3339(datetime(999, 1, 1, tzinfo=UTC)) < clock.rfc3339(datetime(2026, 1, 1, tzinfo=UTC))
