"""What an account may ask in a minute, who may ask it, and when it is left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.providers.registry import PROVIDERS
from services.provider_sync.domain import budgets
from services.provider_sync.domain.budgets import FAILURES, LONGEST_PAUSE_SECONDS, fresh, spend
from tests.contract.providers.test_corpus import NOW

RATES = sorted(provider.calls_per_minute for provider in PROVIDERS.values())


def after(seconds: float):
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("rate", RATES)
@settings(deadline=None)
@given(waits=st.lists(st.floats(0, 10), min_size=1, max_size=20), live=st.booleans())
def test_no_minute_sees_more_calls_than_the_provider_allows(rate, waits, live):
    """As greedy as can be between the waits."""
    budget, at, made = fresh(rate, NOW), 0.0, []
    for wait in waits:
        at += wait
        while True:
            budget, delay = spend(budget, rate, after(at), live=live)
            if delay:
                break
            made.append(at)
        at += min(delay, 5.0)
    assert made
    for first, one in enumerate(made):
        assert first + rate >= len(made) or made[first + rate] >= one + 60


@pytest.mark.parametrize("rate", RATES)
def test_an_hour_of_greed_uses_most_of_what_is_allowed(rate):
    budget, at, made = fresh(rate, NOW), 0.0, 0
    while at < 3600:
        budget, delay = spend(budget, rate, after(at), live=True)
        at += delay
        made += not delay
    assert 0.7 * rate * 60 < made <= rate * 60


@pytest.mark.parametrize("rate", RATES)
def test_bulk_work_leaves_something_to_live_work(rate):
    budget, bulk = fresh(rate, NOW), 0
    while True:
        budget, delay = spend(budget, rate, NOW, live=False)
        if delay:
            break
        bulk += 1

    _, again = spend(budget, rate, NOW, live=True)

    assert bulk > 0
    assert again == 0


def test_a_429_stops_everyone_for_as_long_as_it_says():
    for said, expected in ((30.0, 30.0), (None, budgets.ASKED_TO_WAIT_SECONDS), (10.0**9, LONGEST_PAUSE_SECONDS)):
        paused = budgets.limited(fresh(60, NOW), NOW, said)

        assert spend(paused, 60, after(expected - 1), live=True)[1] > 0
        assert spend(paused, 60, after(expected + 5), live=True)[1] == 0


def test_a_shorter_pause_does_not_end_a_longer_one():
    paused = budgets.limited(budgets.limited(fresh(60, NOW), NOW, 600.0), NOW, 1.0)

    assert spend(paused, 60, after(300), live=True)[1] == pytest.approx(300)


def test_an_answer_that_was_on_its_way_does_not_end_the_pause_that_a_429_asked_for():
    paused = budgets.answered(budgets.limited(fresh(60, NOW), NOW, 600.0))

    assert spend(paused, 60, after(300), live=True)[1] == pytest.approx(300)


def test_after_failures_in_a_row_one_call_at_a_time_probes():
    budget = fresh(300, NOW)
    for _ in range(FAILURES - 1):
        budget = budgets.unanswered(budget, NOW, 1.0)
    assert spend(budget, 300, NOW, live=True)[1] == 0

    opened = budgets.unanswered(budget, NOW, 1.0)

    assert spend(opened, 300, after(29), live=True)[1] == pytest.approx(1)
    probing, delay = spend(opened, 300, after(31), live=True)
    assert delay == 0
    assert spend(probing, 300, after(31), live=True)[1] > 50  # the others wait for the probe, or for its holder's end
    assert spend(probing, 300, after(31 + budgets.PROBE_SECONDS), live=True)[1] == 0
    closed = budgets.answered(probing)
    assert spend(spend(closed, 300, after(32), live=True)[0], 300, after(32), live=True)[1] == 0
    longer = budgets.unanswered(probing, after(32), 1.0)
    assert spend(longer, 300, after(32), live=True)[1] == pytest.approx(60)


def test_one_answer_between_failures_begins_the_count_anew():
    budget = fresh(300, NOW)
    for _ in range(FAILURES * 3):
        budget = budgets.answered(budgets.unanswered(budget, NOW, 0.0))

    assert not budget.is_suspect
    assert budget.paused_until is None


@given(failures=st.integers(FAILURES, 10**6), jitter=st.floats(0, 1))
def test_no_outage_leaves_an_account_alone_for_longer_than_ten_minutes(failures, jitter):
    paused = budgets.unanswered(replace(fresh(60, NOW), failures=failures), NOW, jitter)

    assert paused.paused_until is not None
    assert timedelta(seconds=15) <= paused.paused_until - NOW <= timedelta(seconds=600)


def test_a_clock_that_jumps_back_gives_no_calls():
    budget, delay = spend(replace(fresh(60, NOW), calls_left=0.0), 60, after(-600), live=True)

    assert delay > 0
    assert budget.calls_left == 0
