"""From counts to figures."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from libs.ids import new_id
from services.analytics.domain.figures import Completeness, Count, Provenance, tabulate, together
from services.analytics.metrics import CHANNELS, MetricSet

CAMPAIGN = new_id()


def _count(metric: str, total: int, leads: int, day: date | None = None, undated: int = 0) -> Count:
    return Count(metric=metric, campaign_id=CAMPAIGN, step=None, day=day, total=total, leads=leads, undated=undated)


def test_a_rate_names_what_it_divides_and_repeats_the_denominator() -> None:
    counts = [_count("delivered", 8, 4), _count("replied", 3, 3)]
    figures = tabulate({(CAMPAIGN, None): "email"}, counts, [])[CAMPAIGN, None]

    rate = figures.rates()["reply_rate"]

    assert (rate.value, rate.numerator, rate.denominator, rate.denominator_value) == (
        0.75, "replied.unique", "delivered.unique", 4,
    )  # fmt: skip
    assert figures.rates()["bounce_rate"].value is None


@pytest.mark.parametrize("counted", CHANNELS.values(), ids=CHANNELS)
def test_every_rate_rests_on_metrics_of_its_channel(counted: MetricSet) -> None:
    assert len(set(counted.names)) == len(counted.metrics)
    assert {name for rate in counted.rates for name, _ in (rate.numerator, rate.denominator)} <= set(counted.names)


def test_figures_are_those_of_the_channel_whatever_else_was_counted() -> None:
    opened = [_count("opened", 1, 1, date(2026, 3, 10))]

    figures = tabulate({(CAMPAIGN, None): "linkedin"}, opened, opened)[CAMPAIGN, None]

    assert tuple(figures.metrics) == CHANNELS["linkedin"].names
    assert (figures.provenance, figures.days) == (Provenance(), {})


def test_while_the_channel_is_unknown_nothing_is_claimed() -> None:
    figures = tabulate({(CAMPAIGN, None): None}, [_count("sent", 1, 1)], [])[CAMPAIGN, None]

    assert (figures.metrics, figures.rates()) == ({}, {})


def test_a_key_without_counts_is_all_zeros_and_counts_of_others_are_not_its() -> None:
    figures = tabulate({(CAMPAIGN, 2): "email"}, [_count("sent", 5, 5)], [])[CAMPAIGN, 2]

    assert {(figure.total, figure.unique, figure.undated) for figure in figures.metrics.values()} == {(0, 0, 0)}


def test_days_come_in_order_and_hold_every_metric() -> None:
    days = [
        _count("sent", 1, 1, date(2026, 3, 11)),
        _count("sent", 2, 1, date(2026, 3, 10)),
        _count("sent", 9, 9, undated=9),
    ]

    figures = tabulate({(CAMPAIGN, None): "email"}, [], days)[CAMPAIGN, None]

    assert list(figures.days) == [date(2026, 3, 10), date(2026, 3, 11)]
    assert set(figures.days[date(2026, 3, 10)]) == set(CHANNELS["email"].names)


def test_together_campaigns_are_as_old_as_the_oldest() -> None:
    early, late = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)

    assert together([Completeness(1, late), Completeness(2, early)]) == Completeness(3, early)
    assert together([Completeness(1, late), Completeness(0, None)]) == Completeness(1, None)
    assert together([]) == Completeness(0, None)
