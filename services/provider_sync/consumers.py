"""What provider_sync hears, who handles it, how patient it is. A new reader starts here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from libs.contracts.events import (
    CompanyArchivedV1,
    CompanyCreatedV1,
    OrganizationCreatedV1,
    RepairRequestedV1,
    SnapshotRequestedV1,
    WebhookEndpointReadyV1,
    WebhookReceivedV1,
)
from libs.messaging.consumer import Consumer
from libs.messaging.standing import STANDING_EVENTS
from libs.providers.registry import Provider
from services.provider_sync.handlers.tenants import keep_tenants
from services.provider_sync.handlers.webhooks import apply_webhooks
from services.provider_sync.handlers.wishes import ask_for_registrations, ask_for_repairs, ask_for_snapshots
from services.provider_sync.sealing import Sealer


def consumers(providers: Mapping[str, Provider], sealer: Sealer) -> tuple[Consumer, ...]:
    """Payloads that break their contract are dead at once: the same bytes never read otherwise by the same build.

    Whatever leads to a call at a provider waits while its organization is suspended.
    """
    later = partial(Consumer, waits_while_suspended=True)
    return (
        Consumer(
            "provider-sync.tenants",
            (OrganizationCreatedV1, CompanyCreatedV1, CompanyArchivedV1, *STANDING_EVENTS),
            keep_tenants,
        ),
        later(
            "provider-sync.webhooks", (WebhookReceivedV1,), partial(apply_webhooks, providers=providers, sealer=sealer)
        ),
        later("provider-sync.endpoints", (WebhookEndpointReadyV1,), ask_for_registrations),
        later("provider-sync.snapshots", (SnapshotRequestedV1,), ask_for_snapshots),
        later("provider-sync.repairs", (RepairRequestedV1,), ask_for_repairs),
    )
