"""Organizations suspended, resumed and erased by the platform; companies archived by their organization."""

from __future__ import annotations

from typing import Any

import pytest

from libs.contracts import event as contract
from libs.contracts.envelope import read as read_envelope
from libs.contracts.events import ErasureProgressedV1
from libs.database.names import SERVICES, process_name
from libs.ids import PLATFORM_ORG, OrgId
from libs.messaging.erasure import Eraser
from libs.messaging.processor import Processor
from services.gateway.audit import verify
from services.gateway.consumers import consumers
from tests.integration.libs.messaging.house import until
from tests.integration.services.gateway.house import House, ask, without_request_id

REASON = {"reason": "three invoices unpaid"}
NOBODYS = "org_" + "7" * 32


async def stand(house: House, org: str, word: str, key: str | None = None) -> Any:
    return await house.ask("POST", f"/v1/organizations/{org}/{word}", key or house.platform_key, json=REASON)


async def erase(house: House, org: str, confirm: str) -> Any:
    wanted = {"confirm": confirm, "reason": "contract ended"}
    return await house.ask("DELETE", f"/v1/organizations/{org}", house.platform_key, json=wanted)


async def told(database: Any, *types: str) -> list[Any]:
    async with database("gateway").transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch(
            "SELECT envelope FROM outbox WHERE type = ANY($1::text[]) ORDER BY id", list(types)
        )
    return [contract.registry.open(read_envelope(row["envelope"])) for row in rows]


async def actions(house: House, key: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await house.ask("GET", "/v1/audit-log", key)).json()["data"]
    return [
        entry for entry in found if entry["action"].startswith(("organization.s", "organization.r", "organization.e"))
    ]


async def test_everybody_of_a_suspended_organization_is_told_so_and_nobody_else(house, database):
    first, second = house.first, house.second
    before = (await house.ask("GET", "/v1/me", first.viewer)).json()

    suspended = await stand(house, first.org, "suspend")
    assert suspended.status_code == 200, suspended.text
    assert (suspended.json()["status"], suspended.json()["suspended_reason"]) == ("suspended", REASON["reason"])

    for key in (first.admin, first.manager, first.viewer, first.scheduler):
        for path in ("/v1/me", "/v1/leads", f"/v1/organizations/{first.org}"):
            refused = await house.ask("GET", path, key)
            assert (refused.status_code, refused.json()["code"]) == (403, "organization_suspended"), path
    # Another organization's callers are told the same of it as of one that never was.
    for key in (second.admin, second.viewer):
        theirs = await house.ask("GET", "/v1/leads", key, org=first.org)
        nobodys = await house.ask("GET", "/v1/leads", key, org=NOBODYS)
        assert without_request_id(theirs) == without_request_id(nobodys)
        assert theirs.status_code == 404
        named = await house.ask("GET", f"/v1/organizations/{first.org}", key)
        assert without_request_id(named) == without_request_id(
            await house.ask("GET", f"/v1/organizations/{NOBODYS}", key)
        )
        assert (await house.ask("GET", "/v1/me", key)).status_code == 200

    resumed = await stand(house, first.org, "resume")
    assert (resumed.json()["status"], resumed.json()["suspended_at"]) == ("active", None)
    assert (await house.ask("GET", "/v1/me", first.viewer)).json() == before


async def test_other_replicas_learn_of_it_within_seconds(house):
    assert (await ask(house.twin, "GET", "/v1/me", house.first.admin)).status_code == 200
    await stand(house, house.first.org, "suspend")

    async def is_refused() -> bool:
        answer = await ask(house.twin, "GET", "/v1/me", house.first.admin)
        return bool(answer.json().get("code") == "organization_suspended")

    await until(is_refused, seconds=5)
    assert (await ask(house.twin, "GET", "/v1/me", house.second.admin)).status_code == 200


async def test_what_is_said_twice_is_told_and_written_down_once(house, database):
    first = house.first
    for word in ("suspend", "suspend", "resume", "resume", "suspend", "resume"):
        assert (await stand(house, first.org, word)).status_code == 200

    events = await told(database, "organization.suspended.v1", "organization.resumed.v1")
    assert [(type(event).__name__, event.revision) for event in events] == [
        ("OrganizationSuspendedV1", 1), ("OrganizationResumedV1", 2), ("OrganizationSuspendedV1", 3),
        ("OrganizationResumedV1", 4),
    ]  # fmt: skip
    assert {event.envelope.org_id for event in events} == {first.org_id}
    for key in (house.platform_key, first.admin):
        entries = await actions(house, key)
        assert [(one["action"], one["object"], one["details"]) for one in reversed(entries)] == [
            (f"organization.{word}", first.org, REASON) for word in ("suspended", "resumed", "suspended", "resumed")
        ]
        assert all(one["actor"].startswith("platform:") for one in entries)
    assert await actions(house, house.second.admin) == []
    assert await verify(database("gateway"), PLATFORM_ORG) is None
    assert await verify(database("gateway"), first.org_id) is None


