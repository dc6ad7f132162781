"""HTTP bodies of the inner routes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


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
