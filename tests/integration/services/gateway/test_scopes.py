"""Keys that may less than their role."""

from __future__ import annotations

from typing import Any

from libs.tenancy.roles import PERMISSIONS, Role
from services.gateway.repository.keys import look_up_key
from tests.integration.services.gateway.house import House, staff_key
from tests.integration.services.gateway.test_audit import log
from tests.integration.services.gateway.test_own_routes import issue


async def made(house: House, by: str, **wanted: Any) -> Any:
    answer = await issue(house, by, **wanted)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_key_may_what_is_in_its_role_and_in_its_scopes(house):
    first = house.first
    key = await made(house, first.admin, role="org_admin", scopes=["me:read", "leads:read", "me:read", "audit:read"])
    assert key["scopes"] == ["audit:read", "leads:read", "me:read"]
    me = (await house.ask("GET", "/v1/me", key["key"])).json()
    assert (me["scopes"], me["permissions"]) == (key["scopes"], key["scopes"])
    assert (await house.ask("GET", "/v1/leads?all_companies=true", key["key"])).status_code == 200
    assert house.last("provider-sync").context.permissions == set(key["scopes"])
    heard = len(house.owners["provider-sync"].heard)
    for method, path in (("GET", "/v1/provider-accounts"), ("POST", "/v1/provider-accounts"), ("GET", "/v1/api-keys")):
        refused = await house.ask(method, path, key["key"])
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "scopes" in refused.json()["detail"]
    assert len(house.owners["provider-sync"].heard) == heard
    listed = {one["id"]: one["scopes"] for one in (await house.ask("GET", "/v1/api-keys", first.admin)).json()["data"]}
    assert listed.pop(key["id"]) == key["scopes"]
    assert set(listed.values()) == {None}
    assert (await log(house, first.admin, action="key.issued"))[0]["details"]["scopes"] == key["scopes"]


async def test_a_new_secret_opens_no_more(house):
    key = await made(house, house.first.admin, role="org_admin", scopes=["leads:read"])
    rotated = await house.ask("POST", f"/v1/api-keys/{key['id']}/rotations", house.first.admin, json={})
    assert rotated.json()["scopes"] == ["leads:read"]
    for text in (key["key"], rotated.json()["key"]):
        assert (await house.ask("GET", "/v1/leads?all_companies=true", text)).status_code == 200
        assert (await house.ask("GET", "/v1/api-keys", text)).status_code == 403


async def test_scopes_are_the_roles_permissions_at_least_one(house):
    company = {"role": "company_viewer", "company_ids": [house.first.company]}
    for wanted in (
        {"role": "org_admin", "scopes": []}, {"role": "org_admin", "scopes": ["leads:eat"]},
        {"role": "org_admin", "scopes": ["organizations:write"]}, {**company, "scopes": ["leads:read", "keys:read"]},
        {"role": "org_admin", "scopes": "leads:read"}, {"role": "org_admin", "scopes": [None]},
        {"role": "org_admin", "scopes": ["x" * 65]}, {"role": "org_admin", "scopes": ["leads:read"] * 101},
    ):  # fmt: skip
        refused = await issue(house, house.first.admin, **wanted)
        assert refused.status_code == 422, wanted
        assert "/scopes" in refused.json()["errors"][0]["pointer"]
    assert (await made(house, house.first.admin, **company, scopes=["leads:read"]))["scopes"] == ["leads:read"]


async def test_nobody_gives_a_scope_that_they_do_not_have(house):
    scopes = ["keys:write", "leads:read"]
    maker = (await made(house, house.first.admin, role="org_admin", scopes=scopes))["key"]
    whole = await made(house, house.first.admin, role="org_admin")
    refused = [
        await issue(house, maker, role="org_admin"),
        await issue(house, maker, role="org_admin", scopes=["leads:read", "inbox:read"]),
        await issue(house, maker, role="company_viewer", company_ids=[house.first.company]),
        await house.ask("POST", f"/v1/api-keys/{whole['id']}/rotations", maker, json={}),
    ]
    assert [answer.json()["code"] for answer in refused] == ["forbidden"] * len(refused)
    narrow = await made(house, maker, role="org_admin", scopes=["leads:read"])
    viewer = {"role": "company_viewer", "company_ids": [house.first.company], "scopes": ["leads:read"]}
    assert (await made(house, maker, **viewer))["scopes"] == ["leads:read"]
    again = await house.ask("POST", f"/v1/api-keys/{narrow['id']}/rotations", maker, json={})
    assert again.status_code == 201


async def test_keys_of_staff_have_scopes_too(house):
    watcher = await staff_key(house, "operator", scopes=["ledger:read"])
    assert (await house.ask("GET", "/v1/analytics/ledger", watcher, org=house.first.org)).status_code == 200
    assert (await house.ask("GET", "/v1/deliveries", watcher, org=house.first.org)).status_code == 403
    assert house.last("analytics").context.permissions == {"ledger:read"}


async def test_a_permission_that_is_no_more_gives_nothing_and_stops_no_rotation(house, database):
    key = await made(house, house.first.admin, role="org_admin", scopes=["leads:read"])
    async with database("gateway").tenant_transaction(house.first.org_id) as session:
        await session.execute("UPDATE api_keys SET scopes = '{leads:read,gone:read}' WHERE scopes IS NOT NULL")
        id_of_it = await session.fetchval("SELECT id FROM api_keys WHERE scopes IS NOT NULL")
    known = await look_up_key(database("gateway"), id_of_it)
    assert known is not None
    assert known.principal.permissions == {"leads:read"} < PERMISSIONS[Role.ORG_ADMIN]
    rotated = await house.ask("POST", f"/v1/api-keys/{key['id']}/rotations", house.first.admin, json={})
    assert rotated.status_code == 201


async def test_a_replica_of_the_version_before_knows_no_key_with_scopes(house, database):
    await made(house, house.first.admin, role="org_admin", scopes=["leads:read"])
    async with database("gateway").tenant_transaction(house.first.org_id) as session:
        rows = await session.fetch("SELECT id, scopes FROM api_keys")
    seen = {}
    for row in rows:
        async with database("gateway").transaction() as transaction:
            await transaction.as_service()
            found = await transaction.driver.fetch("SELECT * FROM api_key_v2($1)", row["id"])
            seen[row["id"]] = len(found)
    assert seen == {row["id"]: int(row["scopes"] is None) for row in rows}
    assert list(seen.values()).count(0) == 1
