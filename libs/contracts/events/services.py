"""Events that every service publishes: its counts, what failed, what somebody did there, how far it has forgotten an org."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
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


class ActionPerformedV1(Event, type="action.performed.v1", publisher=ANY_SERVICE, heard_by=("gateway.audit",)):
    """Somebody changed something; told in the transaction of the change, kept for good in the org's audit log.

    `actor` is who the gateway said it was, or the service itself (`service:…`); `object` a public id. `details` hold no
    secret, and nobody's name or address: what is in the log cannot be erased from it.
    """

    actor: str
    action: str
    object: str = ""
    details: dict[str, Any] = {}
    request_id: str = ""

    def subject(self) -> str:
        return f"action/{self.action}/{self.object or 'org'}"


class ErasureProgressedV1(Event, type="erasure.progressed.v1", publisher=ANY_SERVICE, heard_by=("gateway.erasures",)):
    """How far one service is with deleting an organization. It rides in the platform's org: the erased one has no rows.

    `tables` counts the rows deleted so far; `refused` the deliveries that came too late and were discarded. Both only grow.
    """

    organization_id: UUID
    service: str
    state: Literal["running", "completed"]
    tables: dict[str, int]
    refused: int = 0
    changed_at: datetime

    def subject(self) -> str:
        return f"erasure/{self.organization_id}/{self.service}"
