"""The composition root: the one file that knows all parts of provider_sync."""

from __future__ import annotations

from datetime import timedelta

import httpx

from libs.providers.registry import PROVIDERS
from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.exports import export_routes
from libs.web.failure_routes import failure_routes
from libs.web.tenant import InnerHop
from services.provider_sync.consumers import consumers
from services.provider_sync.effect_worker import EffectWorker
from services.provider_sync.endpoint_routes import endpoint_routes
from services.provider_sync.exports import EXPORTS
from services.provider_sync.handlers.operations import Operations
from services.provider_sync.jobs import SyncWorker
from services.provider_sync.operation_routes import (
    account_test_routes,
    campaign_change_routes,
    operation_routes,
    reply_routes,
)
from services.provider_sync.outgoing import guarded, make_http
from services.provider_sync.routes import account_routes, campaign_routes, inbox_routes, lead_routes
from services.provider_sync.sealing import Sealer
from services.provider_sync.settings import ProviderSyncSettings
from services.provider_sync.snapshot_routes import snapshot_routes
from services.provider_sync.sync_routes import sync_routes
from services.provider_sync.sync_worker import SyncRunWorker, SyncSchedule


def build(
    platform: Platform, settings: ProviderSyncSettings, *, transport: httpx.AsyncBaseTransport | None = None
) -> Service:
    """`transport` stands for the network to providers; tests give a simulator's.

    Raises:
        BadSetting: a key is missing or malformed, or loopback is allowed in production.
    """
    providers = settings.providers(PROVIDERS)
    sealer = Sealer(settings.key_ring)
    cursors = Cursors(settings.key_for_cursors())
    allow_loopback = settings.may_call_loopback()
    http = make_http(transport or guarded(allow_loopback=allow_loopback))
    hop = InnerHop(platform.verifier, platform.units)

    app = make_app("provider_sync", ready=platform.database.why_away)
    app.include_router(account_routes(hop, cursors, providers=providers, sealer=sealer, allow_loopback=allow_loopback))
    app.include_router(endpoint_routes(hop, cursors, providers=providers, sealer=sealer))
    app.include_router(campaign_routes(hop, cursors, channel="email"))
    app.include_router(campaign_routes(hop, cursors, channel="linkedin"))
    app.include_router(lead_routes(hop, cursors))
    app.include_router(inbox_routes(hop, cursors))
    operations = Operations(platform.units, http, providers)
    app.include_router(campaign_change_routes(hop, operations, channel="email"))
    app.include_router(campaign_change_routes(hop, operations, channel="linkedin"))
    app.include_router(reply_routes(hop, operations))
    app.include_router(operation_routes(hop))
    every = timedelta(seconds=settings.sync_every_seconds)
    app.include_router(sync_routes(hop, cursors, units=platform.units, providers=providers, every=every))
    app.include_router(snapshot_routes(hop, units=platform.units, providers=providers))
    app.include_router(export_routes(hop, cursors, EXPORTS))
    app.include_router(account_test_routes(hop))
    app.include_router(failure_routes(hop, cursors, "provider-sync", may_edit=settings.edit_dead_letters))
    effects = EffectWorker(
        platform.units,
        http,
        sealer,
        providers=providers,
        at_once=settings.jobs_at_once,
        poll_seconds=settings.poll_seconds,
    )
    worker = SyncWorker(
        platform.units,
        http,
        sealer,
        providers=providers,
        public_webhook_url=settings.public_webhook_url,
        jobs_at_once=settings.jobs_at_once,
        poll_seconds=settings.poll_seconds,
        verify_every_seconds=settings.verify_webhooks_every_seconds,
    )
    syncs = SyncRunWorker(
        platform.units,
        http,
        sealer,
        providers=providers,
        at_once=settings.jobs_at_once,
        poll_seconds=settings.poll_seconds,
        full_every=timedelta(seconds=settings.sync_full_every_seconds),
    )
    jobs = [Job("sync", worker.run), Job("effects", effects.run), Job("sync_runs", syncs.run)]
    if settings.sync_every_seconds:
        schedule = SyncSchedule(
            platform.units,
            providers=providers,
            every_seconds=settings.sync_every_seconds,
            poll_seconds=min(10.0, settings.sync_every_seconds),
        )
        jobs.append(Job("sync_schedule", schedule.run))
    return Service(
        name="provider_sync",
        app=app,
        consumers=consumers(providers, sealer),
        jobs=tuple(jobs),
        closing=http.aclose,
        effect_tables=("sync_jobs", "effects"),
    )
