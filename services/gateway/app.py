"""Composition root of the gateway."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from fastapi import FastAPI

from libs.errors import DependencyDown
from libs.runtime.service import Job, Platform, Service
from libs.tenancy.signing import ContextSigner
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.failure_routes import failure_routes
from libs.web.tenant import InnerHop
from services.gateway.consumers import consumers
from services.gateway.denials import Denials
from services.gateway.export_routes import export_routes
from services.gateway.forwarding import Table
from services.gateway.front import Front
from services.gateway.gate import Gate
from services.gateway.jwks import Jwks, over_http
from services.gateway.keys import Peppers
from services.gateway.lifecycle_routes import lifecycle_routes
from services.gateway.owners import Owners
from services.gateway.rates import Limits, RateGate
from services.gateway.routes import own_routes
from services.gateway.settings import GatewaySettings
from services.gateway.sign_in import SignIn
from services.gateway.strangers import Strangers


def build(platform: Platform, settings: GatewaySettings) -> Service:
    peppers = Peppers(settings.pepper())
    jobs = []
    sign_in = None
    if settings.oidc is not None:
        jwks = Jwks(over_http(settings.oidc.jwks_url))
        sign_in = SignIn(jwks, issuer=settings.oidc.issuer, audiences=settings.oidc.audiences)
        jobs.append(Job("jwks", jwks.run))
    rates = RateGate(platform.database, Limits(settings.rate_limit_per_org, settings.rate_limit_per_key))
    strangers = Strangers(settings.failed_sign_ins_per_address, settings.trusted_networks())
    gate = Gate(platform.database, peppers, sign_in, rates, strangers)
    jobs.append(Job("key uses", gate.uses.run))
    cursors = Cursors(peppers.derived("cursors"))

    # For its own dead letters the gateway is an owner as the others are, asked in the same way; nobody outside reaches this.
    @cache
    def inner() -> FastAPI:
        app = make_app("gateway", ready=platform.database.why_away)
        app.include_router(
            failure_routes(
                InnerHop(platform.verifier, platform.units), cursors, "gateway", may_edit=settings.edit_dead_letters
            )
        )
        return app

    owners = Owners(settings.owners, platform.owners, inner=inner, deadline_seconds=settings.owner_deadline_seconds)

    async def closing() -> None:
        await owners.close()
        with suppress(DependencyDown):
            await gate.uses.flush()

    own = make_app("gateway", ready=platform.database.why_away)
    own.router.redirect_slashes = False  # a redirect would be built from the caller's Host header
    own.include_router(lifecycle_routes(gate, platform.units))
    signer = ContextSigner(settings.private_key())
    own.include_router(own_routes(gate, platform.units, peppers, cursors))
    own.include_router(export_routes(gate, platform.units, cursors, owners, signer))
    front = Front(
        own,
        gate=gate,
        signer=signer,
        owners=owners,
        table=Table(),
        denials=Denials(platform.units),
    )
    return Service("gateway", front, consumers=consumers(), jobs=tuple(jobs), closing=closing, routed=own)
