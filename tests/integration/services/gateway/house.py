"""A gateway on a real database with two tenants in it, and owners that only remember what they were asked."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from libs.errors import Unauthenticated
from libs.ids import CompanyId, OrgId, parse_public_id
from libs.tenancy.context import TenantContext
from libs.tenancy.signing import HEADER, ContextVerifier
from libs.web import problems
from libs.web.app import RequestEdge

OWNERS = ("provider-sync", "analytics", "reconciliation", "webhook-ingest")


@dataclass
class Heard:
    """One request as an owner got it."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    context: TenantContext


Reply = Callable[[Heard], Awaitable[Response]]


async def _ok(heard: Heard) -> Response:
    return Response(orjson.dumps({"path": heard.path}), 200, media_type="application/json")


@dataclass
class FakeOwner:
    """Refuses what the gateway did not sign for it, as a real owner does; otherwise answers `reply`."""

    process: str
    verifier: ContextVerifier
    heard: list[Heard] = field(default_factory=list)
    reply: Reply = _ok

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await RequestEdge(self._answer)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            context = self.verifier.verify(request.headers.get(HEADER))
        except Unauthenticated as error:
            await problems.of_error(error, scope["request_id"])(scope, receive, send)
            return
        heard = Heard(
            request.method, request.url.path, request.url.query, dict(request.headers), await request.body(), context
        )
        self.heard.append(heard)
        await (await self.reply(heard))(scope, receive, send)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The owner's address while it listens on a port of its own."""
    # The protocol is named, or asyncio leaves Nagle's algorithm on and each answer waits for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server._serve([listening]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it in no other way
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
        listening.close()


def closed_port() -> str:
    """An address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@dataclass
class Tenant:
    org: str
    company: str
    sibling: str
    admin: str
    manager: str
    viewer: str
    scheduler: str

    @property
    def org_id(self) -> OrgId:
        return OrgId(parse_public_id("org", self.org))

    @property
    def company_id(self) -> CompanyId:
        return CompanyId(parse_public_id("cmp", self.company))


@dataclass
class House:
    app: Any
    owners: dict[str, FakeOwner]
    platform_key: str
    first: Tenant
    second: Tenant
    twin: Any = None  # another replica of `app`

    async def ask(
        self, method: str, path: str, key: str | None = None, *, org: str | None = None, **more: Any
    ) -> httpx.Response:
        return await ask(self.app, method, path, key, org=org, **more)

    def last(self, process: str) -> Heard:
        return self.owners[process].heard[-1]


async def ask(
    app: Any, method: str, path: str, key: str | None = None, *, org: str | None = None, **more: Any
) -> httpx.Response:
    headers = dict(more.pop("headers", {}))
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    if org is not None:
        headers["Outrider-Org"] = org
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.example.com") as client:
        return await client.request(method, path, headers=headers, **more)


async def settle(app: Any, platform_key: str, name: str) -> Tenant:
    """A tenant with two companies and a key of each role. The platform makes the admin's, the admin the rest."""

    async def make(path: str, key: str, body: dict[str, Any], org: str | None = None) -> Any:
        response = await ask(app, "POST", path, key, org=org, json=body)
        assert response.status_code == 201, response.text
        return response.json()

    org = (await make("/v1/organizations", platform_key, {"name": name}))["id"]
    admin = (await make("/v1/api-keys", platform_key, {"name": "org_admin", "role": "org_admin"}, org))["key"]
    company = (await make("/v1/companies", admin, {"name": "Harbour Bakery"}))["id"]
    sibling = (await make("/v1/companies", admin, {"name": "Hill Cycles"}))["id"]
    keys = []
    for role in ("company_manager", "company_viewer", "scheduler"):
        wanted = {"name": role, "role": role, "company_ids": [company] if role.startswith("company_") else []}
        keys.append((await make("/v1/api-keys", admin, wanted))["key"])
    return Tenant(org, company, sibling, admin, *keys)


async def staff_key(house: House, role: str = "super_admin", **more: Any) -> str:
    """One more key of the platform's."""
    body = {"name": role, "role": role, **more}
    response = await house.ask("POST", "/v1/api-keys", house.platform_key, json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["key"])


async def assume(house: House, key: str, org: str, *, write: bool = False, minutes: int = 30) -> str:
    """Staff go into an org; answers the assumption's id."""
    body = {"organization_id": org, "reason": "ticket 4711", "minutes": minutes, "write": write}
    response = await house.ask("POST", "/v1/assumptions", key, json=body)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def without_request_id(response: httpx.Response) -> tuple[int, Any, dict[str, str]]:
    """All that a caller sees of an answer, but for what every answer has of its own: its id, and how many may follow."""
    body = response.json()
    assert body.pop("request_id") == response.headers["x-request-id"]
    return (
        response.status_code,
        body,
        {k: v for k, v in response.headers.items() if k != "x-request-id" and "ratelimit" not in k},
    )
