"""What the gateway reads."""

from __future__ import annotations

from libs.contracts.events import ActionPerformedV1, DeadLetterChangedV1, ErasureProgressedV1, OperationChangedV1
from libs.messaging.consumer import Consumer
from services.gateway.handlers import audit_log, dead_letters, erasures, operations


def consumers() -> tuple[Consumer, ...]:
    return (
        Consumer("gateway.dead-letters", (DeadLetterChangedV1,), dead_letters.record_dead_letters),
        Consumer("gateway.audit", (ActionPerformedV1,), audit_log.record_actions),
        Consumer("gateway.erasures", (ErasureProgressedV1,), erasures.record_progress),
        Consumer("gateway.operations", (OperationChangedV1,), operations.record_operations),
    )
