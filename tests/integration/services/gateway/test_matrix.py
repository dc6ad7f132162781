"""What owners are told of the callers whom the gateway lets through: tenant, companies, permissions; and what each caller's
parameters mean. Who is let through at all is read from the reviewed table, tests/security/matrix/table.txt.
"""

from __future__ import annotations

from datetime import timedelta

from libs.clock import now
from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, parse_public_id
from libs.messaging.work import Units
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.tenancy.roles import COMPANY_ROLES, PERMISSIONS, Role
from services.gateway import keys
from services.gateway.forwarding import FORWARDS
from services.gateway.handlers.keys import add_key
from services.gateway.keys import Peppers
from tests.integration.services.gateway.conftest import PEPPER
from tests.integration.services.gateway.house import House, ask, assume, staff_key, without_request_id
from tests.security.matrix.table import FILE, parse

ID, SLOT, LEAD = "cam_" + "0" * 31 + "1", "2026-07-11T12:00:00Z", "led_" + "0" * 31 + "1"
OWNER = {f"{forward.method} {forward.path}": forward.owner for forward in FORWARDS}
SCHEDULERS = "PUT /v1/reconciliation-schedules/{id}/slots/{slot}"
LIMITED = {"company_manager", "company_viewer"}

# Who asks -> section and column of the reviewed table.
COLUMNS = {
    "super_admin bare": ("gateway, members", "sup"),
    "super_admin outside an org": ("gateway, members", "sin"),
    "super_admin who was in an org": ("gateway, members", "sin"),
    "super_admin who is in another org": ("gateway, members", "sin"),
    "super_admin in an org": ("gateway, members", "sas"),
    "super_admin in an org to write": ("gateway, members", "saw"),
    "operator bare": ("gateway, members", "sop"),
    "operator": ("gateway, members", "sopn"),
    "reading key": ("gateway, members", "krd"),
    "super_admin in an org that is not": ("gateway, members", "snon"),
    "org_admin": ("gateway, members", "adm"),
    "company_manager": ("gateway, members", "mgr"),
    "company_viewer": ("gateway, members", "view"),
    "scheduler": ("gateway, members", "schd"),
    "another org's scheduler": ("gateway, members", "alin"),
    "another org's admin": ("gateway, members", "alin"),
    "revoked key": ("gateway, strangers", "revk"),
    "expired key": ("gateway, strangers", "expk"),
    "unknown key": ("gateway, strangers", "unkn"),
    "wrong secret": ("gateway, strangers", "junk"),
    "garbage": ("gateway, strangers", "junk"),
    "no key": ("gateway, strangers", "anon"),
}
TABLE = parse(FILE.read_text())


def reviewed(route: str, name: str) -> str:
    """What the table says of asking for something of one's own: `all` or `company`, or the refusal."""
    section, column = COLUMNS[name]
    cell = next(iter(TABLE.cells[section][route].values()))[column]
    refused = TABLE.codes.get(cell, "")
    # A conflict, and what a provider cannot do, is for the owner to tell.
    if cell[0] == "2" or cell[:3] == "409" or refused == "capability_unsupported":
        return "company" if name in LIMITED else "all"
    return f"{cell[:3]} {refused}"


async def spoilt_keys(house: House, database: Database) -> dict[str, str]:
    async with Units(database, "gateway").begin(house.first.org_id) as work:
        expired = await add_key(
            work, Peppers(PEPPER), name="old", role=Role.ORG_ADMIN, expires_at=now() - timedelta(seconds=1)
        )
    wanted = {"name": "revoked", "role": "org_admin"}
    revoked = (await house.ask("POST", "/v1/api-keys", house.first.admin, json=wanted)).json()
    gone = await house.ask("DELETE", f"/v1/api-keys/{revoked['id']}", house.first.admin)
    assert gone.status_code == 204
    return {"expired": expired.key, "revoked": revoked["key"]}


async def staff(house: House) -> dict[str, tuple[str | None, str | None]]:
    """Platform staff in the first tenant, and not quite in it."""
    keys = {
        "super_admin who was in an org": await staff_key(house),
        "super_admin who is in another org": await staff_key(house),
        "super_admin in an org": await staff_key(house),
        "super_admin in an org to write": await staff_key(house),
        "operator": await staff_key(house, "operator"),
    }
    over = await assume(house, keys["super_admin who was in an org"], house.first.org, write=True)
    assert (await house.ask("DELETE", f"/v1/assumptions/{over}", house.platform_key)).status_code == 204
    await assume(house, keys["super_admin who is in another org"], house.second.org, write=True)
    await assume(house, keys["super_admin in an org"], house.first.org)
    await assume(house, keys["super_admin in an org to write"], house.first.org, write=True)
    named = {name: (key, house.first.org) for name, key in keys.items()}
    return {**named, "operator bare": (keys["operator"], None)}


