"""Every route of the house asks for its permission, both times: the gateway, and the owner that would answer.

The apps are the composition roots' own, so a route that is added without a check is found. No database: a request that was
let through ends where a unit of work would begin.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.types import ASGIApp

from libs.database.engine import Database, DatabaseUrl
from libs.errors import Conflict
from libs.ids import CompanyId, OrgId, new_id
from libs.messaging.work import Units
from libs.runtime.service import Platform
from libs.tenancy.context import CompanyScope, TenantContext
from libs.tenancy.roles import PERMISSIONS, PLATFORM_ROLES, Role
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.gateway.app import build as build_gateway
from services.gateway.domain import Caller, Principal
from services.gateway.forwarding import FORWARDS, GATHERED
from services.gateway.gate import Gate
from services.gateway.settings import GatewaySettings
from services.provider_sync.app import build as build_provider_sync
from services.provider_sync.settings import ProviderSyncSettings
from services.reconciliation.app import build as build_reconciliation
from services.reconciliation.settings import ReconciliationSettings
from services.webhook_ingest.app import build as build_webhook_ingest
from services.webhook_ingest.settings import WebhookIngestSettings
from tests.integration.services.gateway.house import OWNERS, FakeOwner

ORG, COMPANY = OrgId(new_id()), CompanyId(new_id())
SCOPE = CompanyScope.of([COMPANY])
EVERYTHING = frozenset().union(*PERMISSIONS.values())
PRIVATE = new_private_key()
PUBLIC = public_key_of(PRIVATE)

# Permissions of the gateway's own routes are named after the first part of the path: read to GET, write to all else.
OWN = {"api-keys": "keys", "audit-log": "audit"}
ANSWERED = {
    "GET /v1/me": ("answered",),  # from what the gate knows, without a unit of work
    "GET /v1/exports": ("upstream_unavailable",),  # from what owners say, and these here say nothing of it
}
IN_NO_ORG = {"POST /v1/organizations", "GET /v1/assumptions"}
ASKS_NOBODY = re.compile(r"GET /health/")


# What a route wants that looks at its body before anything is begun.
BODIES: dict[str, Any] = {
    "POST /campaigns": {"account_id": "acc_" + "0" * 31 + "1", "name": "Autumn"},
    "PATCH /campaigns/{}": {"new_leads_per_day": 7},
    "PUT /email/campaigns/{}/sequence": {"steps": [{"delay_days": 0, "variants": [{"subject": "", "body_html": ""}]}]},
    "PUT /linkedin/campaigns/{}/sequence": {"first": {"kind": "end"}},
    "POST /campaigns/{}/leads": {
        "leads": [{"email": "ada@example.com", "profile_url": "https://www.linkedin.com/in/ada-example"}]
    },
    "POST /inbox/conversations/{}/replies": {"text": "Thursday at ten."},
    "POST /provider-accounts/{}/syncs": {},
    "POST /operations/{}/resolve": {"outcome": "done", "note": "seen"},
}


class Begun(Conflict):
    code = "begun"


@dataclass
class NoUnits:
    """Units of work that never begin; `told` has whose they would have been."""

    told: list[tuple[OrgId, CompanyScope | None]] = field(default_factory=list)
    source: str = "nobody"

    @property
    def database(self) -> NoUnits:
        return self

    @asynccontextmanager
    async def begin(self, org_id: OrgId, scope: CompanyScope | None = None, **_: str) -> AsyncIterator[Any]:
        self.told.append((org_id, scope))
        raise Begun("it was let through")
        yield

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        raise Begun("it was let through")
        yield


@dataclass
class House:
    app: ASGIApp
    units: NoUnits
    close: Any = None

    @property
    def routes(self) -> set[str]:
        """`GET /leads/{lead_id}` of every route but the health checks."""
        own = next((part for part in (self.app, *vars(self.app).values()) if isinstance(part, FastAPI)), None)
        assert own is not None
        found = {f"{method.upper()} {path}" for path, methods in own.openapi()["paths"].items() for method in methods}
        return {route for route in found if not ASKS_NOBODY.match(route)}


def house(process: str) -> House:
    """The service as it is built for production, on a database that is not there."""
    service, units = process.replace("-", "_"), NoUnits()
    database = Database(
        DatabaseUrl("postgresql://a:b@127.0.0.1:1/none", service), service=service, dispatch_role="none"
    )
    owners: dict[str, ASGIApp] = {}
    if process == "gateway":
        owners = {name: FakeOwner(name, ContextVerifier([PUBLIC], name)) for name in OWNERS}
    platform = Platform(database, cast(Units, units), ContextVerifier([PUBLIC], process), owners)
    if process == "gateway":
        built = build_gateway(
            platform, GatewaySettings(key_pepper=SecretStr("pepper"), context_private_key=SecretStr(PRIVATE))
        )
    elif process == "provider-sync":
        key = SecretStr("00" * 32)
        built = build_provider_sync(platform, ProviderSyncSettings(credential_key=key, cursor_key=key))
    elif process == "analytics":
        built = build_analytics(platform, AnalyticsSettings())
    elif process == "reconciliation":
        built = build_reconciliation(platform, ReconciliationSettings())
    else:
        built = build_webhook_ingest(platform, WebhookIngestSettings())
    return House(built.app, units, built.closing)


@asynccontextmanager
async def opened(process: str) -> AsyncIterator[House]:
    made = house(process)
    try:
        yield made
    finally:
        if made.close is not None:
            await made.close()


async def ask(app: ASGIApp, route: str, headers: dict[str, str] | None = None) -> httpx.Response:
    kind = "acc" if "/provider-accounts/" in route else "key"
    method, path = re.sub(r"\{\w*\}", f"{kind}_{'0' * 31}1", route).split(" ")
    known = shape(route).replace("/v1", "")
    body = BODIES.get(known, BODIES.get(known.replace("/email", "").replace("/linkedin", "")))
    if body is None and method in ("POST", "PATCH"):
        body = {"name": "Harbour Bakery"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://house.example.com") as client:
        return await client.request(method, path, headers=headers, json=body)


def shape(route: str) -> str:
    return re.sub(r"\{\w+\}", "{}", route)


# Owners


def inner(process: str) -> dict[str, str]:
    """Route -> permission, as the gateway's tables have it; the guide in docs/api.md shows the same."""
    return {
        shape(f"{forward.method} {forward.path.removeprefix('/v1')}"): forward.permission
        for forward in (*FORWARDS, *GATHERED)
        if process in forward.owners
    }


