"""HTTP bodies of the inner routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StringConstraints, model_validator

from libs.web.numbers import WHOLE
from libs.web.texts import NAMED, TRIMMED


class DeliveryOut(BaseModel):
    """One post of a provider. `conflict`: another body with the same dedupe key came before; it was published all the same.

    `quarantine_reason`: `token_ended` (it came late, to a token that was replaced), `source_not_allowed`, or why the body
    is none of its provider's. `source_listed` is null where the endpoint lists no sources.
    """

    id: str
    endpoint_id: str
    account_id: str
    provider: str
    received_at: datetime
    event_type: str
    verdict: Literal["accepted", "duplicate", "conflict", "quarantined"]
    duplicate_of: str | None
    quarantine_reason: str | None
    size_bytes: int
    body_sha256: str
    source_address: str | None
    source_listed: bool | None
    released_at: datetime | None
    released_from: str | None


class DeliveryDetailOut(DeliveryOut):
    headers: dict[str, str]
    body_base64: str


class DeliveryPage(BaseModel):
    data: list[DeliveryOut]
    has_more: bool
    next_cursor: str | None
    as_of: datetime


class DeliveryReplayIn(BaseModel):
    """Which deliveries are read again: these, or those that an account, an endpoint, a span of time names, oldest first.

    At most `max` at once: go on with the `next_after` of the answer as `after`. `dry_run`: say which, and do nothing.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"delivery_ids": ["dlv_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b"], "reason": "ticket 4711"}]
        },
    )

    reason: Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=NAMED), TRIMMED]
    delivery_ids: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=100)] = []
    account_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    endpoint_id: Annotated[str, StringConstraints(max_length=100)] | None = None
    received_from: AwareDatetime | None = None
    received_until: AwareDatetime | None = None
    after: Annotated[str, StringConstraints(max_length=100)] | None = None
    max: Annotated[int, Field(ge=1, le=500), WHOLE] = 100
    dry_run: StrictBool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        by_filter = (self.account_id, self.endpoint_id, self.received_from, self.received_until, self.after)
        if bool(self.delivery_ids) == any(one is not None for one in by_filter):
            raise ValueError("say delivery_ids, or an account, an endpoint or a span of time, and not both")
        return self


class DeliveryReplayOut(BaseModel):
    """`delivery_ids` are read again (or would be, in a dry run). What provider_sync had not done is tried again in its place."""

    replay_id: str
    dry_run: bool
    delivery_ids: list[str]
    has_more: bool
    next_after: str | None


class ReleaseIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"delivery_ids": ["dlv_0190a1b2c3d47e8f9a0b1c2d3e4f5a6b"]}]}
    )

    delivery_ids: Annotated[
        list[Annotated[str, StringConstraints(max_length=100)]], Field(min_length=1, max_length=100)
    ]


class ReleaseOut(BaseModel):
    """The deliveries as they are now."""

    data: list[DeliveryOut]
