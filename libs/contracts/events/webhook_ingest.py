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
    `token_id` is the token that it was posted to (None: the endpoint's first, which has the endpoint's id);
    `signature_headers` the headers by which this provider may sign, as a JSON object; `source_listed` whether it came from
    where the endpoint expects posts from (None: it expects none in particular).
    """

    delivery_id: UUID
    provider: str
    account_id: UUID
    endpoint_id: UUID
    received_at: datetime
    event_type: str = ""
    conflicting: bool = False
    token_id: UUID | None = None
    signature_headers: str | None = None
    source_listed: bool | None = None
    body: bytes

    def subject(self) -> str:
        return f"delivery/{self.delivery_id}"


class WebhookEndpointReadyV1(
    Event, type="webhook_endpoint.ready.v1", publisher="webhook-ingest", heard_by=("provider-sync.endpoints",)
):
    """The door knows this endpoint: its URL may now be registered at the provider.

    `token_id` is the newest token that it knows (None: the endpoint's first).
    """

    endpoint_id: UUID
    token_id: UUID | None = None

    def subject(self) -> str:
        return f"webhook_endpoint/{self.endpoint_id}"
