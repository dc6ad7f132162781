"""Queries and answers of analytics. A rate repeats the value it divides by; over 0 it is null."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.web.cursors import MAX_LIMIT


class FigureQuery(BaseModel):
    """`from` and `to` are days of the org's time zone, both included."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    campaign_id: str | None = None
    account_id: str | None = None
    channel: Literal["email", "linkedin"] | None = None
    first: date | None = Field(None, alias="from")
    last: date | None = Field(None, alias="to")
    series: Literal["day", "none"] = "none"
    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None


class LedgerQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    settle_seconds: float | None = Field(None, ge=0)


class FigureOut(BaseModel):
    """`undated`: of `total`, those whose time is unknown; they are in no day of the series."""

    total: int
    unique: int
    undated: int


class DayFigureOut(BaseModel):
    total: int
    unique: int


class RateOut(BaseModel):
    value: float | None
    numerator: str
    numerator_value: int
    denominator: str
    denominator_value: int


class DayOut(BaseModel):
    day: date
    metrics: dict[str, DayFigureOut]


class ProvenanceOut(BaseModel):
    """How we know of the messages and engagements counted."""

    webhook: int
    pull: int
    inferred: int


class CompletenessOut(BaseModel):
    """`open_drift`: messages by which we are known to differ from the provider.

    `last_reconciled_at` null: never compared. Where the provider cannot list its messages it stays so.
    """

    open_drift: int
    last_reconciled_at: str | None


class FiguresOut(BaseModel):
    """`metrics` and `rates` are those of the row's channel (services/analytics/metrics.py); none while it is unknown.

    `undated_left_out`: messages that no window can hold, for nobody knows their time.
    """

    metrics: dict[str, FigureOut]
    rates: dict[str, RateOut]
    series: list[DayOut] | None
    undated_left_out: int
    provenance: ProvenanceOut
    completeness: CompletenessOut


class CampaignFiguresOut(FiguresOut):
    campaign_id: str
    account_id: str
    company_id: str | None
    provider: str | None
    channel: str | None
    name: str | None
    status: str | None


class StepFiguresOut(FiguresOut):
    step_id: str | None
    campaign_id: str
    campaign_name: str | None
    account_id: str
    company_id: str | None
    channel: str | None
    number: int
    name: str | None
    delay_days: int | None


class FigurePage(BaseModel):
    has_more: bool
    next_cursor: str | None
    as_of: str | None
    time_zone: str
    first: date | None = Field(serialization_alias="from")
    last: date | None = Field(serialization_alias="to")
    completeness: CompletenessOut
    provenance: ProvenanceOut


class CampaignFiguresPage(FigurePage):
    data: list[CampaignFiguresOut]


class StepFiguresPage(FigurePage):
    """`channels_without_steps`: of the campaigns asked for some are of these, whose providers tell no steps; none is shown."""

    data: list[StepFiguresOut]
    channels_without_steps: list[str]


class BucketOut(BaseModel):
    """`on_the_way` below 0: more was heard than sent. `ids_differ`: the counts agree, but not over the same events."""

    bucket: str
    on_the_way: int
    ids_differ: bool


class HopOut(BaseModel):
    event_type: str
    publisher: str
    queue: str
    sent: int
    done: int
    due: int
    dead: int
    parked: int
    discarded: int
    on_the_way: int
    unaccounted: int
    balanced: bool
    unbalanced_buckets: list[BucketOut]


class DoorOut(BaseModel):
    accepted: int
    published: int
    duplicate: int
    quarantined: int
    on_the_way: int
    unaccounted: int
    balanced: bool
    unbalanced_buckets: list[BucketOut]


class LedgerOut(BaseModel):
    balanced: bool
    unaccounted: int
    settle_seconds: float
    as_of: str | None
    door: DoorOut
    data: list[HopOut]
    has_more: bool = False
    next_cursor: str | None = None
