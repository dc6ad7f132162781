"""The owner's side of the inner hop, on units of work that only remember."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from libs.errors import Conflict
from libs.ids import CompanyId, OrgId
from libs.messaging.work import UnitOfWork
from libs.tenancy.context import CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from libs.web.app import make_app
from libs.web.tenant import InnerHop

PRIVATE = new_private_key()
REQUEST_ID = "req_" + "7" * 32
CONTEXT = TenantContext(
    "key:1", OrgId(uuid4()), CompanyScope.of([CompanyId(uuid4())]), frozenset({"leads:read", "leads:write"})
)


class RecordingUnits:
    def __init__(self) -> None:
        self.told: list[Any] = []

    @asynccontextmanager
    async def begin(self, org_id: OrgId, scope: CompanyScope, *, actor: str, request_id: str) -> AsyncIterator[Any]:
        self.told.append(("begin", org_id, scope, actor, request_id))
        try:
            yield SimpleNamespace(org_id=org_id)
        except BaseException:
            self.told.append("rollback")
            raise
        self.told.append("commit")


@pytest.fixture
def units() -> RecordingUnits:
    return RecordingUnits()


@pytest.fixture
def app(units) -> FastAPI:
    async def ready() -> str:
        return ""

    app = make_app("provider-sync", ready=ready)
    hop = InnerHop(ContextVerifier([public_key_of(PRIVATE)], "provider-sync"), units)

    @app.get("/leads")
    async def leads(work: UnitOfWork = hop.work("leads:read")) -> dict[str, str]:
        return {"org": str(work.org_id)}

    @app.post("/leads")
    async def add(work: UnitOfWork = hop.work("leads:write")) -> None:
        raise Conflict("it is there already")

    @app.delete("/leads")
    async def remove(work: UnitOfWork = hop.work("leads:delete")) -> None: ...

    @app.get("/whoami")
    async def whoami(context: TenantContext = hop.context("leads:read")) -> str:
        return context.principal

    return app


async def ask(app: FastAPI, method: str, path: str, audience: str | None = "provider-sync") -> httpx.Response:
    headers = {} if audience is None else {HEADER: ContextSigner(PRIVATE).sign(CONTEXT, audience)}
    headers["x-request-id"] = REQUEST_ID
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inner") as client:
        return await client.request(method, path, headers=headers)


async def test_a_route_works_in_the_callers_org_and_companies_and_commits(app, units):
    response = await ask(app, "GET", "/leads")

    assert (response.status_code, response.json()) == (200, {"org": str(CONTEXT.org_id)})
    assert units.told == [("begin", CONTEXT.org_id, CONTEXT.scope, "key:1", REQUEST_ID), "commit"]


async def test_a_refusal_rolls_back(app, units):
    response = await ask(app, "POST", "/leads")

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert units.told[-1] == "rollback"


async def test_without_the_permission_nothing_begins(app, units):
    response = await ask(app, "DELETE", "/leads")

    assert response.status_code == 403
    assert "leads:delete" in response.json()["detail"]
    assert units.told == []


@pytest.mark.parametrize("audience", [None, "analytics"])
async def test_without_a_context_for_this_service_nothing_begins(app, units, audience):
    for method, path in (("GET", "/leads"), ("POST", "/leads"), ("GET", "/whoami")):
        response = await ask(app, method, path, audience)
        assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert units.told == []


async def test_a_route_may_ask_for_the_context_alone(app, units):
    assert (await ask(app, "GET", "/whoami")).json() == "key:1"
    assert units.told == []
