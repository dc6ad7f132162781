"""Events that every service publishes: its counts, and what failed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from libs.contracts.event import ANY_SERVICE, Event


class LedgerCount(BaseModel):
    """A change of one count. `hop` is an event type (sent) or a queue (all other states); XORs are of event ids, hex.

    `bucket` is the minute in which the events' ids were minted, so that sender and listener count into the same one.
    """

    model_config = ConfigDict(frozen=True)

    hop: str
    event_type: str
    bucket: datetime
    state: str
    count: int
    ids_xor: str


class LedgerCountedV1(Event, type="ledger.counted.v1", publisher=ANY_SERVICE, heard_by=("analytics.ledger",)):
    """Changes of one service's ledger since it last told. It is the one event that the ledger does not count."""

    service: str
    counts: tuple[LedgerCount, ...]

    def subject(self) -> str:
        return f"ledger/{self.service}"


class DeadLetterChangedV1(
    Event, type="dead_letter.changed.v1", publisher=ANY_SERVICE, heard_by=("gateway.dead-letters",)
):
    """A delivery became, or ceased to be, a dead letter of one consumer. `reason` is templated: it holds no payload."""

    service: str
    consumer: str
    event_id: UUID
    event_type: str
    event_subject: str
    state: Literal["dead", "parked", "due", "done", "discarded"]
    error_class: str
    reason: str
    fingerprint: str
    attempts: int
    changed_at: datetime

    def subject(self) -> str:
        return f"dead_letter/{self.consumer}/{self.event_id}"
