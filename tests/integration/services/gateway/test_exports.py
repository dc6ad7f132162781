"""What can be copied, put together from all owners; and what becomes of it when one of them does not answer."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from starlette.responses import Response

from tests.integration.services.gateway.conftest import MakeHouse
from tests.integration.services.gateway.house import Heard, House


def listed(owner: str, org: str) -> dict[str, Any]:
    table = {"owner": owner, "table": "rows", "columns": ["id"], "left_out": [{"column": "key", "why": "a secret"}]}
    return {
        "organization_id": org,
        "data": [table],
        "left_out": [{"owner": owner, "table": "outbox", "why": "bookkeeping"}],
        "as_of": "2026-07-11T12:00:00Z",
    }


def answering(house: House, status: int = 200, body: bytes | None = None, *, of: str = "") -> None:
    """Owners answer their lists; `of` this one, with that instead."""
    for process, owner in house.owners.items():

        async def reply(_: Heard, process: str = process) -> Response:
            if process == of:
                return Response(body or b"{}", status, media_type="application/json")
            return Response(orjson.dumps(listed(process, house.first.org)), media_type="application/json")

        owner.reply = reply


async def test_the_list_has_every_owners_tables(either_house: House) -> None:
    house = either_house
    answering(house)

    answer = await house.ask("GET", "/v1/exports", house.first.admin)

    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["organization_id"] == house.first.org
    assert {one["owner"] for one in found["data"]} == {"gateway", *house.owners}
    assert [(one["owner"], one["table"]) for one in found["data"]] == sorted(
        (one["owner"], one["table"]) for one in found["data"]
    )
    assert {"owner": "analytics", "table": "outbox", "why": "bookkeeping"} in found["left_out"]
    keys = next(one for one in found["data"] if one["table"] == "api_keys")
    assert "secret_hmac" in {one["column"] for one in keys["left_out"]}
    for owner in house.owners.values():
        (heard,) = owner.heard
        assert (heard.path, heard.context.org_id) == ("/exports", house.first.org_id)
        assert heard.context.permissions >= {"exports:read"}
        assert heard.headers["x-request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, None, (503, "upstream_unavailable")),
        (401, None, (503, "upstream_unavailable")),
        (200, b'{"data": "of another version"}', (503, "upstream_unavailable")),
        (404, None, (404, "not_found")),  # it is being erased
    ],
)
async def test_half_a_list_is_none(house: House, status: int, body: bytes | None, told: tuple[int, str]) -> None:
    answering(house, status, body, of="analytics")

    answer = await house.ask("GET", "/v1/exports", house.first.admin)

    assert (answer.status_code, answer.json()["code"]) == told


async def test_an_owner_that_is_down_takes_its_tables_with_it_only(make_house: MakeHouse) -> None:
    house = await make_house(absent=("analytics",))
    answering(house)

    answer = await house.ask("GET", "/v1/exports", house.first.admin)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    answer = await house.ask("GET", "/v1/exports/analytics/facts", house.first.admin)
    assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
    answer = await house.ask("GET", "/v1/exports/gateway/companies", house.first.admin)
    assert [row["name"] for row in answer.json()["data"]] != []
    assert answer.headers["cache-control"] == "no-store"


async def test_the_gateways_own_tables_are_paged_and_told_of_once(house: House) -> None:
    first = await house.ask("GET", "/v1/exports/gateway/companies?limit=1", house.first.admin)
    page = first.json()
    second = await house.ask(
        "GET", f"/v1/exports/gateway/companies?limit=1&after={page['next_cursor']}", house.first.admin
    )
    names = [row["company_id"].replace("-", "") for row in page["data"] + second.json()["data"]]
    assert sorted(f"cmp_{one}" for one in names) == sorted([house.first.company, house.first.sibling])
    assert second.json() | {"data": [], "as_of": ""} == {
        "data": [],
        "has_more": False,
        "next_cursor": None,
        "as_of": "",
    }

    log = (await house.ask("GET", "/v1/audit-log", house.first.admin)).json()["data"]
    told = [entry for entry in log if entry["action"] == "export.begun"]
    assert [entry["object"] for entry in told] == ["exports/gateway/companies"]
    for wrong in ("limit=0", "limit=1001", "after=nonsense", "all_companies=true"):
        refused = await house.ask("GET", f"/v1/exports/gateway/companies?{wrong}", house.first.admin)
        assert refused.status_code == 422, wrong
