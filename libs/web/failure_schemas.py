"""Bodies of failure groups, dead letters and replays, the same at every service."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    model_validator,
)

from libs.clock import rfc3339
from libs.errors import Invalid
from libs.messaging.pace import Pace
from libs.web.cursors import MAX_LIMIT
from libs.web.numbers import WHOLE
from libs.web.texts import NAMED, TRIMMED, VISIBLE

Service = Literal["provider-sync", "analytics", "reconciliation", "webhook-ingest", "gateway"]
Status = Literal["open", "acknowledged", "ignored", "resolved"]
State = Literal["planned", "running", "paused", "stopped", "completed", "aborted", "expired"]
LetterState = Literal["dead", "parked", "due", "done", "discarded"]

Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=VISIBLE)]
Id = Annotated[str, StringConstraints(max_length=100, pattern=VISIBLE)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NAMED), TRIMMED]
Note = Annotated[str, StringConstraints(min_length=1, max_length=2000, pattern=NAMED), TRIMMED]
Rate = Annotated[float, Field(gt=0, le=2000, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000), WHOLE]

MOST_NAMED = 1000


class AdviceOut(BaseModel):
    """What to do first: `action` is fix, deploy, investigate, wait, replay, credential or release."""

    action: str
    text: str


class NoteOut(BaseModel):
    at: str
    by: str
    text: str


class GroupOut(BaseModel):
    """What failed for one cause. `letters` (of which `dead` and `parked`) wait for a person now; `failures` counts every time.

    `accounts`, `campaigns` and `subjects` are how many different ones the letters are about, as far as they say so; they and
    the letters are counted up to a bound: `counted_to_the_end` is false when there may be more. `fixed_by_build`: a build newer
    than those that failed tried one of the letters, which would pass (`fixed_since`); null when none did, or it failed since.
    """

    id: str
    service: str
    consumer: str
    event_type: str
    provider: str | None
    error_class: str
    reason: str
    frames: list[str]
    advice: AdviceOut
    status: Status
    revision: int
    notes_count: int
    letters: int
    dead: int
    parked: int
    counted_to_the_end: bool
    accounts: int
    campaigns: int
    subjects: int
    failed_last_hour: int
    failures: int
    first_seen: Time
    last_seen: Time
    reopened_at: Time | None
    first_build: str
    last_build: str
    fixed_by_build: str | None
    fixed_since: Time | None


class GroupDetailOut(GroupOut):
    notes: list[NoteOut]


class GroupPage(BaseModel):
    data: list[GroupOut]
    has_more: bool
    next_cursor: str | None
    as_of: Time


class GroupChangeIn(BaseModel):
    """`revision` is the one that was read. A note is kept for good, with who wrote it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"revision": 1, "status": "acknowledged", "note": "mended in the next build"}]},
    )

    revision: Annotated[int, WHOLE]
    status: Status | None = None
    note: Note | None = None


class GroupsQuery(BaseModel):
    """`service` is whose groups; `with_letters`: those alone in which something waits."""

    model_config = ConfigDict(extra="forbid")

    service: Service
    status: Status | None = None
    consumer: Word | None = None
    error_class: Word | None = None
    provider: Word | None = None
    with_letters: bool = False
    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None


class AttemptOut(BaseModel):
    """One failed attempt. `build` is which code made it, null where that was not kept yet."""

    at: str
    attempt: int
    error_class: str
    reason: str
    fingerprint: str
    frames: list[str]
    build: str | None = None


class EditOut(BaseModel):
    at: str
    by: str
    reason: str
    sha256_before: str
    sha256_after: str


class LetterOut(BaseModel):
    """`envelope_base64`: the event's exact bytes (`sha256` is theirs), null once it is done. `trace_id` finds where it came from.

    `edits`: who put its content right by hand; `original_base64` are the bytes that came, null when nobody did.
    """

    id: str
    service: str
    consumer: str
    event_id: str
    type: str
    subject: str
    state: LetterState
    attempts: int
    error_class: str | None
    reason: str | None
    group_id: str | None
    account_id: str | None
    provider: str | None
    campaign: str | None
    build: str | None
    replay_id: str | None
    trace_id: str | None
    correlation_id: str | None
    first_seen: Time
    changed_at: Time
    history: list[AttemptOut]
    size_bytes: int
    envelope_base64: str | None
    sha256: str | None
    edits: list[EditOut]
    original_base64: str | None


