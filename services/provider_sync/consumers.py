"""What provider_sync hears, who handles it, how patient it is. A new reader starts here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from libs.contracts.events import (
    CompanyCreatedV1,
    OrganizationCreatedV1,
    RepairRequestedV1,
    SnapshotRequestedV1,
    WebhookEndpointReadyV1,
    WebhookReceivedV1,
)
from libs.messaging.consumer import Consumer
from libs.providers.registry import Provider
from services.provider_sync.handlers.tenants import keep_companies
from services.provider_sync.handlers.webhooks import apply_webhooks
from services.provider_sync.handlers.wishes import ask_for_registrations, ask_for_repairs, ask_for_snapshots


def consumers(providers: Mapping[str, Provider]) -> tuple[Consumer, ...]:
    """Payloads that break their contract are dead at once: the same bytes never read otherwise by the same build."""
    return (
        Consumer("provider-sync.tenants", (OrganizationCreatedV1, CompanyCreatedV1), keep_companies),
        Consumer("provider-sync.webhooks", (WebhookReceivedV1,), partial(apply_webhooks, providers=providers)),
        Consumer("provider-sync.endpoints", (WebhookEndpointReadyV1,), ask_for_registrations),
        Consumer("provider-sync.snapshots", (SnapshotRequestedV1,), ask_for_snapshots),
        Consumer("provider-sync.repairs", (RepairRequestedV1,), ask_for_repairs),
    )
