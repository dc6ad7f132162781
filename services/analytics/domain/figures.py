"""From counts to figures: totals, rates, series. Pure, so that a test can recount."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from services.analytics.metrics import CHANNELS, MetricSet, Part

Key = tuple[UUID, int | None]  # campaign, step number (None: the whole campaign)

# Of a campaign whose channel nobody told yet nothing can be said.
NOTHING = MetricSet(metrics=(), rates=(), tells_steps=False)


@dataclass(frozen=True, slots=True)
class Window:
    """Days of `time_zone`, both included; None is open."""

    time_zone: str
    first: date | None = None
    last: date | None = None

    @property
    def is_open(self) -> bool:
        return self.first is None and self.last is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One metric of one campaign (step, day): occurrences, distinct leads, and how we know."""

    metric: str
    campaign_id: UUID
    step: int | None
    day: date | None
    total: int
    leads: int
    undated: int
    webhook: int = 0
    pull: int = 0
    inferred: int = 0


@dataclass(slots=True)
class Figure:
    total: int = 0
    unique: int = 0
    undated: int = 0


@dataclass(frozen=True, slots=True)
class Rate:
    value: float | None
    numerator: str
    numerator_value: int
    denominator: str
    denominator_value: int


@dataclass(slots=True)
class Provenance:
    webhook: int = 0
    pull: int = 0
    inferred: int = 0


@dataclass(frozen=True, slots=True)
class Completeness:
    open_drift: int = 0
    last_reconciled_at: datetime | None = None


@dataclass(slots=True)
class Figures:
    """All metrics of one campaign or step: those of its channel, and no others."""

    counted: MetricSet
    metrics: dict[str, Figure] = field(init=False)
    days: dict[date, dict[str, Figure]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        self.metrics = self.zeros()

    def zeros(self) -> dict[str, Figure]:
        return {name: Figure() for name in self.counted.names}

    def rates(self) -> dict[str, Rate]:
        return {rate.name: self._rate(rate.numerator, rate.denominator) for rate in self.counted.rates}

    def _rate(self, numerator: Part, denominator: Part) -> Rate:
        above = getattr(self.metrics[numerator[0]], numerator[1])
        below = getattr(self.metrics[denominator[0]], denominator[1])
        value = round(above / below, 6) if below else None
        return Rate(value, ".".join(numerator), above, ".".join(denominator), below)


def tabulate(
    channels: Mapping[Key, str | None], totals: Iterable[Count], by_day: Iterable[Count]
) -> dict[Key, Figures]:
    """Figures for each key by its channel, zeros where nothing was counted; days only where something was."""
    tables = {key: Figures(CHANNELS.get(channel or "", NOTHING)) for key, channel in channels.items()}
    for count in totals:
        figures = tables.get((count.campaign_id, count.step))
        if figures is not None and count.metric in figures.metrics:
            figures.metrics[count.metric] = Figure(count.total, count.leads, count.undated)
            figures.provenance.webhook += count.webhook
            figures.provenance.pull += count.pull
            figures.provenance.inferred += count.inferred
    for count in by_day:
        figures = tables.get((count.campaign_id, count.step))
        if figures is not None and count.day is not None and count.metric in figures.metrics:
            day = figures.days.setdefault(count.day, figures.zeros())
            day[count.metric] = Figure(count.total, count.leads)
    for figures in tables.values():
        figures.days = dict(sorted(figures.days.items()))
    return tables


def together(rows: Iterable[Completeness]) -> Completeness:
    """Of several campaigns: all their open drift, and the oldest comparison (None as soon as one was never compared)."""
    open_drift, oldest, never, any_row = 0, None, False, False
    for row in rows:
        any_row = True
        open_drift += row.open_drift
        if row.last_reconciled_at is None:
            never = True
        elif oldest is None or row.last_reconciled_at < oldest:
            oldest = row.last_reconciled_at
    return Completeness(open_drift, None if never or not any_row else oldest)
