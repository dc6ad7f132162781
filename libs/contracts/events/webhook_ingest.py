"""Events of webhook_ingest: raw deliveries, and endpoints that are open."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.contracts.event import Event


class WebhookReceivedV1(
    Event, type="webhook.received.v1", publisher="webhook-ingest", heard_by=("provider-sync.webhooks",), binary="body"
):
    """A provider posted `body`, kept byte for byte. `event_type` is what the payload calls itself, unjudged.

    `conflicting` is "true" when another body with the same dedupe key was accepted before. The event's id is the delivery's.
    """

    delivery_id: UUID
    provider: str
    account_id: UUID
    endpoint_id: UUID
    received_at: datetime
    event_type: str = ""
    conflicting: bool = False
    body: bytes

    def subject(self) -> str:
        return f"delivery/{self.delivery_id}"


class WebhookEndpointReadyV1(
    Event, type="webhook_endpoint.ready.v1", publisher="webhook-ingest", heard_by=("provider-sync.endpoints",)
):
    """The door knows this endpoint: its URL may now be registered at the provider."""

    endpoint_id: UUID

    def subject(self) -> str:
        return f"webhook_endpoint/{self.endpoint_id}"
