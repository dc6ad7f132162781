"""The audit log: one row per act, refusals bounded, and no row changed unseen."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from libs.clock import rfc3339
from libs.contracts.envelope import Envelope
from libs.contracts.event import seal
from libs.contracts.events import ActionPerformedV1
from libs.ids import PLATFORM_ORG, OrgId, new_id
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.tenancy.roles import Role
from services.gateway.audit import record, verify
from services.gateway.consumers import consumers
from services.gateway.denials import PER_MINUTE, Denials
from services.gateway.domain import Caller, Principal
from tests.integration.services.gateway.house import House, assume
from tests.integration.services.gateway.test_users import add


async def log(house: House, key: str, org: str | None = None, **wanted: Any) -> list[Any]:
    """Newest first, all of it."""
    entries: list[Any] = []
    after = ""
    while True:
        page = (await house.ask("GET", f"/v1/audit-log?limit=7{after}", key, org=org)).json()
        entries += page["data"]
        if not page["has_more"]:
            return [one for one in entries if all(one[name] == value for name, value in wanted.items())]
        after = f"&after={page['next_cursor']}"


async def test_every_act_leaves_one_row_with_who_and_what(house, database):
    first = house.first
    before = len(await log(house, first.admin))
    others = await log(house, house.second.admin)

    async def act(method: str, path: str, body: Any = None) -> Any:
        more = {} if body is None else {"json": body}
        response = await house.ask(method, path, first.admin, **more)
        assert response.status_code in (200, 201, 204), response.text
        return response

    company = await act("POST", "/v1/companies", {"name": "Pier Nine"})
    key = (await act("POST", "/v1/api-keys", {"name": "k", "role": "org_admin"})).json()
    await act("POST", f"/v1/api-keys/{key['id']}/rotations", {})
    await act("DELETE", f"/v1/api-keys/{key['id']}")
    await act("DELETE", f"/v1/api-keys/{key['id']}")  # changes nothing
    person = {"subject": "idp|1", "email": "ada@example.com", "name": "Ada Example", "role": "org_admin"}
    user = (await act("POST", "/v1/users", person)).json()["id"]
    suspended = await act("PATCH", f"/v1/users/{user}", {"status": "suspended"})
    await act("DELETE", f"/v1/users/{user}")
    await act("GET", "/v1/users")

    entries = list(reversed(await log(house, first.admin)))[before:]
    assert [(entry["action"], entry["object"], entry["outcome"]) for entry in entries] == [
        ("company.created", company.json()["id"], "done"),
        ("key.issued", key["id"], "done"),
        ("key.rotated", key["id"], "done"),
        ("key.revoked", key["id"], "done"),
        ("user.added", user, "done"),
        ("user.changed", user, "done"),
        ("user.removed", user, "done"),
    ]
    me = (await house.ask("GET", "/v1/me", first.admin)).json()["key_id"]
    assert {entry["actor"].replace("-", "") for entry in entries} == {me.replace("key_", "key:")}
    assert entries[5]["request_id"] == suspended.headers["x-request-id"]
    assert entries[5]["details"]["before"]["status"] == "active"
    assert entries[5]["details"]["after"]["status"] == "suspended"
    assert "ada@example.com" not in str(entries)
    assert key["key"] not in str(entries)
    assert [entry["position"] for entry in entries] == list(range(before + 1, before + 8))
    assert await log(house, house.second.admin) == others
    assert await verify(database("gateway"), first.org_id) is None


async def test_staff_leave_their_rows_in_the_org_they_act_in_and_the_machine_is_named(house):
    made = await log(house, house.first.admin, action="organization.created")
    assert [(entry["object"], entry["actor"].split(":")[0]) for entry in made] == [(house.first.org, "platform")]
    (first_key,) = await log(house, house.platform_key)
    await assume(house, house.platform_key, house.first.org)
    assert (first_key["action"], first_key["actor"], first_key["request_id"]) == ("key.issued", "machine", None)
    assert await log(house, house.platform_key, house.first.org) == await log(house, house.first.admin)
    for key in (house.first.manager, house.first.viewer):
        assert (await house.ask("GET", "/v1/audit-log", key)).status_code == 403


def performed(number: int, org_id: OrgId) -> Envelope:
    event = ActionPerformedV1(
        actor=f"key:{number}",
        action="account.opened",
        object=f"acc_{number}",
        details={"provider": "é\u0000"},
        request_id="r",
    )
    return seal(event, source="provider-sync", org_id=org_id)


async def test_what_other_services_tell_is_appended_once(house, database):
    first, second = house.first, house.second
    before = len(await log(house, first.admin))
    theirs = len(await log(house, second.admin))
    consumer = next(one for one in consumers() if one.queue == "gateway.audit")
    processor = Processor(database("gateway"), consumer, "gateway")
    told = [performed(number, first.org_id) for number in range(5)]
    other = performed(9, second.org_id)

    await processor.deliver([told[0], other, told[1], told[0]])
    await asyncio.gather(processor.deliver([told[2], *told[:2]]), processor.deliver(told), processor.deliver(told[3:]))

    entries = list(reversed(await log(house, first.admin)))[before:]
    assert sorted(entry["actor"] for entry in entries) == [f"key:{number}" for number in range(5)]
    assert [entry["actor"] for entry in entries[:2]] == ["key:0", "key:1"]
    kept = entries[0]
    assert (kept["action"], kept["object"], kept["outcome"], kept["request_id"]) == (
        "account.opened", "acc_0", "done", "r",
    )  # fmt: skip
    assert kept["details"] == {"provider": "é\u0000"}
    assert kept["at"] == rfc3339(told[0].time)
    assert [entry["actor"] for entry in await log(house, second.admin)][: -theirs or None] == ["key:9"]
    for org_id in (first.org_id, second.org_id):
        assert await verify(database("gateway"), org_id) is None


async def test_what_failed_leaves_no_row_of_an_act(house):
    await add(house, house.first.admin)
    before = await log(house, house.first.admin, outcome="done")
    assert (await add(house, house.first.admin)).status_code == 409
    assert (await house.ask("POST", "/v1/companies", house.first.admin, json={"name": ""})).status_code == 422
    assert await log(house, house.first.admin, outcome="done") == before


async def test_refusals_are_kept_where_the_caller_belongs(house):
    first, second = house.first, house.second
    theirs = await log(house, second.admin)
    refused = [
        await house.ask("GET", "/v1/api-keys", first.viewer),
        await house.ask("GET", "/v1/leads?all_companies=true", first.viewer),
        await house.ask("GET", f"/v1/leads?company_id={second.company}", first.viewer),
        await house.ask("GET", "/v1/leads", first.viewer, org=second.org),
        await house.ask("DELETE", f"/v1/users/usr_{'9' * 32}", first.admin),
    ]
    denied = list(reversed(await log(house, first.admin, outcome="denied")))
    assert [(entry["object"], entry["details"]["status"]) for entry in denied] == [
        ("GET /v1/api-keys", 403), ("GET /v1/leads", 403), ("GET /v1/leads", 404), ("GET /v1/leads", 404),
        (f"DELETE /v1/users/usr_{'9' * 32}", 404),
    ]  # fmt: skip
    assert [entry["request_id"] for entry in denied] == [one.headers["x-request-id"] for one in refused]
    assert await log(house, second.admin) == theirs
    assert (await house.ask("GET", "/v1/leads", "otr_live_nonsense")).status_code == 401
    assert (await house.ask("GET", "/v1/nothing", first.viewer)).status_code == 404
    assert len(await log(house, first.admin, outcome="denied")) == len(denied)


async def test_a_flood_of_refusals_is_counted_not_kept(database, make_org):
    moment = 0.0
    units = Units(database("gateway"), "gateway")
    denials = Denials(units, clock=lambda: moment)
    org = make_org()
    caller = Caller(Principal(new_id(), Role.COMPANY_VIEWER, org), org, "req_1")

    async def kept() -> list[str]:
        async with database("gateway").tenant_transaction(org) as session:
            return [row["details"] for row in await session.fetch("SELECT details FROM audit_log ORDER BY position")]

    for _ in range(100):
        await denials.note(caller, 403, "GET", "/v1/leads\n\x00é")
    assert len(await kept()) == PER_MINUTE
    other = Caller(Principal(new_id(), Role.COMPANY_VIEWER, org), org, "req_2")
    await denials.note(other, 404, "GET", "/v1/leads")
    moment = 60.0
    await denials.note(caller, 403, "GET", "/v1/leads")
    assert (await kept())[-1] == '{"not_recorded_before":90,"status":403}'
    assert len(await kept()) == PER_MINUTE + 2
    assert await verify(database("gateway"), org) is None


async def test_many_at_once_make_one_chain(database, make_org):
    units, orgs = Units(database("gateway"), "gateway"), [make_org(), make_org()]

    async def append(number: int) -> None:
        async with units.begin(orgs[number % 2]) as work:
            await record(work.session, None, "key.issued", str(number))

    await asyncio.gather(*(append(number) for number in range(40)))
    for org in orgs:
        assert await verify(database("gateway"), org) is None
        async with database("gateway").tenant_transaction(org) as session:
            assert await session.fetchval("SELECT max(position) FROM audit_log") == 20
    assert await verify(database("gateway"), make_org()) is None


TAMPERED = {
    "actor": "UPDATE gateway.audit_log SET actor = 'key:other' WHERE org_id = $1 AND position = $2",
    "action": "UPDATE gateway.audit_log SET action = 'x' WHERE org_id = $1 AND position = $2",
    "outcome": "UPDATE gateway.audit_log SET outcome = 'denied' WHERE org_id = $1 AND position = $2",
    "object": "UPDATE gateway.audit_log SET object = 'x' WHERE org_id = $1 AND position = $2",
    "details": "UPDATE gateway.audit_log SET details = '{ }' WHERE org_id = $1 AND position = $2",
    "request id": "UPDATE gateway.audit_log SET request_id = 'x' WHERE org_id = $1 AND position = $2",
    "time": "UPDATE gateway.audit_log SET at = at + interval '1 microsecond' WHERE org_id = $1 AND position = $2",
    "hash": "UPDATE gateway.audit_log SET hash = '\\x00' WHERE org_id = $1 AND position = $2",
    "previous hash": "UPDATE gateway.audit_log SET previous_hash = '\\x00' WHERE org_id = $1 AND position = $2",
    "gone": "DELETE FROM gateway.audit_log WHERE org_id = $1 AND position = $2",
}


@pytest.mark.parametrize("how", TAMPERED)
async def test_tampering_with_any_row_is_named(how, database, migrated, make_org):
    gateway, rows = database("gateway"), 5
    units = Units(gateway, "gateway")
    mine, theirs = make_org(), make_org()
    for org in (mine, theirs):
        for number in range(rows):
            async with units.begin(org) as work:
                await record(work.session, None, "key.issued", str(number), {"number": number})
    admin = await asyncpg.connect(migrated.admin_url)
    try:
        for position in range(1, rows + 1):
            change = admin.transaction()
            kept = await admin.fetch(
                "SELECT * FROM gateway.audit_log WHERE org_id = $1 AND position = $2", mine, position
            )
            await change.start()
            assert await admin.execute(TAMPERED[how], mine, position) in ("UPDATE 1", "DELETE 1")
            await change.commit()
            assert await verify(gateway, mine) == position
            assert await verify(gateway, theirs) is None
            await admin.execute("DELETE FROM gateway.audit_log WHERE org_id = $1 AND position = $2", mine, position)
            await admin.execute(
                "INSERT INTO gateway.audit_log VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)", *kept[0].values()
            )
            assert await verify(gateway, mine) is None
    finally:
        await admin.close()


async def test_the_service_can_neither_change_nor_remove_a_row(house, database):
    for statement in ("UPDATE audit_log SET actor = 'x'", "TRUNCATE audit_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database("gateway").tenant_transaction(house.first.org_id) as session:
                await session.execute(statement)
    for table in ("audit_log", "audit_heads"):  # its rows go with their organization only
        async with database("gateway").tenant_transaction(house.first.org_id) as session:
            assert await session.execute(f"DELETE FROM {table}") == 0
    assert await verify(database("gateway"), house.first.org_id) is None
    assert await verify(database("gateway"), PLATFORM_ORG) is None


async def test_a_chain_without_its_head_is_in_doubt_from_its_first_row(house, database, migrated):
    admin = await asyncpg.connect(migrated.admin_url)
    try:
        await admin.execute("DELETE FROM gateway.audit_heads WHERE org_id = $1", house.first.org_id)
    finally:
        await admin.close()
    assert await verify(database("gateway"), house.first.org_id) == 1
    assert await verify(database("gateway"), house.second.org_id) is None
