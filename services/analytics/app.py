"""Composition root of analytics."""

from __future__ import annotations

from urllib.parse import urlsplit

from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.exports import export_routes
from libs.web.failure_routes import failure_routes
from libs.web.tenant import InnerHop
from services.analytics.auditor import Auditor
from services.analytics.consumers import consumers
from services.analytics.exports import EXPORTS
from services.analytics.routes import routes
from services.analytics.settings import AnalyticsSettings


def build(platform: Platform, settings: AnalyticsSettings) -> Service:
    app = make_app("analytics", ready=platform.database.why_away)
    hop = InnerHop(platform.verifier, platform.units)
    # The login's password is the one secret that all replicas share and nobody else knows.
    cursors = Cursors(urlsplit(platform.database.url.url).password or platform.database.url.url)
    app.include_router(routes(hop, cursors, settle_seconds=settings.settle_seconds))
    app.include_router(export_routes(hop, cursors, EXPORTS))
    auditor = Auditor(platform.database, settle_seconds=settings.settle_seconds, every_seconds=settings.audit_seconds)
    app.include_router(failure_routes(hop, cursors, "analytics", may_edit=settings.edit_dead_letters))
    return Service("analytics", app, consumers=consumers(), jobs=(Job("auditor", auditor.run),))
