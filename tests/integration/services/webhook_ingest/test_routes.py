"""The inner routes, through the service as it is built for production."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from libs.ids import CompanyId, OrgId, new_id, public_id
from libs.messaging.work import Units
from libs.runtime.service import Platform, Service
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.webhook_ingest.app import build
from services.webhook_ingest.settings import WebhookIngestSettings
from tests.integration.services.webhook_ingest.conftest import SOURCE, Door, Mailbox, sent


class Caller:
    def __init__(self, service: Service, signer: ContextSigner) -> None:
        transport = httpx.ASGITransport(service.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://door")
        self._signer = signer

    async def get(
        self, org_id: OrgId, path: str, *, scope: CompanyScope = ALL_COMPANIES, may: str = ""
    ) -> httpx.Response:
        permissions = {may} if may else {"deliveries:read", "delivery_bodies:read"}
        context = TenantContext("key:1", org_id, scope, frozenset(permissions))
        return await self.http.get(path, headers={HEADER: self._signer.sign(context, SOURCE)})


@pytest.fixture
async def caller(door: Door, units: Callable[[str], Units]) -> AsyncIterator[Caller]:
    key = new_private_key()
    verifier = ContextVerifier([public_key_of(key)], SOURCE)
    service = build(Platform(door.database, units("webhook_ingest"), verifier), WebhookIngestSettings())
    one = Caller(service, ContextSigner(key))
    yield one
    await one.http.aclose()
    assert service.closing is not None
    await service.closing()


async def test_the_list_is_newest_first_and_one_orgs(
    caller: Caller, door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, theirs = boxes
    bodies = [sent(1), sent(1), sent(1, subject="b"), b"garbage", sent(2)]
    ids = [(await caller.http.post(mine.path, content=body)).headers["x-request-id"] for body in bodies]
    await door.post(theirs, sent(1))

    pages: list[Any] = []
    path = "/deliveries?limit=2"
    while path:
        answer = (await caller.get(mine.org_id, path)).json()
        pages.append(answer["data"])
        path = f"/deliveries?limit=2&after={answer['next_cursor']}" if answer["has_more"] else ""
        assert answer["as_of"]

    listed = [one for page in pages for one in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [one["id"].replace("dlv_", "req_") for one in listed] == ids[::-1]
    assert [one["verdict"] for one in listed] == ["accepted", "quarantined", "conflict", "duplicate", "accepted"]
    assert listed[3]["duplicate_of"] == listed[4]["id"]
    assert listed[1]["quarantine_reason"] == "not JSON"
    assert listed[0]["account_id"] == public_id("acc", mine.account_id)
    assert listed[0]["size_bytes"] == len(bodies[-1])
    assert "body" not in str(listed[0].keys() - {"body_sha256"})
    only = (await caller.get(mine.org_id, "/deliveries?verdict=duplicate")).json()
    assert [one["id"] for one in only["data"]] == [listed[3]["id"]]
    assert len((await caller.get(theirs.org_id, "/deliveries")).json()["data"]) == 1


async def test_the_detail_has_the_bytes(caller: Caller, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    body = b"\xff\x00 raw"
    posted = await caller.http.post(mine.path, content=body, headers={"user-agent": "robin"})
    path = "/deliveries/" + posted.headers["x-request-id"].replace("req_", "dlv_")

    found = await caller.get(mine.org_id, path)

    assert base64.b64decode(found.json()["body_base64"]) == body
    assert found.json()["headers"] == {"user-agent": "robin"}
    assert (await caller.get(theirs.org_id, path)).status_code == 404
    assert (await caller.get(mine.org_id, "/deliveries/dlv_x")).status_code == 404


async def test_who_may_read(caller: Caller, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    one_company = CompanyScope.of([CompanyId(new_id())])
    cursor = (await caller.get(theirs.org_id, "/deliveries?limit=1")).json()["next_cursor"]
    assert cursor is None

    assert (await caller.http.get("/deliveries")).status_code == 401
    assert (await caller.get(mine.org_id, "/deliveries", may="campaigns:read")).status_code == 403
    assert (await caller.get(mine.org_id, "/deliveries", scope=one_company)).status_code == 403
    assert (await caller.get(mine.org_id, "/deliveries?verdict=nonsense")).status_code == 422
    assert (await caller.get(mine.org_id, "/deliveries?after=nonsense")).status_code == 422


async def test_ready_once_the_endpoints_are_known(caller: Caller, boxes: tuple[Mailbox, Mailbox]) -> None:
    before = await caller.http.get("/health/ready")
    await caller.http.post(boxes[0].path, content=b"{}")
    after = await caller.http.get("/health/ready")

    assert (before.status_code, after.status_code) == (503, 200)
