"""What the door listens to: which endpoints are open, and which organizations are no more."""

from __future__ import annotations

from libs.contracts.events import WebhookEndpointChangedV1
from libs.messaging.consumer import Consumer
from libs.messaging.standing import STANDING_EVENTS, keep_standing
from services.webhook_ingest import handlers


def consumers() -> tuple[Consumer, ...]:
    return (
        Consumer("webhook-ingest.endpoints", (WebhookEndpointChangedV1,), handlers.open_endpoints),
        Consumer("webhook-ingest.tenants", STANDING_EVENTS, keep_standing),
    )
