"""HTTP bodies of the inner routes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel


class DeliveryOut(BaseModel):
    """One post of a provider. `conflict`: another body with the same dedupe key came before; it was published all the same."""

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


class DeliveryDetailOut(DeliveryOut):
    headers: dict[str, str]
    body_base64: str


class DeliveryPage(BaseModel):
    data: list[DeliveryOut]
    has_more: bool
    next_cursor: str | None
    as_of: datetime
