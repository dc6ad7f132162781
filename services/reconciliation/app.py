"""Composition root of reconciliation."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from libs.runtime.service import Job, Platform, Service
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.exports import export_routes
from libs.web.failure_routes import failure_routes
from libs.web.tenant import InnerHop
from services.reconciliation.consumers import consumers
from services.reconciliation.exports import EXPORTS
from services.reconciliation.jobs import schedule, watch
from services.reconciliation.routes import routes, schedule_routes
from services.reconciliation.settings import ReconciliationSettings


def build(platform: Platform, settings: ReconciliationSettings) -> Service:
    app = make_app("reconciliation", ready=platform.database.why_away)
    # The login's password is the one secret that all replicas share and nobody else knows.
    cursors = Cursors(urlsplit(platform.database.url.url).password or platform.database.url.url)
    hop = InnerHop(platform.verifier, platform.units)
    app.include_router(routes(hop, cursors))
    app.include_router(schedule_routes(hop, cursors))
    app.include_router(export_routes(hop, cursors, EXPORTS))
    app.include_router(failure_routes(hop, cursors, "reconciliation", may_edit=settings.edit_dead_letters))
    watching = partial(
        watch,
        platform.database,
        platform.units,
        timeout_seconds=settings.run_timeout_seconds,
        every_seconds=settings.watch_seconds,
    )
    scheduling = partial(schedule, platform.database, platform.units, every_seconds=settings.schedule_seconds)
    jobs = (Job("watch", watching), Job("schedules", scheduling))
    return Service("reconciliation", app, consumers=consumers(), jobs=jobs)
