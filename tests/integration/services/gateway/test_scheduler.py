"""A scheduler's key against the gateway and the reconciliation that really stands behind it: it starts what is due, once,
and there is no way round that."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.responses import Response

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.contracts.event import registry
from libs.database.engine import Database
from libs.ids import new_id, public_id
from libs.messaging.work import Units
from libs.runtime.service import Platform
from services.gateway.forwarding import FORWARDS
from services.gateway.gate import KEY_SECONDS
from services.gateway.owners import Inner, call_app
from services.reconciliation.app import build
from services.reconciliation.handlers.accounts import keep_accounts
from services.reconciliation.repository.schedules import ScheduleRepository
from services.reconciliation.settings import ReconciliationSettings
from tests.integration.services.gateway.house import Heard, House, Tenant, ask, without_request_id
from tests.integration.services.gateway.test_matrix import TABLE
from tests.integration.services.reconciliation.conftest import Agency

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
SCHEDULES = "/v1/reconciliation-schedules"


def slot(hours: int) -> str:
    return (NOON + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Timed:
    """A house whose clock of slots stands at `now`, and an hourly schedule from noon on in each of its tenants."""

    house: House
    now: datetime
    mine: str = ""
    theirs: str = ""

    async def starts(self, key: str | None, schedule: str, hours: int, app: Any = None, **more: Any) -> httpx.Response:
        address = f"{SCHEDULES}/{schedule}/slots/{slot(hours)}"
        return await ask(app or self.house.app, "PUT", address, key, **more)

    async def runs(self, tenant: Tenant) -> list[dict[str, Any]]:
        answer = await self.house.ask("GET", "/v1/reconciliations", tenant.admin)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


@pytest.fixture
async def timed(
    house: House, database: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> Timed:  # fmt: skip
    held = Timed(house, NOON - timedelta(minutes=30))

    async def now(_: ScheduleRepository) -> datetime:
        return held.now

    monkeypatch.setattr(ScheduleRepository, "now", now)
    owner, units = house.owners["reconciliation"], Units(database("reconciliation"), "reconciliation")
    real = build(Platform(units.database, units, owner.verifier), ReconciliationSettings())

    async def reply(heard: Heard) -> Response:
        headers = [(name.encode(), value.encode()) for name, value in heard.headers.items() if name != "content-length"]
        answer = await call_app(
            real.app, Inner(heard.method, heard.path, heard.query.encode(), headers, heard.body)
        )  # fmt: skip
        return Response(answer.body, answer.status, {name.decode(): value.decode() for name, value in answer.headers})

    owner.reply = reply
    account = new_id()  # one id in both: nothing but the org tells them apart
    ids = []
    for tenant in (house.first, house.second):
        agency = Agency(tenant.org_id, account, tenant.company_id)
        async with units.begin(tenant.org_id) as work:
            await keep_accounts([registry.open(agency.account())], work)  # type: ignore[list-item]
        body = {"account_id": public_id("acc", account), "interval_seconds": 3600, "anchor": slot(0)}
        made = await house.ask("POST", SCHEDULES, tenant.admin, json=body)
        assert made.status_code == 201, made.text
        ids.append(made.json()["id"])
    held.mine, held.theirs = ids
    return held


async def test_it_starts_the_slot_that_is_due_and_reads_nothing(timed: Timed) -> None:
    house, key = timed.house, timed.house.first.scheduler
    early = await timed.starts(key, timed.mine, 0)
    assert (early.status_code, early.json()["code"]) == (409, "not_due")
    timed.now = NOON

    started = await timed.starts(key, timed.mine, 0)

    assert started.status_code == 202, started.text
    [run] = await timed.runs(house.first)
    assert (run["id"], run["company_id"]) == (started.json()["run_id"], house.first.company)
    assert run["requested_by"].startswith("key:")
    assert await timed.runs(house.second) == []
    reads = (
        f"/v1/reconciliations/{run['id']}",
        f"{SCHEDULES}/{timed.mine}",
        f"{SCHEDULES}/{timed.mine}/slots",
        "/v1/me",
    )
    for path in reads:
        assert (await house.ask("GET", path, key)).status_code == 403, path


async def test_every_other_route_is_refused_before_an_owner_hears_of_it(timed: Timed) -> None:
    house = timed.house
    routes = {f"{forward.method} {forward.path}" for forward in FORWARDS} | set(TABLE.cells["gateway, members"])
    routes.remove("PUT /v1/reconciliation-schedules/{id}/slots/{slot}")
    heard_before = {name: len(owner.heard) for name, owner in house.owners.items()}
    for route in sorted(routes):
        method, path = route.split(" ")
        path = re.sub(r"\{\w+\}", timed.mine, path)
        response = await house.ask(method, path, house.first.scheduler, json=None if method == "GET" else {})
        assert (response.status_code, response.json()["code"]) == (403, "forbidden"), route
    assert {name: len(owner.heard) for name, owner in house.owners.items()} == heard_before


async def test_ten_at_once_at_two_gateways_are_one_run(timed: Timed) -> None:
    timed.now, house = NOON, timed.house

    answers = await asyncio.gather(
        *(timed.starts(house.first.scheduler, timed.mine, 0, app) for app in (house.app, house.twin) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9
    assert len(await timed.runs(house.first)) == 1
    assert (await timed.starts(house.second.scheduler, timed.theirs, 0)).status_code == 202


async def test_it_cannot_choose_what_is_compared(timed: Timed) -> None:
    timed.now, key = NOON, timed.house.first.scheduler
    company = timed.house.first.company
    for query in (
        f"?company_id={company}",
        f"?company_id=cmp_{'9' * 32}",
        "?all_companies=true",
        "?all_companies=false&x",
    ):
        refused = await ask(timed.house.app, "PUT", f"{SCHEDULES}/{timed.mine}/slots/{slot(0)}{query}", key)
        assert (refused.status_code, refused.json()["code"]) in ((403, "forbidden"), (422, "invalid_request")), query
    for more in ({"json": {"company_id": company}}, {"params": {"account_id": "acc_1"}}):
        assert (await timed.starts(key, timed.mine, 0, **more)).status_code == 422

    assert await timed.runs(timed.house.first) == []


async def test_another_orgs_schedule_is_as_one_that_never_was(timed: Timed) -> None:
    timed.now, key = NOON, timed.house.first.scheduler
    theirs = await timed.starts(key, timed.theirs, 0)
    nobodys = await timed.starts(key, public_id("sch", new_id()), 0)
    named = await timed.starts(key, timed.theirs, 0, org=timed.house.second.org)

    assert theirs.status_code == 404
    assert without_request_id(theirs) == without_request_id(nobodys)
    assert named.status_code == 404
    assert await timed.runs(timed.house.second) == []


async def test_a_revoked_key_starts_nothing_within_five_seconds_at_every_gateway(timed: Timed) -> None:
    timed.now, house = NOON, timed.house
    moment = 1000.0
    house.twin._gate.keys._clock = lambda: moment
    assert (await timed.starts(house.first.scheduler, timed.mine, 0, house.twin)).status_code == 202
    key_id = "key_" + house.first.scheduler.split("_")[2]
    assert (await house.ask("DELETE", f"/v1/api-keys/{key_id}", house.first.admin)).status_code == 204
    timed.now = NOON + timedelta(hours=1)
    moment += KEY_SECONDS

    for app in (house.app, house.twin):
        refused = await timed.starts(house.first.scheduler, timed.mine, 1, app)
        assert (refused.status_code, refused.json()["code"]) == (401, "key_revoked")
    assert KEY_SECONDS < 5
    assert len(await timed.runs(house.first)) == 1


@pytest.mark.parametrize("name", ["Outrider-Context", "outrider-context", "OUTRIDER-CONTEXT"])
async def test_a_signed_context_from_outside_is_nobody(timed: Timed, name: str) -> None:
    """Even a true one, of an admin, for this very owner."""
    timed.now, house = NOON, timed.house
    await timed.runs(house.first)
    stolen = house.last("reconciliation").headers["outrider-context"]
    heard = len(house.owners["reconciliation"].heard)
    forged: dict[str, Any] = {"headers": {name: stolen}}

    for method, path in (("GET", SCHEDULES), ("GET", "/v1/reconciliations"), ("DELETE", f"{SCHEDULES}/{timed.mine}")):
        assert (await house.ask(method, path, house.first.scheduler, **forged)).status_code == 403
        assert (await house.ask(method, path, **forged)).status_code == 401
    assert (await timed.starts(None, timed.mine, 0, **forged)).status_code == 401
    assert (await timed.starts(house.second.scheduler, timed.mine, 0, **forged)).status_code == 404
    assert len(house.owners["reconciliation"].heard) == heard + 1  # the last one, as the second org's scheduler
    assert (await timed.starts(house.first.scheduler, timed.mine, 0, **forged)).status_code == 202
    acted = house.last("reconciliation").context
    assert (acted.org_id, acted.permissions) == (house.first.org_id, frozenset({"schedules:run"}))


@pytest.mark.parametrize(
    "prefix", ["", "/", "/v1/", "/v1/..", "/V1", "/v1/.", "/v2", "/v1/leads/..", "/v1/reconciliation-schedules/.."]
)
async def test_owners_addresses_are_not_served_outside(timed: Timed, prefix: str) -> None:
    timed.now, house = NOON, timed.house
    owner = house.owners["reconciliation"]
    heard = len(owner.heard)
    headers = [(b"authorization", f"Bearer {house.first.scheduler}".encode())]

    for rest in (
        f"/reconciliation-schedules/{timed.mine}/slots/{slot(0)}",
        "/reconciliation-schedules",
        "/reconciliations",
    ):
        # Straight to the app: a client would tidy the path up.
        answer = await call_app(house.app, Inner("PUT", prefix + rest, b"", headers, b""))
        assert answer.status in (403, 404), prefix + rest

    assert len(owner.heard) == heard


async def test_only_admins_make_such_keys_and_only_keys_have_the_role(timed: Timed) -> None:
    house, wanted = timed.house, {"name": "timer", "role": "scheduler"}
    for key in (house.first.manager, house.first.viewer, house.first.scheduler):
        assert (await house.ask("POST", "/v1/api-keys", key, json=wanted)).status_code == 403
    made = await house.ask("POST", "/v1/api-keys", house.first.admin, json=wanted)
    assert (made.status_code, made.json()["company_ids"]) == (201, [])
    limited = wanted | {"company_ids": [house.first.company]}
    assert (await house.ask("POST", "/v1/api-keys", house.first.admin, json=limited)).status_code == 422
    assert (await house.ask("POST", "/v1/api-keys", house.platform_key, json=wanted)).status_code == 403  # of no org

    person = {"subject": "idp|9", "email": "otto@example.com", "name": "Otto Example", "role": "scheduler"}
    refused = await house.ask("POST", "/v1/users", house.first.admin, json=person)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/role")
    added = await house.ask("POST", "/v1/users", house.first.admin, json=person | {"role": "org_admin"})
    changed = await house.ask("PATCH", f"/v1/users/{added.json()['id']}", house.first.admin, json={"role": "scheduler"})
    assert changed.status_code == 422
