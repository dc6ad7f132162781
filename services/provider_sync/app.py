"""The composition root: the one file that knows all parts of provider_sync."""

from __future__ import annotations

import httpx

from libs.errors import DependencyDown
from libs.providers.registry import PROVIDERS
from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.provider_sync.consumers import consumers
from services.provider_sync.jobs import SyncWorker
from services.provider_sync.outgoing import make_http
from services.provider_sync.routes import account_routes, campaign_routes, inbox_routes, lead_routes
from services.provider_sync.sealing import Sealer
from services.provider_sync.settings import ProviderSyncSettings


def build(
    platform: Platform, settings: ProviderSyncSettings, *, transport: httpx.AsyncBaseTransport | None = None
) -> Service:
    """`transport` stands for the network to providers; tests give a simulator's.

    Raises:
        BadSetting: a key is missing or malformed.
    """
    sealer = Sealer(settings.key_for_credentials())
    cursors = Cursors(settings.key_for_cursors())
    http = make_http(transport)
    hop = InnerHop(platform.verifier, platform.units)
    hosts = frozenset(host.strip() for host in settings.base_url_hosts.split(",") if host.strip())

    async def ready() -> str:
        try:
            async with platform.database.transaction():
                return ""
        except DependencyDown as error:
            return str(error)

    app = make_app("provider_sync", ready=ready)
    app.include_router(account_routes(hop, cursors, providers=PROVIDERS, sealer=sealer, base_url_hosts=hosts))
    app.include_router(campaign_routes(hop, cursors, channel="email"))
    app.include_router(campaign_routes(hop, cursors, channel="linkedin"))
    app.include_router(lead_routes(hop, cursors))
    app.include_router(inbox_routes(hop, cursors))
    worker = SyncWorker(
        platform.units,
        http,
        sealer,
        providers=PROVIDERS,
        public_webhook_url=settings.public_webhook_url,
        jobs_at_once=settings.jobs_at_once,
        poll_seconds=settings.poll_seconds,
    )
    return Service(
        name="provider_sync",
        app=app,
        consumers=consumers(PROVIDERS),
        jobs=(Job("sync", worker.run),),
        closing=http.aclose,
    )
