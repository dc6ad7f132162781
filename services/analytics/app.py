"""Composition root of analytics."""

from __future__ import annotations

from urllib.parse import urlsplit

from libs.database.engine import Database
from libs.errors import DependencyDown
from libs.runtime.service import Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.analytics.consumers import consumers
from services.analytics.routes import routes
from services.analytics.settings import AnalyticsSettings


def build(platform: Platform, settings: AnalyticsSettings) -> Service:
    async def ready() -> str:
        return await _why_not_ready(platform.database)

    app = make_app("analytics", ready=ready)
    hop = InnerHop(platform.verifier, platform.units)
    # The login's password is the one secret that all replicas share and nobody else knows.
    cursors = Cursors(urlsplit(platform.database.url.url).password or platform.database.url.url)
    app.include_router(routes(hop, cursors, settle_seconds=settings.settle_seconds))
    return Service("analytics", app, consumers=consumers())


async def _why_not_ready(database: Database) -> str:
    try:
        async with database.transaction():
            return ""
    except DependencyDown as error:
        return str(error)