@pytest.mark.parametrize("process", OWNERS)
async def test_an_owner_has_the_routes_that_are_forwarded_to_it_and_no_other(process: str) -> None:
    async with opened(process) as owner:
        assert {shape(route) for route in owner.routes} == set(inner(process))


@pytest.mark.parametrize("process", OWNERS)
async def test_an_owner_wants_the_permission_which_the_gateway_wanted(process: str) -> None:
    signer = ContextSigner(PRIVATE)

    def context(permissions: frozenset[str]) -> dict[str, str]:
        return {HEADER: signer.sign(TenantContext("key:1", ORG, SCOPE, permissions), process)}

    async with opened(process) as owner:
        for route, permission in inner(process).items():
            for refused in (context(EVERYTHING - {permission}), context(frozenset())):
                response = await ask(owner.app, route, refused)
                assert (response.status_code, response.json()["code"]) == (403, "forbidden"), route
            assert (await ask(owner.app, route)).status_code == 401, route
            assert owner.units.told == [], f"{route} began before it asked"

            response = await ask(owner.app, route, context(frozenset({permission})))
            assert response.json()["code"] == "begun", (route, response.text)
            assert owner.units.told == [(ORG, SCOPE)], f"{route} acts for somebody else"
            owner.units.told.clear()


# The gateway


class Narrow(Principal):
    """Somebody with certain permissions and no others."""

    _may: frozenset[str]

    @property
    def permissions(self) -> frozenset[str]:
        return self._may


def caller_who_may(permissions: frozenset[str]) -> Caller:
    who = Narrow(new_id(), Role.COMPANY_VIEWER, ORG, frozenset({COMPANY}))
    object.__setattr__(who, "_may", permissions)
    return Caller(who, ORG)


Ask = Callable[[str, frozenset[str]], Awaitable[httpx.Response]]


