"""All five services as parts of one process: only the gateway and the door get a port, the rest is asked in process."""

from __future__ import annotations

from libs.runtime.host import Part
from libs.settings import ServiceSettings
from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.gateway.app import build as build_gateway
from services.gateway.settings import GatewaySettings
from services.provider_sync.app import build as build_provider_sync
from services.provider_sync.settings import ProviderSyncSettings
from services.reconciliation.app import build as build_reconciliation
from services.reconciliation.settings import ReconciliationSettings
from services.webhook_ingest.app import build as build_webhook_ingest
from services.webhook_ingest.settings import WebhookIngestSettings


def parts() -> list[Part]:
    """The gateway last: it is handed the others' apps."""
    return [
        Part("webhook_ingest", _alone(WebhookIngestSettings()), build_webhook_ingest),
        Part("provider_sync", _alone(ProviderSyncSettings()), build_provider_sync, listen=False),
        Part("reconciliation", _alone(ReconciliationSettings()), build_reconciliation, listen=False),
        Part("analytics", _alone(AnalyticsSettings()), build_analytics, listen=False),
        Part("gateway", _alone(GatewaySettings()), build_gateway),
    ]


def _alone(settings: ServiceSettings) -> ServiceSettings:
    """Without the broker that the environment may name: one process needs none."""
    return settings.model_copy(update={"amqp_url": None})
