"""Composition root of reconciliation."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from libs.database.engine import Database
from libs.errors import DependencyDown
from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.reconciliation.consumers import consumers
from services.reconciliation.jobs import watch
from services.reconciliation.routes import routes
from services.reconciliation.settings import ReconciliationSettings


def build(platform: Platform, settings: ReconciliationSettings) -> Service:
    async def ready() -> str:
        return await _why_not_ready(platform.database)

    app = make_app("reconciliation", ready=ready)
    # The login's password is the one secret that all replicas share and nobody else knows.
    cursors = Cursors(urlsplit(platform.database.url.url).password or platform.database.url.url)
    app.include_router(routes(InnerHop(platform.verifier, platform.units), cursors))
    watching = partial(
        watch,
        platform.database,
        platform.units,
        timeout_seconds=settings.run_timeout_seconds,
        every_seconds=settings.watch_seconds,
    )
    return Service("reconciliation", app, consumers=consumers(), jobs=(Job("watch", watching),))


async def _why_not_ready(database: Database) -> str:
    try:
        async with database.transaction():
            return ""
    except DependencyDown as error:
        return str(error)
