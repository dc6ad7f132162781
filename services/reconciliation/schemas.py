"""Bodies and queries of reconciliation."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr

from libs.web.cursors import MAX_LIMIT

RunState = Literal["requested", "capturing", "repairing", "verifying", "completed", "failed"]
DriftState = Literal["open", "repaired", "unrepaired"]


class StartIn(BaseModel):
    """`campaign_id` absent: the whole account. `dry_run`: compare and tell, repair nothing."""

    model_config = ConfigDict(extra="forbid")

    account_id: StrictStr
    campaign_id: StrictStr | None = None
    dry_run: StrictBool = False


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
