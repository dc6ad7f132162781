"""From counts to figures."""

from __future__ import annotations

from datetime import UTC, date, datetime

from libs.ids import new_id
from services.analytics.domain.figures import Completeness, Count, tabulate, together
from services.analytics.metrics import METRICS, NAMES, RATES

CAMPAIGN = new_id()


def _count(metric: str, total: int, leads: int, day: date | None = None, undated: int = 0) -> Count:
    return Count(metric=metric, campaign_id=CAMPAIGN, step=None, day=day, total=total, leads=leads, undated=undated)


def test_a_rate_names_what_it_divides_and_repeats_the_denominator() -> None:
    figures = tabulate([(CAMPAIGN, None)], [_count("delivered", 8, 4), _count("replied", 3, 3)], [])[CAMPAIGN, None]

    rate = figures.rates()["reply_rate"]

    assert (rate.value, rate.numerator, rate.denominator, rate.denominator_value) == (
        0.75, "replied.unique", "delivered.unique", 4,
    )  # fmt: skip
    assert figures.rates()["bounce_rate"].value is None


def test_every_rate_rests_on_metrics_of_the_registry() -> None:
    assert len(set(NAMES)) == len(METRICS)
    assert {name for rate in RATES for name, _ in (rate.numerator, rate.denominator)} <= set(NAMES)


def test_a_key_without_counts_is_all_zeros_and_counts_of_others_are_not_its() -> None:
    figures = tabulate([(CAMPAIGN, 2)], [_count("sent", 5, 5)], [])[CAMPAIGN, 2]

    assert {(figure.total, figure.unique, figure.undated) for figure in figures.metrics.values()} == {(0, 0, 0)}


def test_days_come_in_order_and_hold_every_metric() -> None:
    days = [
        _count("sent", 1, 1, date(2026, 3, 11)),
        _count("sent", 2, 1, date(2026, 3, 10)),
        _count("sent", 9, 9, undated=9),
    ]

    figures = tabulate([(CAMPAIGN, None)], [], days)[CAMPAIGN, None]

    assert list(figures.days) == [date(2026, 3, 10), date(2026, 3, 11)]
    assert set(figures.days[date(2026, 3, 10)]) == set(NAMES)


def test_together_campaigns_are_as_old_as_the_oldest() -> None:
    early, late = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)

    assert together([Completeness(1, late), Completeness(2, early)]) == Completeness(3, early)
    assert together([Completeness(1, late), Completeness(0, None)]) == Completeness(1, None)
    assert together([]) == Completeness(0, None)
