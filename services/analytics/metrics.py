"""Every figure, defined once per channel: what it counts, whose day it falls on, what each rate divides by.

`total` counts occurrences, `unique` the distinct leads behind them. All are counted on the org's own days by the time of
the occurrence, except `delivered`, which falls on the day of sending: it is what is left of `sent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Part = tuple[str, Literal["total", "unique"]]


@dataclass(frozen=True, slots=True)
class Metric:
    """`kind` is the kind of engagement that it counts; None: messages."""

    name: str
    counts: str
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """`numerator` and `denominator` are (metric, "total" or "unique"). Over 0 it is unknown (null), not 0."""

    name: str
    numerator: Part
    denominator: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSet:
    """What is counted on one channel. `tells_steps`: whether its providers say which sequence step sent a message."""

    metrics: tuple[Metric, ...]
    rates: tuple[Rate, ...]
    tells_steps: bool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(metric.name for metric in self.metrics)


CHANNELS: Mapping[str, MetricSet] = MappingProxyType(
    {
        "email": MetricSet(
            metrics=(
                # A message of which only an open or a reply is known has neither time nor, at times, a step: it was sent
                # all the same.
                Metric(
                    "sent",
                    "outbound messages that no person wrote: of a sequence step, stated to be a sequence's, or known by "
                    "nothing but an open, a click, a bounce or a reply",
                ),
                Metric("delivered", "sent messages of which no bounce is known"),
                Metric("opened", "opens", "opened"),
                Metric("clicked", "clicks", "clicked"),
                Metric("replied", "inbound messages"),
                Metric("bounced", "bounces", "bounced"),
                Metric("unsubscribed", "unsubscriptions", "unsubscribed"),
                Metric(
                    "manual",
                    "outbound messages that a person wrote: stated so or, where nothing is stated, sent at a known time by "
                    "no step",
                ),
            ),
            rates=(
                Rate("delivery_rate", ("delivered", "total"), ("sent", "total")),
                Rate("bounce_rate", ("bounced", "total"), ("sent", "total")),
                Rate("open_rate", ("opened", "unique"), ("delivered", "unique")),
                Rate("click_rate", ("clicked", "unique"), ("delivered", "unique")),
                Rate("reply_rate", ("replied", "unique"), ("delivered", "unique")),
                Rate("unsubscribe_rate", ("unsubscribed", "unique"), ("delivered", "unique")),
            ),
            tells_steps=True,
        ),
        "linkedin": MetricSet(
            metrics=(
                Metric("connection_requests", "invitations to connect", "connection_requested"),
                Metric("connections_accepted", "invitations that were accepted", "connection_accepted"),
                Metric("sent", "messages_sent and inmails_sent together, each lead once"),
                Metric("messages_sent", "the campaign's outbound messages but InMails and what is stated to be manual"),
                Metric("inmails_sent", "the campaign's outbound InMails but what is stated to be manual"),
                Metric("replied", "inbound messages and InMails"),
                Metric("inmail_replies", "inbound InMails; also in replied"),
                Metric("profile_views", "profiles looked at", "profile_viewed"),
                Metric("follows", "leads followed", "followed"),
                Metric("likes", "posts liked", "liked"),
                # Nobody tells these so far: what people write reaches us in slices that name no campaign.
                Metric("manual", "outbound messages stated to be a person's"),
            ),
            rates=(
                Rate("acceptance_rate", ("connections_accepted", "unique"), ("connection_requests", "unique")),
                Rate("reply_rate", ("replied", "unique"), ("sent", "unique")),
            ),
            tells_steps=False,
        ),
    }
)

# (channel, kind of engagement, metric): what is none of these, tags and categories above all, is kept and not counted.
ENGAGEMENTS = tuple(
    (channel, metric.kind, metric.name)
    for channel, counted in CHANNELS.items()
    for metric in counted.metrics
    if metric.kind is not None
)
WITHOUT_STEPS = tuple(channel for channel, counted in CHANNELS.items() if not counted.tells_steps)