async def reading_key(house: House) -> str:
    scopes = sorted(one for one in PERMISSIONS[Role.ORG_ADMIN] if one.endswith(":read"))
    wanted = {"name": "reading", "role": "org_admin", "scopes": scopes}
    return str((await house.ask("POST", "/v1/api-keys", house.first.admin, json=wanted)).json()["key"])


async def callers(house: House, database: Database) -> dict[str, tuple[str | None, str | None]]:
    """Key and Outrider-Org header of each kind of caller; all of them mean the first tenant."""
    spoilt = await spoilt_keys(house, database)
    first, second = house.first, house.second
    never_issued, _ = keys.make(parse_public_id("org", second.org))
    other_secret, _ = keys.make(keys.parse(first.admin).id)  # type: ignore[union-attr]
    return {
        "super_admin bare": (house.platform_key, None),
        "super_admin outside an org": (house.platform_key, first.org),
        **await staff(house),
        "reading key": (await reading_key(house), None),
        "super_admin in an org that is not": (house.platform_key, "org_" + "7" * 32),
        "org_admin": (first.admin, None),
        "company_manager": (first.manager, None),
        "company_viewer": (first.viewer, first.org),
        "scheduler": (first.scheduler, None),
        "another org's scheduler": (second.scheduler, first.org),
        "another org's admin": (second.admin, first.org),
        "revoked key": (spoilt["revoked"], None),
        "expired key": (spoilt["expired"], None),
        "unknown key": (never_issued, None),
        "wrong secret": (other_secret, None),
        "garbage": ("otr_live_nonsense", None),
        "no key": (None, None),
    }


async def outcome(house: House, route: str, key: str | None, org: str | None, query: str = "") -> str:
    """`all` or `company` (the scope that the owner was told), or the refusal."""
    method, template = route.split(" ")
    heard_before = {process: len(owner.heard) for process, owner in house.owners.items()}
    path = template.replace("{id}", ID).replace("{slot}", SLOT).replace("{lead}", LEAD).replace("{table}", "leads")
    response = await house.ask(method, path + query, key, org=org)
    heard = {process: owner.heard[heard_before[process] :] for process, owner in house.owners.items()}
    if response.status_code != 200:
        assert not any(heard.values()), f"{route} was refused and yet an owner was asked"
        assert response.headers["content-type"] == "application/problem+json"
        return f"{response.status_code} {response.json()['code']}"
    assert {process for process, requests in heard.items() if requests} == {OWNER[route]}
    (request,) = heard[OWNER[route]]
    assert (request.method, request.path) == (method, path.removeprefix("/v1"))
    assert "authorization" not in request.headers
    assert request.context.org_id == house.first.org_id
    scopes = {
        ALL_COMPANIES: "all",
        CompanyScope.of([house.first.company_id]): "company",
        CompanyScope.of([CompanyId(parse_public_id("cmp", house.first.sibling))]): "sibling",
    }
    return scopes[request.context.scope]


async def test_owners_are_told_of_whom_the_table_lets_through(either_house, database):
    found = {
        (route, name): await outcome(either_house, route, key, org)
        for name, (key, org) in (await callers(either_house, database("gateway"))).items()
        for route in OWNER
    }

    assert found == {(route, name): reviewed(route, name) for name in COLUMNS for route in OWNER}
    assert {role.value for role in COMPANY_ROLES} == LIMITED