async def test_only_the_platform_may(house):
    first, second = house.first, house.second
    for key in (first.admin, first.manager, first.viewer, second.admin):
        for method, path, body in (
            ("POST", f"/v1/organizations/{first.org}/suspend", REASON),
            ("POST", f"/v1/organizations/{first.org}/resume", REASON),
            ("DELETE", f"/v1/organizations/{first.org}", {"confirm": first.org, **REASON}),
        ):
            refused = await house.ask(method, path, key, json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "forbidden"), path
    for method, path in (("GET", ""), ("GET", "/erasure")):
        assert (await house.ask(method, f"/v1/organizations/{second.org}{path}", first.admin)).status_code == 404
    shown = await house.ask("GET", f"/v1/organizations/{first.org}", first.viewer)
    assert (shown.status_code, shown.json()["id"]) == (200, first.org)
    assert (await house.ask("GET", "/v1/organizations/org_" + "0" * 32, house.platform_key)).status_code == 404
    named = await house.ask(
        "POST", f"/v1/organizations/{first.org}/suspend", house.platform_key, org=second.org, json=REASON
    )
    assert named.status_code == 404


async def test_why_it_was_suspended_is_for_staff(house):
    await stand(house, house.first.org, "suspend")
    staff = await house.ask("GET", f"/v1/organizations/{house.first.org}", house.platform_key)

    assert staff.json()["suspended_reason"] == REASON["reason"]
    assert staff.json()["suspended_at"] is not None


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": "a\nb"}, {"reason": "x" * 501}, {**REASON, "why": "x"}]
)
async def test_a_reason_is_wanted(house, body):
    path = f"/v1/organizations/{house.first.org}/suspend"
    assert (await house.ask("POST", path, house.platform_key, json=body)).status_code == 422
    assert (await house.ask("GET", "/v1/me", house.first.admin)).status_code == 200


async def test_an_organization_is_erased_only_when_suspended_and_named_once_more(house):
    first, second = house.first, house.second
    active = await erase(house, first.org, first.org)
    assert (active.status_code, active.json()["code"]) == (409, "organization_not_suspended")
    await stand(house, first.org, "suspend")
    name = (await house.ask("GET", f"/v1/organizations/{first.org}", house.platform_key)).json()["name"]
    for wrong in ("", "yes", second.org, name.lower()):
        refused = await erase(house, first.org, wrong)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/confirm"), wrong
    assert (await erase(house, NOBODYS, NOBODYS)).status_code == 404

    begun = await erase(house, first.org, name)

    assert (begun.status_code, begun.headers["location"]) == (202, f"/v1/organizations/{first.org}/erasure")
    assert begun.json()["state"] == "running"
    assert {one["service"] for one in begun.json()["services"]} == {process_name(service) for service in SERVICES}
    for again in (await erase(house, first.org, name), await stand(house, first.org, "resume")):
        assert again.status_code == 404
    gone = await house.ask("GET", "/v1/me", first.admin)
    assert (gone.status_code, gone.json()["code"]) == (401, "unauthenticated")
    staff = await house.ask("GET", "/v1/leads", house.platform_key, org=first.org)
    nobodys = await house.ask("GET", "/v1/leads", house.platform_key, org=NOBODYS)
    assert without_request_id(staff) == without_request_id(nobodys)


async def test_an_erasure_is_followed_service_by_service_and_remembered_by_the_platform(house, database):
    first, second = house.first, house.second
    theirs = (await house.ask("GET", "/v1/audit-log", second.admin)).json()["data"]
    await stand(house, first.org, "suspend")
    await erase(house, first.org, first.org)
    await Eraser(database("gateway"), "gateway").run_due()
    consumer = next(one for one in consumers() if one.queue == "gateway.erasures")
    processor = Processor(database("gateway"), consumer, "gateway")
    for service in SERVICES:
        process = process_name(service)
        if service == "gateway":
            events = await told(database, "erasure.progressed.v1")
        else:
            events = [progress(first.org_id, process, "completed", 5), progress(first.org_id, process, "running", 3)]
        for event in events:
            await processor.deliver([read_envelope(contract.seal(event, source=process, org_id=PLATFORM_ORG).raw)])
    # Refusals are told after the end; what comes from anywhere but the platform's org is nobody's business.
    late = progress(first.org_id, "analytics", "completed", 5, refused=2)
    forged = progress(first.org_id, "analytics", "completed", 9, refused=9)
    for event, org in ((late, PLATFORM_ORG), (forged, second.org_id)):
        await processor.deliver([read_envelope(contract.seal(event, source="analytics", org_id=org).raw)])

    async with database("gateway").tenant_transaction(second.org_id) as session:
        assert await session.fetch("SELECT 1 FROM erasures") == []

    shown = (await house.ask("GET", f"/v1/organizations/{first.org}/erasure", house.platform_key)).json()

    assert (shown["state"], shown["organization_id"]) == ("completed", first.org)
    by_service = {one["service"]: one for one in shown["services"]}
    assert by_service["provider-sync"]["tables"] == {"leads": 5}
    assert (by_service["analytics"]["rows"], by_service["analytics"]["refused"]) == (5, 2)
    gateway = by_service["gateway"]["tables"]
    assert gateway["organizations"] == 1
    assert gateway["companies"] == 2
    assert gateway["api_keys"] == 4
    assert gateway["audit_log"] >= 8
    entries = await actions(house, house.platform_key)
    assert [(one["action"], one["object"]) for one in entries] == [
        ("organization.erased", first.org), ("organization.suspended", first.org),
    ]  # fmt: skip
    assert entries[0]["details"] == {"reason": "contract ended"}
    assert await verify(database("gateway"), PLATFORM_ORG) is None
    listed = (await house.ask("GET", "/v1/organizations", house.platform_key)).json()["data"]
    assert [one["id"] for one in listed] == [second.org]
    assert (await house.ask("GET", "/v1/audit-log", second.admin)).json()["data"] == theirs
    assert (await house.ask("GET", f"/v1/organizations/{second.org}/erasure", house.platform_key)).status_code == 404