class EditIn(BaseModel):
    """The whole new content: `data`, or `data_base64` of an event that carries bytes. `sha256` is that of the letter as read."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"sha256": "5f" * 32, "data": {"name": "Northwind"}, "reason": "the name was cut: ticket 4711"}
            ]
        },
    )

    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    data: dict[str, Any] | None = None
    data_base64: Annotated[str, StringConstraints(max_length=2_000_000)] | None = None
    reason: Reason

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.data is None) == (self.data_base64 is None):
            raise ValueError("say data or data_base64, and not both")
        return self

    def binary(self) -> bytes | None:
        """Raises: Invalid."""
        try:
            return None if self.data_base64 is None else base64.b64decode(self.data_base64, validate=True)
        except ValueError:
            raise Invalid("this is not base64", pointer="/data_base64") from None


class ReplayIn(BaseModel):
    """Which letters of `service`, and how fast. All that is said must hold of a letter; `everything` says it of none.

    `rate` and `account_rate` are letters a second, of the whole and of each account; the rate is reached after `ramp_seconds`.
    The first `canary` letters go alone. It stops when one of those fails again, or `stop_failures` did and they are more than
    `stop_ratio` of what has its outcome. More than `max` letters are refused.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "service": "provider-sync",
                    "group_ids": ["fgr_provider-sync_0190a1b2c3d48e8f9a0b1c2d3e4f5a6b"],
                    "rate": 20,
                }
            ]
        },
    )

    service: Service
    action: Literal["replay", "discard"] = "replay"
    everything: StrictBool = False
    group_ids: Annotated[list[Id], Field(max_length=100)] = []
    letter_ids: Annotated[list[Id], Field(max_length=MOST_NAMED)] = []
    consumer: Word | None = None
    event_type: Word | None = None
    error_class: Word | None = None
    state: Literal["dead", "parked"] | None = None
    account_id: Id | None = None
    provider: Word | None = None
    campaign: Word | None = None
    failed_from: AwareDatetime | None = None
    failed_until: AwareDatetime | None = None
    max: Count = 100_000
    rate: Rate = 50.0
    account_rate: Rate = 50.0
    canary: Annotated[int, Field(ge=1, le=1000), WHOLE] = 5
    ramp_seconds: Annotated[float, Field(ge=0, le=3600, strict=True)] = 10.0
    stop_failures: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] = 10
    stop_ratio: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.1

    @model_validator(mode="after")
    def _something_is_said(self) -> Self:
        said = self.model_fields_set & _CHOOSING
        if self.everything == any(getattr(self, name) not in (None, []) for name in said):
            raise ValueError("say which letters (a group, letters, a consumer …), or everything: true, and not both")
        return self

    def pace(self) -> Pace:
        return Pace(self.rate, self.account_rate, self.canary, self.ramp_seconds, self.stop_failures, self.stop_ratio)


_CHOOSING = {
    "group_ids", "letter_ids", "consumer", "event_type", "error_class", "state", "account_id", "provider", "campaign",
    "failed_from", "failed_until",
}  # fmt: skip


class ApplyIn(BaseModel):
    """`hash` is the plan's: what is applied is what was shown."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"hash": "5f" * 32, "reason": "the reader was mended: ticket 4711"}]},
    )

    hash: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    reason: Reason


class FailureOut(BaseModel):
    error_class: str
    reason: str
    letters: int
    event_ids: list[str]


class TableOut(BaseModel):
    """Rows that would be written; `unchanged` ones would be written as they are. `deleted` ones are only counted."""

    table: str
    inserted: int
    updated: int
    unchanged: int
    deleted: int


class ChangeOut(BaseModel):
    """A row by its key, and which of its fields would be others."""

    table: str
    key: dict[str, Any]
    kind: str
    fields: list[str]


class EventsOut(BaseModel):
    type: str
    count: int
    subjects: list[str]


class EffectsOut(BaseModel):
    table: str
    rows: int


class DryRunOut(BaseModel):
    """What would happen, found by doing it and taking it back. `covered` of `of` letters were tried, by the code `build`.

    `effects_suppressed` are rows that lead to calls at a provider. `error` says why nothing was found out.
    """

    at: str | None = None
    build: str | None = None
    error: str | None = None
    of: int = 0
    covered: int = 0
    would_succeed: int = 0
    would_fail: int = 0
    failures: list[FailureOut] = []
    rows: list[TableOut] = []
    changes: list[ChangeOut] = []
    changes_left_out: int = 0
    events: list[EventsOut] = []
    effects_suppressed: list[EffectsOut] = []


class PaceOut(BaseModel):
    rate: float
    account_rate: float
    canary: int
    ramp_seconds: float
    stop_failures: int
    stop_ratio: float


class ReplayOut(BaseModel):
    """`released` letters are on their way or have their outcome: `done`, `failed` again, or `skipped` (others settled them).

    `newly_failed` counts letters of the same service that failed for the first time since this was applied.
    """

    id: str
    service: str
    state: State
    action: Literal["replay", "discard"]
    filter: dict[str, Any]
    pace: PaceOut
    hash: str
    total: int
    released: int
    done: int
    failed: int
    skipped: int
    newly_failed: int
    stop_reason: str | None
    dry_run_state: Literal["none", "asked", "done", "failed"]
    dry_run: DryRunOut | None
    reason: str | None
    created_by: str
    applied_by: str | None
    created_at: Time
    applied_at: Time | None
    changed_at: Time
    finished_at: Time | None
    expires_at: Time


class ReplayPage(BaseModel):
    data: list[ReplayOut]
    has_more: bool
    next_cursor: str | None
    as_of: Time


class ReplaysQuery(BaseModel):
    """`service` is whose replays."""

    model_config = ConfigDict(extra="forbid")

    service: Service
    state: State | None = None
    limit: int = Field(50, ge=1, le=MAX_LIMIT)
    after: str | None = None
