"""A key gets a second secret; the one before ends. Told on one replica, true on the next."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from libs import clock
from libs.errors import Unauthenticated
from libs.ids import parse_public_id
from libs.messaging.work import Units
from libs.tenancy.roles import Role
from services.gateway.domain import Caller
from services.gateway.gate import Gate
from services.gateway.handlers.keys import add_key, rotate_key
from services.gateway.keys import Peppers
from services.gateway.uses import Uses, coarse
from tests.integration.services.gateway.conftest import PEPPER
from tests.integration.services.gateway.house import House, without_request_id


async def issue(house: House, role: str = "org_admin", **more: Any) -> Any:
    body = {"name": "k", "role": role, **more}
    return (await house.ask("POST", "/v1/api-keys", house.first.admin, json=body)).json()


async def rotate(house: House, key_id: str, by: str, **body: Any):
    return await house.ask("POST", f"/v1/api-keys/{key_id}/rotations", by, json=body)


async def status(house: House, key: str, app: Any = None) -> tuple[int, str]:
    answer = await House(app or house.app, {}, "", house.first, house.second).ask("GET", "/v1/me", key)
    return answer.status_code, answer.json().get("code", "")


async def listed(house: House, key_id: str) -> Any:
    keys = (await house.ask("GET", "/v1/api-keys?limit=100", house.first.admin)).json()["data"]
    return next(key for key in keys if key["id"] == key_id)


async def test_both_secrets_open_until_the_overlap_is_over(house):
    old = await issue(house)
    response = await rotate(house, old["id"], house.first.admin, overlap_seconds=3600)
    new = response.json()

    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    assert new["id"] == old["id"]
    assert new["key"] != old["key"]
    assert await status(house, old["key"]) == await status(house, new["key"]) == (200, "")
    shown = await listed(house, old["id"])
    assert [secret["last4"] for secret in shown["secrets"]] == [new["key"][-4:], old["key"][-4:]]
    assert shown["secrets"][0]["ends_at"] is None
    assert shown["secrets"][1]["created_at"] == old["created_at"]
    assert new["key"][:-6] not in str(shown)

    with clock.frozen(clock.now() + timedelta(seconds=3601)):
        assert await status(house, old["key"]) == (401, "key_expired")
        assert await status(house, new["key"]) == (200, "")
        assert [secret["last4"] for secret in (await listed(house, old["id"]))["secrets"]] == [new["key"][-4:]]


async def test_a_day_is_given_when_nothing_is_said_and_a_week_at_most(house):
    key = await issue(house)
    new = (await rotate(house, key["id"], house.first.admin)).json()

    made, ends = (secret["ends_at"] or secret["created_at"] for secret in new["secrets"])
    assert ends[:10] > made[:10]
    assert ends[10:19] == made[10:19]
    other = await issue(house)
    for seconds in (-1, 7 * 86_400 + 1, "60", 1.5, True, None):
        assert (await rotate(house, other["id"], house.first.admin, overlap_seconds=seconds)).status_code == 422
    assert (await rotate(house, other["id"], house.first.admin, overlap=5)).status_code == 422
    assert (await rotate(house, other["id"], house.first.admin, overlap_seconds=7 * 86_400)).status_code == 201


async def test_a_third_secret_waits_unless_all_older_ones_end_at_once(house):
    first = await issue(house)
    second = (await rotate(house, first["id"], house.first.admin)).json()
    refused = await rotate(house, first["id"], house.first.admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "rotation_under_way")

    third = (await rotate(house, first["id"], second["key"], overlap_seconds=0)).json()

    assert await status(house, third["key"]) == (200, "")
    assert (await status(house, first["key"]))[0] == (await status(house, second["key"]))[0] == 401


async def test_who_may_rotate_what(house):
    key = await issue(house, "company_viewer", company_ids=[house.first.company])
    assert (await rotate(house, key["id"], house.first.manager)).status_code == 403
    foreign = await rotate(house, key["id"], house.second.admin)
    missing = await rotate(house, f"key_{'9' * 32}", house.second.admin)
    assert without_request_id(foreign) == without_request_id(missing)
    assert foreign.status_code == 404
    soon = clock.rfc3339(clock.now() + timedelta(hours=1))
    short = await issue(house, expires_at=soon)
    assert (await rotate(house, key["id"], short["key"])).status_code == 403
    assert (await house.ask("DELETE", f"/v1/api-keys/{key['id']}", house.first.admin)).status_code == 204
    ended = await rotate(house, key["id"], house.first.admin)
    assert (ended.status_code, ended.json()["code"]) == (409, "key_ended")


async def test_another_replica_takes_the_new_secret_at_once_and_drops_both_within_five_seconds(house, replica):
    old = await issue(house)
    assert await status(house, old["key"], replica) == (200, "")
    new = (await rotate(house, old["id"], house.first.admin)).json()

    assert await status(house, new["key"], replica) == (200, "")
    assert await status(house, old["key"], replica) == (200, "")

    await house.ask("DELETE", f"/v1/api-keys/{old['id']}", house.first.admin)
    revoked_at = time.monotonic()
    while (await status(house, new["key"], replica))[0] == 200:
        assert time.monotonic() < revoked_at + 5
        await asyncio.sleep(0.05)
    assert await status(house, old["key"], replica) == await status(house, new["key"], replica) == (401, "key_revoked")
    assert await status(house, house.second.admin, replica) == (200, "")


async def test_two_secrets_of_one_key_may_hang_on_two_peppers(database, make_org):
    gateway, org = database("gateway"), make_org()
    async with Units(gateway, "gateway").begin(org) as work:
        issued = await add_key(work, Peppers("first"), name="k", role=Role.ORG_ADMIN)
    key_id = parse_public_id("key", issued.id)
    caller = await Gate(gateway, Peppers("first")).authenticate(f"Bearer {issued.key}")
    async with Units(gateway, "gateway").begin(org) as work:
        rotated = await rotate_key(work, Caller(caller, org), Peppers("first,second"), key_id, 3600)

    both, last = Gate(gateway, Peppers("first,second")), Gate(gateway, Peppers("2:second"))
    for gate, key, opens in (
        (both, issued.key, True), (both, rotated.key, True), (last, issued.key, False), (last, rotated.key, True),
    ):  # fmt: skip
        if opens:
            assert (await gate.authenticate(f"Bearer {key}")).home == org
        else:
            with pytest.raises(Unauthenticated):
                await gate.authenticate(f"Bearer {key}")


async def test_the_last_use_is_kept_coarsely_and_never_goes_back(house, database):
    gate = Gate(database("gateway"), Peppers(PEPPER))
    key = await issue(house)
    assert key["last_used_at"] is None
    moment = clock.now()
    with clock.frozen(moment):
        await gate.authenticate(f"Bearer {key['key']}")
        await gate.authenticate(f"Bearer {house.second.admin}")
        await gate.uses.flush()
    assert (await listed(house, key["id"]))["last_used_at"] == clock.rfc3339(coarse(moment))

    late = Uses(database("gateway"))
    with clock.frozen(moment - timedelta(hours=1)):
        late.note(await gate.authenticate(f"Bearer {key['key']}"))
        await late.flush()
    assert (await listed(house, key["id"]))["last_used_at"] == clock.rfc3339(coarse(moment))
    assert coarse(moment).second == 0
