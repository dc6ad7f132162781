"""How fast a replay goes, and when it stops."""

from __future__ import annotations

from math import floor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.messaging.pace import Pace, Phase, allowance, earned, forfeited, is_canary_over, reason_to_stop, shares

PACE = Pace(rate=100, canary=5, ramp_seconds=10, stop_failures=10, stop_ratio=0.1)


def phase(**more: float) -> Phase:
    known = {"elapsed_seconds": 0.0, "released": 0, "in_flight": 0, "failed": 0, "settled": 0, "in_canary": False}
    return Phase(**(known | more))  # type: ignore[arg-type]


def test_the_rate_grows_over_the_ramp_and_then_holds() -> None:
    assert [earned(100, 10, at) for at in (-1, 0, 5, 10, 11, 20)] == [0, 0, 125, 500, 600, 1500]
    assert earned(100, 0, 2) == 200


def test_nothing_follows_the_canary_before_each_of_it_is_settled() -> None:
    assert allowance(PACE, phase(in_canary=True)) == 5
    assert allowance(PACE, phase(in_canary=True, released=5, in_flight=1)) == 0
    assert not is_canary_over(PACE, phase(in_canary=True, released=5, in_flight=1), waiting=100)
    assert is_canary_over(PACE, phase(in_canary=True, released=5, settled=5), waiting=100)
    assert is_canary_over(PACE, phase(in_canary=True, released=3, settled=3), waiting=0)


def test_a_consumer_that_stands_still_is_not_buried() -> None:
    assert allowance(PACE, phase(elapsed_seconds=1000, in_flight=199)) == 1
    assert allowance(PACE, phase(elapsed_seconds=1000, in_flight=200)) == 0


def test_one_failure_stops_a_canary_and_a_share_stops_the_rest() -> None:
    assert (
        reason_to_stop(PACE, phase(in_canary=True, released=5, failed=1, settled=5)) == "1 of the first 5 failed again"
    )
    assert reason_to_stop(PACE, phase(failed=9, settled=10)) is None
    assert reason_to_stop(PACE, phase(failed=10, settled=100)) is None
    assert reason_to_stop(PACE, phase(failed=11, settled=100)) == "11 of 100 failed again, over 10%"


@given(st.floats(0.1, 1000), st.floats(0, 60), st.lists(st.floats(0.01, 600), min_size=1, max_size=50))
def test_in_no_second_more_than_two_seconds_worth_is_released(rate: float, ramp: float, waits: list[float]) -> None:
    """However irregularly somebody comes to look: after a pause there is no flood."""
    at, released = 0.0, 0
    for wait in waits:
        at += wait
        released = forfeited(rate, ramp, at, released)
        due = floor(earned(rate, ramp, at)) - released
        assert due <= max(rate, 1) + 1
        released += max(due, 0)


@given(st.integers(0, 500), st.dictionaries(st.integers(0, 20).map(lambda n: UUID(int=n)), st.integers(-5, 200)))
def test_shares_are_equal_up_to_each_limit(most: int, limits: dict[UUID, int]) -> None:
    dealt = shares(most, limits)

    assert sum(dealt.values()) == min(most, sum(max(limit, 0) for limit in limits.values()))
    assert all(0 < share <= limits[account] for account, share in dealt.items())
    held_back = [dealt.get(account, 0) for account, limit in limits.items() if dealt.get(account, 0) < limit]
    assert all(share >= max(dealt.values(), default=0) - 1 for share in held_back)


@pytest.mark.parametrize("rate", [0.2, 1, 1000])
def test_room_is_left_for_the_rate(rate: float) -> None:
    assert Pace(rate=rate).most_in_flight >= max(2 * rate, 20)
