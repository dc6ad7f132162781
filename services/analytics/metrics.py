"""Every figure, defined once: what it counts, whose day it falls on, what each rate divides by.

`total` counts occurrences, `unique` the distinct leads behind them. All are counted on the org's own days by the time of
the occurrence, except `delivered`, which falls on the day of sending: it is what is left of `sent`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    name: str
    counts: str
    of: Literal["messages", "engagements"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`numerator` and `denominator` are (metric, "total" or "unique"). Over 0 it is unknown (null), not 0."""

    name: str
    numerator: tuple[str, Literal["total", "unique"]]
    denominator: tuple[str, Literal["total", "unique"]]


METRICS = (
    Metric(
        "sent",
        # A message of which only an open or a reply is known has neither time nor, at times, a step: it was sent all the same.
        "outbound messages of a sequence step, and those of which nothing but an open, a click, a bounce or a reply is known",
        "messages",
    ),
    Metric("delivered", "sent messages of which no bounce is known", "messages"),
    Metric("opened", "opens", "engagements"),
    Metric("clicked", "clicks", "engagements"),
    Metric("replied", "inbound messages", "messages"),
    Metric("bounced", "bounces", "engagements"),
    Metric("unsubscribed", "unsubscriptions", "engagements"),
    Metric("manual", "outbound messages that a person wrote: sent at a known time, by no step", "messages"),
)

NAMES = tuple(metric.name for metric in METRICS)
ENGAGEMENT_KINDS = tuple(metric.name for metric in METRICS if metric.of == "engagements")

RATES = (
    Rate("delivery_rate", ("delivered", "total"), ("sent", "total")),
    Rate("bounce_rate", ("bounced", "total"), ("sent", "total")),
    Rate("open_rate", ("opened", "unique"), ("delivered", "unique")),
    Rate("click_rate", ("clicked", "unique"), ("delivered", "unique")),
    Rate("reply_rate", ("replied", "unique"), ("delivered", "unique")),
    Rate("unsubscribe_rate", ("unsubscribed", "unique"), ("delivered", "unique")),
)
