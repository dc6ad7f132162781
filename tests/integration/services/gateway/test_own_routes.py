"""Organizations, companies, keys, dead letters: the rows that are the gateway's own."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import orjson
import pytest
import structlog

from libs.clock import now, rfc3339
from libs.contracts import envelope as envelopes
from libs.database.engine import Database
from libs.ids import OrgId, new_id, parse_public_id, public_id
from libs.observability import logs
from libs.tenancy.signing import ContextVerifier
from tests.integration.services.gateway.dump import everything_in
from tests.integration.services.gateway.house import House, assume, without_request_id


async def told(database: Database, org_id: OrgId) -> list[envelopes.Envelope]:
    """The outbox of one org."""
    async with database.tenant_transaction(org_id) as session:
        rows = await session.fetch("SELECT envelope FROM outbox ORDER BY id")
    return [envelopes.read(row["envelope"]) for row in rows]


async def test_an_organization_is_made_with_its_event(house, database):
    response = await house.ask(
        "POST", "/v1/organizations", house.platform_key, json={"name": " Eastwind ", "time_zone": "Europe/Berlin"}
    )

    assert response.status_code == 201
    org = response.json()
    assert (org["name"], org["time_zone"], org["status"]) == ("Eastwind", "Europe/Berlin", "active")
    org_id = OrgId(parse_public_id("org", org["id"]))
    (event,) = await told(database("gateway"), org_id)
    assert (event.type, event.source, event.org_id) == ("organization.created.v1", "gateway", org_id)
    assert event.data == {"organization_id": str(org_id), "name": "Eastwind", "time_zone": "Europe/Berlin"}


async def test_a_company_is_made_with_its_event(house, database):
    response = await house.ask("POST", "/v1/companies", house.first.admin, json={"name": "Lake Tours"})

    assert response.status_code == 201
    company = response.json()
    event = (await told(database("gateway"), house.first.org_id))[-1]
    assert event.type == "company.created.v1"
    assert public_id("cmp", UUID(str(event.company_id))) == company["id"]
    assert event.data == {"company_id": str(event.company_id), "name": "Lake Tours"}


async def test_what_is_refused_leaves_no_row_and_no_event(house, database):
    before = await told(database("gateway"), house.first.org_id)
    for path, key, body in (
        ("/v1/organizations", house.first.admin, {"name": "Mine"}),
        ("/v1/companies", house.first.manager, {"name": "Mine"}),
        ("/v1/companies", house.first.admin, {"name": ""}),
        ("/v1/companies", house.platform_key, {"name": "Whose?"}),
        ("/v1/organizations", house.platform_key, {"name": "x", "time_zone": "Mars/Olympus"}),
    ):
        assert (await house.ask("POST", path, key, json=body)).status_code in (403, 422)
    assert await told(database("gateway"), house.first.org_id) == before
    async with database("gateway").tenant_transaction(house.first.org_id) as session:
        assert await session.fetchval("SELECT count(*) FROM companies") == 2


async def test_unknown_fields_and_parameters_are_refused_by_name(house):
    field = await house.ask("POST", "/v1/companies", house.first.admin, json={"name": "A", "org_id": "x"})
    parameter = await house.ask("GET", "/v1/companies?limt=5", house.first.admin)
    none_known = await house.ask("GET", "/v1/me?verbose=1", house.first.admin)

    assert field.status_code == parameter.status_code == none_known.status_code == 422
    assert "org_id" in field.json()["detail"]
    assert "known are name" in field.json()["detail"]
    assert parameter.json()["code"] == "unknown_parameter"
    assert "'limt'" in parameter.json()["detail"]
    assert "after, limit" in parameter.json()["detail"]
    assert "none is known here" in none_known.json()["detail"]


async def test_strange_bodies_are_refused_and_never_break_us(house):
    await assume(house, house.platform_key, house.first.org, write=True)
    for content in (
        b"", b"null", b"[]", b'"name"', b"{", b'{"name":null}', b'{"name":"\\u0000"}', b'{"name":"\\ud800"}',
        b'{"\\ud800":1,"name":"a"}', b'{"name":"a\\nb"}', b"\xff\xfe", b'{"name":' + b"[" * 100_000, b'{"name":{"a":1}}',
        b'{"name":"' + b"a" * 201 + b'"}', b'{"name":1e999}',
    ):  # fmt: skip
        for path in ("/v1/organizations", "/v1/companies", "/v1/api-keys", "/v1/assumptions"):
            response = await house.ask(
                "POST", path, house.platform_key, org=house.first.org, content=content,
                headers={"Content-Type": "application/json"},
            )  # fmt: skip
            assert response.status_code in (400, 422), (path, content, response.text)
            assert response.headers["content-type"] == "application/problem+json"


async def test_who_is_not_known_is_told_so_before_the_body_is_looked_at(house):
    response = await house.ask("POST", "/v1/companies", None, content=b"{", headers={"Content-Type": "text/plain"})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"


async def walk(house: House, path: str, key: str, org: str | None = None, limit: int = 1) -> list[str]:
    """The ids of a list, page by page."""
    ids: list[str] = []
    after = ""
    while True:
        page = (await house.ask("GET", f"{path}?limit={limit}{after}", key, org=org)).json()
        assert len(page["data"]) <= limit
        ids += [item.get("id", item.get("event_id")) for item in page["data"]]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return ids
        after = f"&after={page['next_cursor']}"


async def test_organizations_are_listed_to_the_platform_and_their_own_to_each(house):
    assert await walk(house, "/v1/organizations", house.platform_key) == [house.first.org, house.second.org]
    assert await walk(house, "/v1/organizations", house.platform_key, house.second.org) == [house.second.org]
    for key in (house.first.admin, house.first.viewer):
        assert await walk(house, "/v1/organizations", key) == [house.first.org]


async def test_companies_are_listed_within_the_callers(house):
    both = [house.first.company, house.first.sibling]
    await assume(house, house.platform_key, house.first.org)
    assert await walk(house, "/v1/companies", house.first.admin) == both
    assert await walk(house, "/v1/companies", house.platform_key, house.first.org) == both
    assert await walk(house, "/v1/companies", house.first.manager) == [house.first.company]
    assert await walk(house, "/v1/companies", house.first.viewer) == [house.first.company]


async def test_a_cursor_opens_one_list_of_one_org(house):
    cursor = (await house.ask("GET", "/v1/companies?limit=1", house.first.admin)).json()["next_cursor"]

    theirs = await house.ask("GET", f"/v1/companies?after={cursor}", house.second.admin)
    other_list = await house.ask("GET", f"/v1/api-keys?after={cursor}", house.first.admin)
    garbage = await house.ask("GET", "/v1/companies?after=garbage", house.second.admin)

    assert without_request_id(theirs) == without_request_id(garbage)
    assert other_list.json()["code"] == garbage.json()["code"] == "invalid_cursor"


async def test_limits_are_kept(house):
    for limit in ("0", "101", "-1", "many"):
        assert (await house.ask("GET", f"/v1/companies?limit={limit}", house.first.admin)).status_code == 422


async def issue(house: House, key: str, org: str | None = None, **wanted: object):
    return await house.ask("POST", "/v1/api-keys", key, org=org, json={"name": "new", **wanted})


async def test_a_key_is_shown_once_and_works(house):
    response = await issue(house, house.first.admin, role="company_viewer", company_ids=[house.first.sibling])
    issued = response.json()

    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    assert issued["last4"] == issued["key"][-4:]
    me = (await house.ask("GET", "/v1/me", issued["key"])).json()
    assert me["key_id"] == issued["id"]
    assert me["company_ids"] == [house.first.sibling]
    assert me["organization_id"] == house.first.org
    listed = (await house.ask("GET", "/v1/api-keys", house.first.admin)).json()["data"]
    assert issued["id"] in [key["id"] for key in listed]
    assert all(set(key) == set(issued) - {"key"} for key in listed)


async def test_a_key_gives_away_at_most_what_it_has(house):
    first = house.first
    refused = {
        "platform role by an org": await issue(house, first.admin, role="super_admin"),
        "platform role within an org": await issue(house, house.platform_key, first.org, role="super_admin"),
        "org role without an org": await issue(house, house.platform_key, role="org_admin"),
        "by a manager": await issue(house, first.manager, role="company_viewer", company_ids=[first.company]),
    }
    assert {name: response.status_code for name, response in refused.items()} == dict.fromkeys(refused, 403)
    invalid = {
        "no companies": await issue(house, first.admin, role="company_viewer"),
        "companies of an admin": await issue(house, first.admin, role="org_admin", company_ids=[first.company]),
        "no such role": await issue(house, first.admin, role="owner"),
        "in the past": await issue(house, first.admin, role="org_admin", expires_at="2020-01-01T00:00:00Z"),
        "no time zone": await issue(house, first.admin, role="org_admin", expires_at="2030-01-01T00:00:00"),
    }
    assert {name: response.status_code for name, response in invalid.items()} == dict.fromkeys(invalid, 422)
    theirs = await issue(house, first.admin, role="company_viewer", company_ids=[house.second.company])
    nobodys = await issue(house, first.admin, role="company_viewer", company_ids=["cmp_" + "9" * 32])
    assert without_request_id(theirs) == without_request_id(nobodys)
    assert theirs.status_code == 422


async def test_a_key_that_expires_makes_none_that_lives_longer(house):
    soon = now() + timedelta(hours=1)
    short = (await issue(house, house.first.admin, role="org_admin", expires_at=rfc3339(soon))).json()["key"]

    assert (await issue(house, short, role="org_admin")).status_code == 403
    later = rfc3339(soon + timedelta(seconds=1))
    assert (await issue(house, short, role="org_admin", expires_at=later)).status_code == 403
    assert (await issue(house, short, role="org_admin", expires_at=rfc3339(soon))).status_code == 201


async def test_staff_make_staff_keys(house):
    issued = (await issue(house, house.platform_key, role="super_admin")).json()

    assert (await house.ask("GET", "/v1/me", issued["key"])).json()["role"] == "super_admin"
    staff = (await house.ask("GET", "/v1/api-keys", house.platform_key)).json()["data"]
    assert [key["role"] for key in staff] == ["super_admin", "super_admin"]
    tenants = (await house.ask("GET", "/v1/api-keys", house.first.admin)).json()["data"]
    assert {key["role"] for key in tenants} == {"org_admin", "company_manager", "company_viewer", "scheduler"}


async def test_a_revoked_key_opens_nothing_and_revoking_again_changes_nothing(house):
    issued = (await issue(house, house.first.admin, role="org_admin")).json()
    assert (await house.ask("GET", "/v1/me", issued["key"])).status_code == 200

    for _ in range(2):
        response = await house.ask("DELETE", f"/v1/api-keys/{issued['id']}", house.first.admin)
        assert response.status_code == 204
        assert response.content == b""

    refused = await house.ask("GET", "/v1/me", issued["key"])
    assert (refused.status_code, refused.json()["code"]) == (401, "key_revoked")


async def test_anothers_key_cannot_be_revoked_and_is_answered_as_one_that_never_was(house):
    theirs = (await issue(house, house.second.admin, role="org_admin")).json()

    foreign = await house.ask("DELETE", f"/v1/api-keys/{theirs['id']}", house.first.admin)
    missing = await house.ask("DELETE", f"/v1/api-keys/key_{'9' * 32}", house.first.admin)
    malformed = await house.ask("DELETE", "/v1/api-keys/1", house.first.admin)

    assert without_request_id(foreign) == without_request_id(missing) == without_request_id(malformed)
    assert foreign.status_code == 404
    assert (await house.ask("GET", "/v1/me", theirs["key"])).status_code == 200


async def test_staff_who_name_no_org_are_asked_for_one(house):
    for method, path in (("GET", "/v1/companies"), ("GET", "/v1/leads?all_companies=true")):
        response = await house.ask(method, path, house.platform_key)
        assert (response.status_code, response.json()["code"]) == (422, "organization_required")
        assert "Outrider-Org" in response.json()["detail"]
    me = (await house.ask("GET", "/v1/me", house.platform_key)).json()
    assert me["organization_id"] is None


async def test_own_routes_answer_405_and_404(house):
    assert (await house.ask("PUT", "/v1/companies", house.first.admin)).status_code == 405
    for path in ("/v1", "/v1/", "/v1/companies/", "/", "/openapi.json", "/docs", "/v1/people"):
        assert (await house.ask("GET", path, house.first.admin)).status_code == 404, path


async def test_health_needs_no_key(house):
    assert (await house.ask("GET", "/health/live")).status_code == 200
    assert (await house.ask("GET", "/health/ready")).status_code == 200


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Our logs as a process of ours writes them."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    logs.setup("gateway", "debug")
    yield written
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_nothing_that_opens_a_door_is_kept_or_logged_in_clear(house, migrated, logged):
    issued = (await issue(house, house.first.admin, role="org_admin")).json()
    await house.ask("GET", "/v1/leads", issued["key"])
    await house.ask("POST", "/v1/companies", issued["key"], content=b"{")
    await house.ask("GET", "/v1/analytics/ledger", issued["key"][:-1])
    house.owners["analytics"].verifier = ContextVerifier([], "analytics")
    assert (await house.ask("GET", "/v1/analytics/ledger", issued["key"])).status_code == 503

    secret = issued["key"].split("_")[3][:43]
    kept = await everything_in(migrated.admin_url)
    assert "Northwind Outreach" in kept
    assert "owner_refused_context" in logged.getvalue()
    for place in (kept, logged.getvalue()):
        assert secret not in place
        assert secret.encode().hex() not in place


async def test_dead_letters_of_the_platform_are_for_staff(house, database):
    for org_id in (OrgId(UUID(int=0)), house.first.org_id):
        async with database("gateway").tenant_transaction(org_id) as session:
            await session.execute(
                "INSERT INTO dead_letters VALUES ($1, 'analytics.facts', $2, 'analytics', 't.v1', 's', 'dead', 'KeyError', "
                "'r', 'f', 1, now())",
                org_id,
                new_id(),
            )

    async def listed(key: str, org: str | None = None) -> int:
        return len((await house.ask("GET", "/v1/dead-letters", key, org=org)).json()["data"])

    assert await listed(house.platform_key) == 1
    assert await listed(house.platform_key, house.first.org) == 1
    assert await listed(house.first.admin) == 1
    assert await listed(house.second.admin) == 0
    assert (await house.ask("GET", "/v1/dead-letters", house.first.manager)).status_code == 403


async def test_answers_are_json_with_times_in_one_form(house):
    page = orjson.loads((await house.ask("GET", "/v1/companies", house.first.admin)).content)

    assert set(page) == {"data", "has_more", "next_cursor", "as_of"}
    for moment in (page["as_of"], page["data"][0]["created_at"]):
        assert len(moment) == len("2026-07-11T12:01:58.023000Z")
        assert moment.endswith("Z")
