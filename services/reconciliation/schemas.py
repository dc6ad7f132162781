"""Bodies and queries of reconciliation."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr, WithJsonSchema

from libs.web.cursors import MAX_LIMIT
from libs.web.numbers import WHOLE

RunState = Literal["requested", "capturing", "repairing", "verifying", "completed", "failed"]
DriftState = Literal["open", "repaired", "unrepaired"]


# One way to write a moment, so that a slot has one address: whole seconds of this century, in UTC, as answers show them.
_MOMENT = r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.000000)?Z$"


def parse_moment(value: Any) -> datetime:
    """Raises: ValueError."""
    if isinstance(value, str) and len(value) <= 27 and re.match(_MOMENT, value):
        return datetime.fromisoformat(value).astimezone(UTC)
    raise ValueError("a moment is written in UTC and whole seconds: 2026-07-11T12:00:00Z")


Moment = Annotated[datetime, BeforeValidator(parse_moment), WithJsonSchema({"type": "string", "pattern": _MOMENT})]
Interval = Annotated[
    int, Field(ge=300, le=7 * 86_400), WHOLE
]  # a run takes minutes; what is older than a week is too old


class StartIn(BaseModel):
    """`campaign_id` absent: the whole account. `dry_run`: compare and tell, repair nothing."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"account_id": "acc_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b", "dry_run": True}]},
    )

    account_id: StrictStr
    campaign_id: StrictStr | None = None
    dry_run: StrictBool = False


class ScheduleIn(BaseModel):
    """`anchor`: a moment at which a slot starts; the others follow at whole intervals. Absent: now."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"account_id": "acc_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b", "interval_seconds": 86_400,
                          "anchor": "2026-07-11T02:00:00Z"}]
        },
    )  # fmt: skip

    account_id: StrictStr
    interval_seconds: Interval
    anchor: Moment | None = None
    enabled: StrictBool = True


class ScheduleChangeIn(BaseModel):
    """`revision` is the one that was read. What is absent or null stays as it is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"revision": 1, "enabled": False}]})

    revision: Annotated[int, WHOLE]
    interval_seconds: Interval | None = None
    anchor: Moment | None = None
    enabled: StrictBool | None = None


class ListQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None


class RunQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    account_id: str | None = None
    campaign_id: str | None = None
    state: RunState | None = None
    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None


class DriftQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: DriftState | None = None
    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None


class RunOut(BaseModel):
    """`found`, `repaired` and `open` count drifts: one kind of message on one day of one campaign.

    `missing_messages` counts messages that the provider had and we had not, in whichever pass, by the keys told;
    `repaired_messages` those of them that the last pass missed no longer. The former is counted at the end of each pass,
    the latter at the end of the run; 0 in runs that failed, as nothing proves a repair.
    """

    id: str
    account_id: str
    campaign_id: str | None
    company_id: str | None
    state: RunState
    dry_run: bool
    requested_by: str
    pass_number: int
    parts_expected: int | None
    parts_captured: int
    found: int
    repaired: int
    open: int
    missing_messages: int
    repaired_messages: int
    error: str | None
    requested_at: str
    changed_at: str
    completed_at: str | None


class KeyOut(BaseModel):
    message: str
    lead: str


class DriftOut(BaseModel):
    """`missing` are known to the provider only, `surplus` to us only: the first of each, the counts are of all."""

    id: str
    run_id: str
    campaign_id: str
    campaign_external_id: str
    company_id: str | None
    kind: str
    day: date
    state: DriftState
    missing_count: int
    missing: list[KeyOut]
    surplus_count: int
    surplus: list[KeyOut]


class RunPage(BaseModel):
    data: list[RunOut]
    has_more: bool
    next_cursor: str | None
    as_of: str


class DriftPage(BaseModel):
    data: list[DriftOut]
    has_more: bool
    next_cursor: str | None
    as_of: str


class ScheduleOut(BaseModel):
    """`next_slot` is the oldest that is not decided, null while disabled; `last_slot` the newest that was started."""

    id: str
    account_id: str
    company_id: str | None
    interval_seconds: int
    anchor: str
    enabled: bool
    revision: int
    next_slot: str | None
    last_slot: str | None
    created_by: str
    created_at: str
    changed_at: str


class SlotOut(BaseModel):
    """`skipped`: missed, and a newer one was caught up."""

    schedule_id: str
    slot: str
    state: Literal["started", "skipped"]
    run_id: str | None
    started_by: str | None
    decided_at: str


class SchedulePage(BaseModel):
    data: list[ScheduleOut]
    has_more: bool
    next_cursor: str | None
    as_of: str


class SlotPage(BaseModel):
    data: list[SlotOut]
    has_more: bool
    next_cursor: str | None
    as_of: str