async def test_company_parameters_mean_the_same_on_every_route(house):
    first = house.first
    await assume(house, house.platform_key, first.org, write=True)
    admins = {"org_admin": (first.admin, None), "super_admin": (house.platform_key, first.org)}
    companies = {"company_manager": (first.manager, None), "company_viewer": (first.viewer, None)}
    nobodys = f"cmp_{'9' * 32}"
    for route in OWNER:
        for key, org in admins.values():
            assert await outcome(house, route, key, org, "?all_companies=true") == "all"
            assert await outcome(house, route, key, org, f"?company_id={first.company}") == "company"
            sibling = f"?company_id={first.sibling}&all_companies=false"
            assert await outcome(house, route, key, org, sibling) == "sibling"
            assert await outcome(house, route, key, org, "?all_companies=false") == reviewed(route, "org_admin")
            for hidden in (house.second.company, nobodys, "nonsense", ""):
                assert await outcome(house, route, key, org, f"?company_id={hidden}") == "404 not_found"
            both = f"?company_id={first.company}&all_companies=true"
            assert await outcome(house, route, key, org, both) == "422 invalid_request"
        for name, (key, org) in companies.items():
            if reviewed(route, name) == "403 forbidden":
                continue
            assert await outcome(house, route, key, org, "?all_companies=true") == "403 all_companies_forbidden"
            assert await outcome(house, route, key, org, "?all_companies=false") == "company"
            assert await outcome(house, route, key, org, f"?company_id={first.company}") == "company"
            for hidden in (first.sibling, house.second.company, nobodys, "nonsense"):
                assert await outcome(house, route, key, org, f"?company_id={hidden}") == "404 not_found"
        if route == SCHEDULERS:
            for query in (f"?company_id={first.company}", f"?company_id={nobodys}", "?all_companies=true"):
                assert await outcome(house, route, first.scheduler, None, query) == "403 forbidden"
        for value in ("1", "TRUE", "yes", "", "true%20"):
            assert await outcome(house, route, first.admin, None, f"?all_companies={value}") == "422 invalid_request"


async def test_email_and_linkedin_refuse_with_sentences_that_help(house):
    await assume(house, house.platform_key, house.first.org)
    for channel in ("email", "linkedin"):
        refused = await house.ask("GET", f"/v1/{channel}/campaigns?all_companies=true", house.first.viewer)
        assert (refused.status_code, refused.json()["code"]) == (403, "all_companies_forbidden")
        assert "org_admin and platform staff" in refused.json()["detail"]
        asked = await house.ask("GET", f"/v1/{channel}/campaigns", house.platform_key, org=house.first.org)
        assert asked.status_code == 422
        assert "company_id=" in asked.json()["detail"]
        assert "all_companies=true" in asked.json()["detail"]


async def test_another_orgs_company_is_refused_as_one_that_never_was(house):
    theirs = await house.ask("GET", f"/v1/leads?company_id={house.second.company}", house.first.admin)
    nobodys = await house.ask("GET", f"/v1/leads?company_id=cmp_{'9' * 32}", house.first.admin)

    assert without_request_id(theirs) == without_request_id(nobodys)


async def test_another_org_is_refused_as_one_that_never_was(house):
    for key in (house.first.admin, house.first.viewer):
        theirs = await house.ask("GET", "/v1/leads", key, org=house.second.org)
        nobodys = await house.ask("GET", "/v1/leads", key, org="org_" + "7" * 32)
        assert without_request_id(theirs) == without_request_id(nobodys)
        assert theirs.status_code == 404
    staff = await house.ask("GET", "/v1/leads", house.platform_key, org="org_" + "7" * 32)
    assert staff.status_code == 404


async def test_an_unknown_id_a_wrong_secret_and_garbage_get_one_answer(house, database):
    known = await callers(house, database("gateway"))
    answers = [
        without_request_id(await house.ask("GET", "/v1/me", known[name][0]))
        for name in ("unknown key", "wrong secret", "garbage")
    ]

    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 401


async def test_the_platform_org_cannot_be_named(house):
    for key in (house.platform_key, house.first.admin):
        assert (await house.ask("GET", "/v1/leads", key, org="org_" + "0" * 32)).status_code == 404


async def test_the_context_names_principal_and_permissions(house):
    await house.ask("GET", "/v1/leads", house.first.viewer)
    viewer = house.last("provider-sync").context
    await assume(house, house.platform_key, house.first.org)
    await house.ask("GET", "/v1/leads?all_companies=true", house.platform_key, org=house.first.org)
    staff = house.last("provider-sync").context

    assert viewer.principal.startswith("key:")
    assert viewer.may("leads:read")
    assert not viewer.may("reconciliations:start")
    assert staff.principal.startswith("platform:")
    assert staff.may("leads:read")
    assert not staff.may("accounts:write")
    assert staff.org_id == OrgId(house.first.org_id)


async def test_a_context_for_one_owner_is_refused_by_the_next(house):
    await house.ask("GET", "/v1/reconciliations", house.first.admin)
    token = house.last("reconciliation").headers["outrider-context"]

    stolen = await ask(house.owners["analytics"], "GET", "/analytics/ledger", headers={"outrider-context": token})
    own = await ask(house.owners["reconciliation"], "GET", "/reconciliations", headers={"outrider-context": token})

    assert (stolen.status_code, own.status_code) == (401, 200)