@asynccontextmanager
async def gateway_for_all(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[House, Ask]]:
    """A gateway, and a way to ask it for a route as somebody new who may that much."""
    who: list[Caller] = []

    async def admit(self: Gate, scope: Any) -> Caller:
        return who[-1]

    with monkeypatch.context() as patch:
        patch.setattr(Gate, "admit", admit)
        async with opened("gateway") as made:

            async def ask_as(route: str, may: frozenset[str]) -> httpx.Response:
                who.append(caller_who_may(may))
                made.units.told.clear()
                return await ask(made.app, route)

            yield made, ask_as


def own_permission(route: str) -> str:
    method, path = route.split(" ")
    what = path.split("/")[2]
    return f"{OWN.get(what, what.replace('-', '_'))}:{'read' if method == 'GET' else 'write'}"


async def test_a_route_of_the_gateway_wants_its_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    async with gateway_for_all(monkeypatch) as (made, ask_as):
        assert len(made.routes) >= 9
        for route in sorted(made.routes):
            permission = own_permission(route)
            assert permission in EVERYTHING, route
            for may in (EVERYTHING - {permission}, frozenset[str]()):
                response = await ask_as(route, may)
                assert (response.status_code, response.json()["code"]) == (403, "forbidden"), route
                assert made.units.told == [], f"{route} began before it asked"
            response = await ask_as(route, frozenset({permission}))
            code = response.json().get("code", "answered")
            assert code in ("begun", "invalid_request", "not_found", *ANSWERED.get(route, ())), (route, response.text)
            if route not in IN_NO_ORG:
                assert all(org == ORG for org, _ in made.units.told), route
            if route == "GET /v1/companies":
                assert made.units.told == [(ORG, SCOPE)]


async def test_a_forward_wants_its_permission_and_hands_on_no_more_than_the_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners: dict[str, FakeOwner] = {}
    original = FakeOwner.__init__

    def remember(self: FakeOwner, process: str, *rest: Any) -> None:
        original(self, process, *rest)
        owners[process] = self

    monkeypatch.setattr(FakeOwner, "__init__", remember)
    async with gateway_for_all(monkeypatch) as (made, ask_as):
        assert made.routes.isdisjoint(f"{forward.method} {forward.path}" for forward in FORWARDS)
        for forward in FORWARDS:
            route = f"{forward.method} {forward.path}"
            for may in (EVERYTHING - {forward.permission}, frozenset[str]()):
                response = await ask_as(route, may)
                assert (response.status_code, response.json()["code"]) == (403, "forbidden"), route
                assert not any(owner.heard for owner in owners.values()), f"{route} was handed on before it was judged"
            assert (await ask_as(route, frozenset({forward.permission}))).status_code == 200, route
            (heard,) = owners[forward.owner].heard
            owners[forward.owner].heard.clear()
            assert heard.context.permissions == {forward.permission}, route
            assert (heard.context.org_id, heard.context.scope) == (ORG, SCOPE), route


@pytest.mark.parametrize("role", Role)
def test_a_role_may_what_its_name_says(role: Role) -> None:
    """Rules that no list can outgrow: viewers change nothing, companies' roles see no keys, only staff make organizations."""
    may = PERMISSIONS[role]
    changing = {permission for permission in may if not permission.endswith(":read")}

    if role is Role.COMPANY_VIEWER:
        assert changing == set()
    if role is Role.COMPANY_MANAGER:
        assert changing == {
            "campaigns:write", "inbox:write", "leads:write", "operations:write", "reconciliations:start", "schedules:write",
            "syncs:start",
        }  # fmt: skip
    if role is Role.SCHEDULER:
        assert may == {"schedules:run"}
    if role in (Role.COMPANY_VIEWER, Role.COMPANY_MANAGER):
        assert not may & {"keys:read", "users:read", "dead_letters:read", "deliveries:read", "ledger:read"}
    if role is Role.OPERATOR:
        assert changing == set()
        assert not may & {"keys:read", "users:read", "leads:read", "inbox:read", "delivery_bodies:read", "audit:read"}
    for of_staff in ("organizations:write", "assumptions:write"):
        assert (of_staff in may) == (role is Role.SUPER_ADMIN)
    assert may <= PERMISSIONS[Role.SUPER_ADMIN]
    assert (role in PLATFORM_ROLES) == (role in (Role.SUPER_ADMIN, Role.OPERATOR))
