"""Composition root: the door in front of the inner routes, its commit, its endpoints."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from libs.providers.registry import PROVIDERS
from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.exports import export_routes
from libs.web.failure_routes import failure_routes
from libs.web.tenant import InnerHop
from services.webhook_ingest import handlers
from services.webhook_ingest.committer import Committer
from services.webhook_ingest.consumers import consumers
from services.webhook_ingest.endpoints import Endpoints
from services.webhook_ingest.exports import EXPORTS
from services.webhook_ingest.front import Front
from services.webhook_ingest.routes import routes
from services.webhook_ingest.settings import WebhookIngestSettings


def build(platform: Platform, settings: WebhookIngestSettings) -> Service:
    """Raises: BadSetting when a trusted proxy is none."""
    trusted_proxies = settings.trusted_networks()
    endpoints = Endpoints(platform.database)
    committer = Committer(
        partial(handlers.keep_deliveries, database=platform.database, source=platform.units.source),
        max_batch=settings.max_batch,
        max_pending=settings.max_pending,
        max_pending_bytes=settings.max_pending_bytes,
    )

    async def ready() -> str:
        return "" if endpoints.are_known else "the endpoints were not read from the database yet"

    app = make_app("webhook-ingest", ready=ready)
    # The login's password is the one secret that all replicas share and nobody else knows.
    cursors = Cursors(urlsplit(platform.database.url.url).password or platform.database.url.url)
    hop = InnerHop(platform.verifier, platform.units)
    app.include_router(routes(hop, cursors, PROVIDERS))
    app.include_router(export_routes(hop, cursors, EXPORTS))
    app.include_router(failure_routes(hop, cursors, "webhook-ingest", may_edit=settings.edit_dead_letters))
    return Service(
        name="webhook_ingest",
        app=Front(app, endpoints=endpoints, committer=committer, providers=PROVIDERS, trusted_proxies=trusted_proxies),
        consumers=consumers(),
        jobs=(Job("endpoints", endpoints.run),),
        closing=committer.close,
        keep_days={"deliveries": settings.delivery_days},
        routed=app,
    )
