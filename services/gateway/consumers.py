"""What the gateway reads."""

from __future__ import annotations

from libs.contracts.events import DeadLetterChangedV1
from libs.messaging.consumer import Consumer
from services.gateway.handlers import dead_letters


def consumers() -> tuple[Consumer, ...]:
    return (Consumer("gateway.dead-letters", (DeadLetterChangedV1,), dead_letters.record_dead_letters),)
