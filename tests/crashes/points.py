"""Every named place at which a process can be made to crash, where it is passed, and what makes somebody pass it.

The list is held against the code by a test: a new `crash_point` is here, or the test fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from libs.crash import KINDS, Kind

Transport = Literal["embedded", "rabbitmq"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)
BROKER: tuple[Transport, ...] = ("rabbitmq",)


@dataclass(frozen=True, slots=True)
class Point:
    """`errand`: a function of errands.py; `embedded`: another one where everything is one process. `why` only some
    transports have it."""

    name: str
    service: str
    errand: str
    transports: tuple[Transport, ...] = TRANSPORTS
    embedded: str = ""
    why: str = ""

    def errand_on(self, transport: Transport) -> str:
        return (self.embedded if transport == "embedded" else "") or self.errand


@dataclass(frozen=True, slots=True)
class Cell:
    point: Point
    kind: Kind
    transport: Transport

    @property
    def id(self) -> str:
        return f"{self.point.name}:{self.kind}:{self.transport}"


_NO_BROKER = "there is no broker between outbox and inbox"

POINTS = (
    # The door.
    Point("ingest.read", "webhook_ingest", "webhooks"),
    Point("ingest.written", "webhook_ingest", "webhooks"),
    Point("ingest.committed", "webhook_ingest", "webhooks"),
    Point("ingest.kept", "webhook_ingest", "webhooks"),
    # The outbox.
    Point("relay.taken", "webhook_ingest", "webhooks"),
    Point("relay.published", "webhook_ingest", "webhooks"),
    Point("relay.deleted", "webhook_ingest", "webhooks"),
    Point("relay.committed", "webhook_ingest", "webhooks"),
    # The inbox.
    Point("broker.received", "provider_sync", "webhooks", BROKER, why=_NO_BROKER),
    Point("broker.handled", "provider_sync", "webhooks", BROKER, why=_NO_BROKER),
    Point("broker.acked", "provider_sync", "webhooks", BROKER, why=_NO_BROKER),
    Point("consumer.claimed", "provider_sync", "webhooks"),
    Point("consumer.handled", "provider_sync", "webhooks"),
    Point("consumer.committed", "provider_sync", "webhooks"),
    Point("consumer.split", "provider_sync", "poison"),
    Point("surplus.left", "analytics", "webhooks", BROKER, why=_NO_BROKER),
    Point("deferral.written", "analytics", "webhooks", BROKER, why=_NO_BROKER),
    Point("deferral.committed", "analytics", "webhooks", BROKER, why=_NO_BROKER),
    Point("drain.filed", "provider_sync", "dead_on_the_broker", BROKER, why=_NO_BROKER),
    # Failures and retries.
    Point("failure.written", "provider_sync", "poison"),
    Point("failure.committed", "provider_sync", "poison"),
    Point("due.taken", "provider_sync", "replay", embedded="webhooks"),
    Point("due.committed", "provider_sync", "replay", embedded="webhooks"),
    Point("replay.tried", "provider_sync", "replay"),
    Point("replay.stepped", "provider_sync", "replay"),
    Point("replay.committed", "provider_sync", "replay"),
    # Changes at providers.
    Point("operation.written", "provider_sync", "operation"),
    Point("operation.committed", "provider_sync", "operation"),
    Point("effect.taken", "provider_sync", "operation"),
    Point("effect.noted", "provider_sync", "operation"),
    Point("effect.intent_committed", "provider_sync", "operation"),
    Point("effect.called", "provider_sync", "operation"),
    Point("effect.outcome_written", "provider_sync", "operation"),
    Point("effect.outcome_committed", "provider_sync", "operation"),
    # Readings and jobs.
    Point("sync.taken", "provider_sync", "sync"),
    Point("sync.page_fetched", "provider_sync", "sync"),
    Point("sync.page_written", "provider_sync", "sync"),
    Point("sync.page_committed", "provider_sync", "sync"),
    Point("sync.ended", "provider_sync", "sync"),
    Point("job.taken", "provider_sync", "account_test"),
    Point("job.written", "provider_sync", "account_test"),
    Point("job.committed", "provider_sync", "account_test"),
    Point("registration.noted", "provider_sync", "registration"),
    Point("registration.called", "provider_sync", "registration"),
    # By the clock.
    Point("slot.claimed", "reconciliation", "slot"),
    Point("slot.committed", "reconciliation", "slot"),
    Point("ledger.folded", "provider_sync", "webhooks"),
    Point("retention.moved", "provider_sync", "restart"),
    Point("erasure.rows_deleted", "provider_sync", "erasure"),
    Point("erasure.table_cleared", "provider_sync", "erasure"),
    Point("erasure.finished", "provider_sync", "erasure"),
    # The gateway.
    Point("gateway.committed", "gateway", "company"),
)


def cells(transport: Transport) -> Iterator[Cell]:
    """All of one transport, in an order in which each errand's cells stand together."""
    return (
        Cell(point, kind, transport) for point in POINTS if transport in point.transports for kind in KINDS
    )  # fmt: skip