def progress(org_id: OrgId, service: str, state: str, rows: int, refused: int = 0) -> ErasureProgressedV1:
    return ErasureProgressedV1.model_validate(
        {
            "organization_id": org_id, "service": service, "state": state, "tables": {"leads": rows}, "refused": refused,
            "changed_at": "2026-07-11T12:00:00Z",
        }
    )  # fmt: skip


async def test_a_key_in_use_while_its_organization_is_erased_makes_no_row(house, database):
    """The replica remembers the key for seconds: neither its rate limit nor its use nor its refusals are written down."""
    assert (await ask(house.twin, "GET", "/v1/me", house.first.admin)).status_code == 200
    await stand(house, house.first.org, "suspend")
    await erase(house, house.first.org, house.first.org)
    await Eraser(database("gateway"), "gateway").run_due()

    for path in ("/v1/me", "/v1/api-keys", "/v1/companies", "/v1/nothing"):
        answer = await ask(house.twin, "GET", path, house.first.admin)
        assert answer.status_code in (200, 401, 404), answer.text
    await house.twin._gate.uses.flush()

    async with database("gateway").transaction() as transaction:
        session = await transaction.as_tenant(house.first.org_id, even_erased=True)
        for table in ("rate_buckets", "audit_log", "audit_heads", "api_keys", "outbox", "ledger"):
            rows = await session.fetch(f"SELECT * FROM {table} WHERE org_id = $1", house.first.org_id)
            assert [row for row in rows if row.get("type") != "organization.erased.v1"] == [], table


async def test_an_archived_company_is_left_to_the_admins(house, database):
    first = house.first
    archived = await house.ask("POST", f"/v1/companies/{first.company}/archive", first.admin)
    assert (archived.status_code, archived.json()["status"]) == (200, "archived")
    assert (await house.ask("POST", f"/v1/companies/{first.company}/archive", first.admin)).status_code == 200

    (event,) = await told(database, "company.archived.v1")
    assert (event.company_id, event.envelope.company_id) == (first.company_id, first.company_id)
    # Whoever was let in for it alone sees nothing any more.
    me = (await house.ask("GET", "/v1/me", first.manager)).json()
    assert me["company_ids"] == []
    assert (await house.ask("GET", f"/v1/leads?company_id={first.company}", first.manager)).status_code == 404
    # Its data stays readable to admins.
    assert (await house.ask("GET", f"/v1/leads?company_id={first.company}", first.admin)).status_code == 200
    listed = {one["id"]: one["status"] for one in (await house.ask("GET", "/v1/companies", first.admin)).json()["data"]}
    assert listed == {first.company: "archived", first.sibling: "active"}
    # Nobody is let in for it from now on.
    wanted = {"name": "late", "role": "company_viewer", "company_ids": [first.company]}
    assert (await house.ask("POST", "/v1/api-keys", first.admin, json=wanted)).status_code == 422
    person = wanted | {"subject": "idp|late", "email": "late@example.com"}
    assert (await house.ask("POST", "/v1/users", first.admin, json=person)).status_code == 422
    assert (await house.ask("POST", f"/v1/companies/{first.sibling}/archive", first.manager)).status_code == 403
    for other in (house.second.company, "cmp_" + "9" * 32, "nonsense"):
        assert (await house.ask("POST", f"/v1/companies/{other}/archive", first.admin)).status_code == 404
    assert (await house.ask("GET", "/v1/me", house.second.manager)).json()["company_ids"] == [house.second.company]
