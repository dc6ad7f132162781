"""People of an org: what may be given to them, by whom, and that the next org sees nothing of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.clock import now, rfc3339
from tests.integration.services.gateway.house import House, assume, without_request_id
from tests.integration.services.gateway.test_own_routes import told, walk


async def add(house: House, by: str, org: str | None = None, **wanted: Any):
    body = {"subject": "idp|ada", "email": "Ada.B@Example.com", "name": "Ada Example", "role": "org_admin", **wanted}
    return await house.ask("POST", "/v1/users", by, org=org, json=body)


async def change(house: House, user: str, by: str, **wanted: Any):
    return await house.ask("PATCH", f"/v1/users/{user}", by, json=wanted)


async def test_a_person_is_added_listed_changed_and_removed(house, database):
    first = house.first
    before = len(await told(database("gateway"), first.org_id))
    response = await add(house, first.admin, role="company_manager", company_ids=[first.company, first.company])
    user = response.json()
    assert response.status_code == 201
    assert (user["email"], user["status"], user["company_ids"]) == ("Ada.B@Example.com", "active", [first.company])

    assert (await house.ask("GET", f"/v1/users/{user['id']}", first.admin)).json() == user
    assert await walk(house, "/v1/users", first.admin) == [user["id"]]
    other = (await add(house, first.admin, subject="idp|ben")).json()
    assert await walk(house, "/v1/users", first.admin) == [user["id"], other["id"]]
    assert await walk(house, "/v1/users", house.second.admin) == []

    changed = (await change(house, user["id"], first.admin, company_ids=[first.sibling], status="suspended")).json()
    assert (changed["role"], changed["company_ids"]) == ("company_manager", [first.sibling])
    assert (changed["status"], changed["name"], changed["email"]) == ("suspended", user["name"], user["email"])
    promoted = (await change(house, user["id"], first.admin, role="org_admin", status="active", name="Ada E.")).json()
    assert (promoted["role"], promoted["company_ids"], promoted["name"]) == ("org_admin", [], "Ada E.")

    gone = await house.ask("DELETE", f"/v1/users/{user['id']}", first.admin)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await house.ask("GET", f"/v1/users/{user['id']}", first.admin)).status_code == 404
    assert (await house.ask("DELETE", f"/v1/users/{user['id']}", first.admin)).status_code == 404
    assert await walk(house, "/v1/users", first.admin) == [other["id"]]
    assert len(await told(database("gateway"), first.org_id)) == before


async def test_a_subject_is_one_user_per_org(house):
    assert (await add(house, house.first.admin)).status_code == 201
    again = await add(house, house.first.admin)
    assert (again.status_code, again.json()["code"]) == (409, "user_exists")
    assert (await add(house, house.second.admin)).status_code == 201


async def test_nobody_gives_more_than_they_have(house):
    first = house.first
    short = {"name": "s", "role": "org_admin", "expires_at": rfc3339(now() + timedelta(hours=1))}
    brief = (await house.ask("POST", "/v1/api-keys", first.admin, json=short)).json()["key"]
    user = (await add(house, first.admin, subject="idp|cleo")).json()["id"]
    refused = [
        await add(house, first.admin, role="super_admin"),
        await add(house, house.platform_key, first.org, role="super_admin"),
        await add(house, house.platform_key, role="org_admin"),
        await add(house, first.manager, role="company_viewer", company_ids=[first.company]),
        await add(house, brief),
        await change(house, user, first.admin, role="super_admin"),
        await change(house, user, first.manager, status="suspended"),
        await change(house, user, brief, role="company_viewer", company_ids=[first.company]),
        await house.ask("GET", "/v1/users", first.viewer),
        await house.ask("DELETE", f"/v1/users/{user}", first.manager),
    ]
    assert [response.status_code for response in refused] == [403] * len(refused)
    invalid = [
        await add(house, first.admin, role="company_viewer"),
        await add(house, first.admin, company_ids=[first.company]),
        await add(house, first.admin, role="company_viewer", company_ids=[house.second.company]),
        await add(house, first.admin, role="owner"),
        await change(house, user, first.admin, role="company_viewer"),
        await change(house, user, first.admin, company_ids=[first.company]),
    ]
    assert [response.status_code for response in invalid] == [422] * len(invalid)
    assert (await house.ask("GET", f"/v1/users/{user}", first.admin)).json()["role"] == "org_admin"


async def test_staff_are_people_of_the_platform(house):
    staff = await add(house, house.platform_key, role="super_admin")
    assert staff.status_code == 201
    assert await walk(house, "/v1/users", house.platform_key) == [staff.json()["id"]]
    await assume(house, house.platform_key, house.first.org)
    assert await walk(house, "/v1/users", house.platform_key, house.first.org) == []
    assert (await house.ask("GET", f"/v1/users/{staff.json()['id']}", house.first.admin)).status_code == 404


async def test_anothers_user_is_answered_as_one_that_never_was(house):
    theirs = (await add(house, house.second.admin)).json()["id"]
    for method, more in (("GET", {}), ("DELETE", {}), ("PATCH", {"json": {"status": "suspended"}})):
        answers = [
            without_request_id(await house.ask(method, f"/v1/users/{user}", house.first.admin, **more))
            for user in (theirs, "usr_" + "9" * 32, "1")
        ]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0][0] == 404
    assert (await house.ask("GET", f"/v1/users/{theirs}", house.second.admin)).json()["status"] == "active"


async def test_odd_fields_are_refused(house):
    for wanted in (
        {"subject": ""}, {"subject": "é"}, {"subject": "a b"}, {"subject": "x" * 256}, {"subject": "a\n"}, {"email": "ada"},
        {"email": "a @example.com"}, {"email": "a@b@c"}, {"email": "a" * 320 + "@example.com"}, {"name": ""},
        {"status": "active"}, {"org_id": house.second.org}, {"email": None},
    ):  # fmt: skip
        assert (await add(house, house.first.admin, **wanted)).status_code == 422, wanted
    user = (await add(house, house.first.admin)).json()["id"]
    for wanted in (
        {}, {"role": None}, {"status": "gone"}, {"subject": "idp|eve"}, {"id": user}, {"email": "ada"}, {"company_ids": None},
    ):  # fmt: skip
        assert (await change(house, user, house.first.admin, **wanted)).status_code == 422, wanted
