"""Platform staff in an organization: only where they said why, only for as long, and seen by both sides."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from libs import clock
from libs.clock import now, rfc3339
from services.gateway.audit import verify
from tests.integration.services.gateway.house import House, ask, assume, staff_key
from tests.integration.services.gateway.test_audit import log
from tests.integration.services.gateway.test_own_routes import issue, walk
from tests.integration.services.gateway.test_users import add

LEADS = "/v1/leads?all_companies=true"


async def see(house: House, key: str, app: Any = None) -> str:
    """What staff are answered who ask for the first tenant's leads."""
    answer = await ask(app or house.app, "GET", LEADS, key, org=house.first.org)
    return "seen" if answer.status_code == 200 else str(answer.json()["code"])


async def test_both_audit_logs_tell_who_went_in_why_and_when_they_left(house, database):
    first, second, staff = house.first, house.second, await staff_key(house)
    before = {key: len(await log(house, key)) for key in (house.platform_key, first.admin, second.admin)}
    wanted = {"organization_id": first.org, "reason": " ticket 4711 ", "minutes": 60, "write": True}
    begun = await house.ask("POST", "/v1/assumptions", staff, json=wanted)
    assert begun.status_code == 201
    told = begun.json()
    assert (told["reason"], told["write"], told["ended_at"]) == ("ticket 4711", True, None)
    for _ in range(2):  # to end it again changes nothing
        assert (await house.ask("DELETE", f"/v1/assumptions/{told['id']}", staff)).status_code == 204

    for key in (house.platform_key, first.admin):
        ended, entered = (await log(house, key))[: -before[key]]
        assert [entry["action"] for entry in (entered, ended)] == ["assumption.begun", "assumption.ended"]
        assert {entry["object"] for entry in (entered, ended)} == {told["id"]}
        assert {entry["actor"] for entry in (entered, ended)} == {told["principal"]}
        assert told["principal"].startswith("platform:")
        assert entered["details"] == {
            "organization_id": first.org, "reason": "ticket 4711", "write": True, "ends_at": told["ends_at"],
        }  # fmt: skip
        assert entered["request_id"] == begun.headers["x-request-id"]
    assert len(await log(house, second.admin)) == before[second.admin]
    assert await verify(database("gateway"), first.org_id) is None


async def test_answers_say_that_they_were_given_in_an_assumed_organization(house):
    await assume(house, house.platform_key, house.first.org)
    for path in (LEADS, "/v1/companies", "/v1/nothing-here", "/v1/companies?odd=1"):
        answer = await house.ask("GET", path, house.platform_key, org=house.first.org)
        expected = None if path == "/v1/nothing-here" else house.first.org  # nobody asked who it was
        assert answer.headers.get("outrider-assumed") == expected, path
    for path, key, org in (
        (LEADS, house.first.admin, None), ("/v1/organizations", house.platform_key, None),
        (LEADS, house.platform_key, house.second.org),
    ):  # fmt: skip
        assert "outrider-assumed" not in (await house.ask("GET", path, key, org=org)).headers
    me = (await house.ask("GET", "/v1/me", house.platform_key, org=house.first.org)).json()
    assert me["assumed_until"] is not None
    assert "leads:read" in me["permissions"]
    assert "accounts:write" not in me["permissions"]


async def test_an_end_is_in_force_at_once_here_and_within_five_seconds_elsewhere(house, replica):
    staff = await staff_key(house)
    assumption = await assume(house, staff, house.first.org)
    assert [await see(house, staff, app) for app in (house.app, replica)] == ["seen", "seen"]

    assert (await house.ask("DELETE", f"/v1/assumptions/{assumption}", house.platform_key)).status_code == 204

    ended_at = time.monotonic()
    assert await see(house, staff) == "assumption_required"
    while await see(house, staff, replica) == "seen":
        assert time.monotonic() < ended_at + 5
        await asyncio.sleep(0.05)
    assert await see(house, staff, replica) == "assumption_required"


async def test_a_beginning_is_known_to_every_replica_at_once(house, replica):
    staff = await staff_key(house)
    assert await see(house, staff, replica) == "assumption_required"
    await assume(house, staff, house.first.org)
    assert await see(house, staff, replica) == "seen"


async def test_an_assumption_ends_by_the_clock_on_every_replica_also_where_it_is_remembered(house, replica):
    staff = await staff_key(house)
    await assume(house, staff, house.first.org, minutes=1)
    assert [await see(house, staff, app) for app in (house.app, replica)] == ["seen", "seen"]
    with clock.frozen(now() + timedelta(seconds=61)):
        assert [await see(house, staff, app) for app in (house.app, replica)] == ["assumption_required"] * 2


async def test_it_is_for_one_principal_and_one_organization(house):
    staff, colleague = await staff_key(house), await staff_key(house)
    await assume(house, staff, house.first.org)
    assert await see(house, staff) == "seen"
    assert await see(house, colleague) == "assumption_required"
    other = await house.ask("GET", LEADS, staff, org=house.second.org)
    assert other.json()["code"] == "assumption_required"
    assert (await log(house, house.second.admin, outcome="denied"))[0]["details"]["status"] == 403
    heard = house.owners["provider-sync"].heard
    assert {one.context.org_id for one in heard} == {house.first.org_id}


