"""What the door listens to: which endpoints are open."""

from __future__ import annotations

from libs.contracts.events import WebhookEndpointChangedV1
from libs.messaging.consumer import Consumer
from services.webhook_ingest import handlers


def consumers() -> tuple[Consumer, ...]:
    return (Consumer("webhook-ingest.endpoints", (WebhookEndpointChangedV1,), handlers.open_endpoints),)