async def test_to_assume_anew_replaces_what_was(house):
    staff = await staff_key(house)
    body = {"name": "Pier Nine"}

    async def write() -> int:
        answer = await house.ask("POST", "/v1/companies", staff, org=house.first.org, json=body)
        return int(answer.status_code)

    first = await assume(house, staff, house.first.org)
    assert await write() == 403
    second = await assume(house, staff, house.first.org, write=True)
    assert await write() == 201
    third = await assume(house, staff, house.first.org)
    assert await write() == 403
    elsewhere = await assume(house, staff, house.second.org)
    await asyncio.gather(*(assume(house, staff, house.first.org) for _ in range(5)))
    listed = (await house.ask("GET", "/v1/assumptions", house.platform_key)).json()["data"]
    live = [one for one in listed if one["ended_at"] is None]
    assert len(listed) == 9
    assert {one["organization_id"] for one in live} == {house.first.org, house.second.org}
    assert len(live) == 2
    (inside,) = [one for one in live if one["organization_id"] == house.first.org]
    assert (await house.ask("DELETE", f"/v1/assumptions/{inside['id']}", staff)).status_code == 204
    assert await see(house, staff) == "assumption_required"
    walked = await walk(house, "/v1/assumptions", house.platform_key)
    assert walked == [one["id"] for one in listed]
    assert set(walked) >= {first, second, third, elsewhere}
    assert await walk(house, "/v1/assumptions", house.platform_key, house.second.org) == [elsewhere]


async def test_nothing_given_away_there_outlives_it(house):
    staff, org = await staff_key(house), house.first.org
    await assume(house, staff, org, write=True, minutes=30)
    viewer = (await house.ask("GET", "/v1/api-keys", house.first.admin)).json()["data"][2]["id"]
    refused = [
        await issue(house, staff, org, role="org_admin"),
        await issue(house, staff, org, role="org_admin", expires_at=rfc3339(now() + timedelta(minutes=31))),
        await house.ask("POST", f"/v1/api-keys/{viewer}/rotations", staff, org=org, json={}),
        await add(house, staff, org),
    ]
    assert [answer.json()["code"] for answer in refused] == ["forbidden"] * len(refused)
    brief = await issue(house, staff, org, role="org_admin", expires_at=rfc3339(now() + timedelta(minutes=29)))
    assert brief.status_code == 201
    assert (await house.ask("DELETE", f"/v1/api-keys/{viewer}", staff, org=org)).status_code == 204


async def test_an_organization_gets_its_first_key_from_outside_and_no_other(house):
    org = (await house.ask("POST", "/v1/organizations", house.platform_key, json={"name": "Eastwind"})).json()["id"]
    company = {"role": "company_viewer", "company_ids": [house.first.company]}

    async def make(**wanted: Any) -> Any:
        return await issue(house, house.platform_key, org, **wanted)

    assert (await make(**company)).json()["code"] == "assumption_required"
    assert (await make(role="scheduler")).json()["code"] == "assumption_required"
    answers = await asyncio.gather(*(make(role="org_admin") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403]
    (first,) = [answer.json() for answer in answers if answer.status_code == 201]
    assert first["expires_at"] is None
    assert (await log(house, first["key"]))[-1]["action"] == "organization.created"

    # One that cannot make keys is no administrator; neither is one that was revoked.
    await issue(house, first["key"], role="org_admin", scopes=["leads:read"])
    person = (await add(house, first["key"])).json()["id"]
    assert (await house.ask("DELETE", f"/v1/api-keys/{first['id']}", first["key"])).status_code == 204
    assert (await make(role="org_admin")).json()["code"] == "assumption_required"
    await assume(house, house.platform_key, org, write=True)
    change = {"status": "suspended"}
    assert (
        await house.ask("PATCH", f"/v1/users/{person}", house.platform_key, org=org, json=change)
    ).status_code == 200
    assert (await make(role="org_admin")).status_code == 403  # inside, where it would outlive the assumption
    another = await staff_key(house)
    assert (await issue(house, another, org, role="org_admin")).status_code == 201


@pytest.mark.parametrize(
    "change",
    [
        {"minutes": 0}, {"minutes": 61}, {"minutes": "30"}, {"minutes": True}, {"minutes": None}, {"minutes": 1.5},
        {"reason": ""}, {"reason": "  "}, {"reason": "a\nb"}, {"reason": "x" * 501}, {"reason": None}, {"write": "yes"},
        {"write": 1}, {"principal": "platform:1"}, {"organization_id": 1}, {"organization_id": "x" * 65},
    ],
)  # fmt: skip
async def test_odd_wishes_are_refused(house, change):
    wanted = {"organization_id": house.first.org, "reason": "ticket 4711", "minutes": 5, **change}
    answer = await house.ask("POST", "/v1/assumptions", house.platform_key, json=wanted)
    assert answer.status_code == 422
    assert (await house.ask("GET", "/v1/assumptions", house.platform_key)).json()["data"] == []


async def test_only_an_organization_that_is_can_be_assumed(house):
    for named in ("org_" + "7" * 32, "org_" + "0" * 32, "1", house.first.company):
        wanted = {"organization_id": named, "reason": "ticket 4711", "minutes": 5}
        assert (await house.ask("POST", "/v1/assumptions", house.platform_key, json=wanted)).status_code == 404
    for named in ("asm_" + "7" * 32, "1", house.first.org):
        assert (await house.ask("DELETE", f"/v1/assumptions/{named}", house.platform_key)).status_code == 404
    assert (await house.ask("GET", "/v1/assumptions", house.platform_key)).json()["data"] == []
