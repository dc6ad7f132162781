"""Every forwarded route × every kind of caller. The expected outcomes are written down role by role, not computed from the
code's own tables; a route or a caller that is missing fails the test."""

from __future__ import annotations

from datetime import timedelta

from fastapi.routing import APIRoute

from libs.clock import now
from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, parse_public_id
from libs.messaging.work import Units
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.tenancy.roles import Role
from libs.web.cursors import Cursors
from services.gateway import keys
from services.gateway.forwarding import FORWARDS
from services.gateway.gate import Gate
from services.gateway.handlers.keys import add_key
from services.gateway.keys import Peppers
from services.gateway.routes import own_routes
from tests.integration.services.gateway.conftest import PEPPER
from tests.integration.services.gateway.house import House, ask, without_request_id

ID = "cam_" + "0" * 31 + "1"

# What only org_admin and super_admin may, and what a viewer may not.
ADMINS_ONLY = {
    "POST /v1/provider-accounts",
    "GET /v1/analytics/ledger",
    "GET /v1/deliveries",
    "GET /v1/deliveries/{id}",
}
NOT_FOR_VIEWERS = ADMINS_ONLY | {"POST /v1/reconciliations"}

# Lists which admins must narrow to a company, or open for all, by a word.
COMPANY_LISTS = {
    "GET /v1/email/campaigns",
    "GET /v1/linkedin/campaigns",
    "GET /v1/leads",
    "GET /v1/inbox/conversations",
    "GET /v1/analytics/campaigns",
    "GET /v1/analytics/sequence-steps",
}

OWNER = {
    "POST /v1/provider-accounts": "provider-sync",
    "GET /v1/provider-accounts": "provider-sync",
    "GET /v1/provider-accounts/{id}": "provider-sync",
    "GET /v1/email/campaigns": "provider-sync",
    "GET /v1/email/campaigns/{id}": "provider-sync",
    "GET /v1/linkedin/campaigns": "provider-sync",
    "GET /v1/linkedin/campaigns/{id}": "provider-sync",
    "GET /v1/leads": "provider-sync",
    "GET /v1/leads/{id}": "provider-sync",
    "GET /v1/inbox/conversations": "provider-sync",
    "GET /v1/inbox/conversations/{id}": "provider-sync",
    "GET /v1/inbox/conversations/{id}/messages": "provider-sync",
    "GET /v1/analytics/campaigns": "analytics",
    "GET /v1/analytics/sequence-steps": "analytics",
    "GET /v1/analytics/ledger": "analytics",
    "POST /v1/reconciliations": "reconciliation",
    "GET /v1/reconciliations": "reconciliation",
    "GET /v1/reconciliations/{id}": "reconciliation",
    "GET /v1/reconciliations/{id}/drifts": "reconciliation",
    "GET /v1/deliveries": "webhook-ingest",
    "GET /v1/deliveries/{id}": "webhook-ingest",
}


def test_the_table_is_the_agreed_one():
    assert {f"{forward.method} {forward.path}": forward.owner for forward in FORWARDS} == OWNER
    assert {f"{forward.method} {forward.path}" for forward in FORWARDS if forward.company_filter} == COMPANY_LISTS


def admin(route: str) -> str:
    return "422 company_scope_required" if route in COMPANY_LISTS else "all"


EXPECTED = {
    "super_admin bare": lambda route: "422 organization_required",
    "super_admin in an org": admin,
    "super_admin in an org that is not": lambda route: "404 not_found",
    "org_admin": admin,
    "company_manager": lambda route: "403 forbidden" if route in ADMINS_ONLY else "company",
    "company_viewer": lambda route: "403 forbidden" if route in NOT_FOR_VIEWERS else "company",
    "another org's admin": lambda route: "404 not_found",
    "revoked key": lambda route: "401 key_revoked",
    "expired key": lambda route: "401 key_expired",
    "unknown key": lambda route: "401 unauthenticated",
    "wrong secret": lambda route: "401 unauthenticated",
    "garbage": lambda route: "401 unauthenticated",
    "no key": lambda route: "401 unauthenticated",
}


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


async def callers(house: House, database: Database) -> dict[str, tuple[str | None, str | None]]:
    """Key and Outrider-Org header of each kind of caller; all of them mean the first tenant."""
    spoilt = await spoilt_keys(house, database)
    first, second = house.first, house.second
    never_issued, _ = keys.make(parse_public_id("org", second.org))
    other_secret, _ = keys.make(keys.parse(first.admin).id)  # type: ignore[union-attr]
    return {
        "super_admin bare": (house.platform_key, None),
        "super_admin in an org": (house.platform_key, first.org),
        "super_admin in an org that is not": (house.platform_key, "org_" + "7" * 32),
        "org_admin": (first.admin, None),
        "company_manager": (first.manager, None),
        "company_viewer": (first.viewer, first.org),
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
    response = await house.ask(method, template.replace("{id}", ID) + query, key, org=org)
    heard = {process: owner.heard[heard_before[process] :] for process, owner in house.owners.items()}
    if response.status_code != 200:
        assert not any(heard.values()), f"{route} was refused and yet an owner was asked"
        assert response.headers["content-type"] == "application/problem+json"
        return f"{response.status_code} {response.json()['code']}"
    assert {process for process, requests in heard.items() if requests} == {OWNER[route]}
    (request,) = heard[OWNER[route]]
    assert (request.method, request.path) == (method, template.replace("{id}", ID).removeprefix("/v1"))
    assert "authorization" not in request.headers
    assert request.context.org_id == house.first.org_id
    scopes = {
        ALL_COMPANIES: "all",
        CompanyScope.of([house.first.company_id]): "company",
        CompanyScope.of([CompanyId(parse_public_id("cmp", house.first.sibling))]): "sibling",
    }
    return scopes[request.context.scope]


async def test_every_route_for_every_caller(either_house, database):
    found = {
        (route, name): await outcome(either_house, route, key, org)
        for name, (key, org) in (await callers(either_house, database("gateway"))).items()
        for route in OWNER
    }

    assert found == {(route, name): expected(route) for name, expected in EXPECTED.items() for route in OWNER}


async def test_company_parameters_mean_the_same_on_every_route(house):
    first = house.first
    admins = {"org_admin": (first.admin, None), "super_admin": (house.platform_key, first.org)}
    companies = {"manager": (first.manager, None), "viewer": (first.viewer, None)}
    nobodys = f"cmp_{'9' * 32}"
    for route in OWNER:
        for key, org in admins.values():
            assert await outcome(house, route, key, org, "?all_companies=true") == "all"
            assert await outcome(house, route, key, org, f"?company_id={first.company}") == "company"
            sibling = f"?company_id={first.sibling}&all_companies=false"
            assert await outcome(house, route, key, org, sibling) == "sibling"
            assert await outcome(house, route, key, org, "?all_companies=false") == admin(route)
            for hidden in (house.second.company, nobodys, "nonsense", ""):
                assert await outcome(house, route, key, org, f"?company_id={hidden}") == "404 not_found"
            both = f"?company_id={first.company}&all_companies=true"
            assert await outcome(house, route, key, org, both) == "422 invalid_request"
        for name, (key, org) in companies.items():
            if route in (NOT_FOR_VIEWERS if name == "viewer" else ADMINS_ONLY):
                continue
            assert await outcome(house, route, key, org, "?all_companies=true") == "403 all_companies_forbidden"
            assert await outcome(house, route, key, org, "?all_companies=false") == "company"
            assert await outcome(house, route, key, org, f"?company_id={first.company}") == "company"
            for hidden in (first.sibling, house.second.company, nobodys, "nonsense"):
                assert await outcome(house, route, key, org, f"?company_id={hidden}") == "404 not_found"
        for value in ("1", "TRUE", "yes", "", "true%20"):
            assert await outcome(house, route, first.admin, None, f"?all_companies={value}") == "422 invalid_request"


async def test_email_and_linkedin_refuse_with_sentences_that_help(house):
    for channel in ("email", "linkedin"):
        refused = await house.ask("GET", f"/v1/{channel}/campaigns?all_companies=true", house.first.viewer)
        assert (refused.status_code, refused.json()["code"]) == (403, "all_companies_forbidden")
        assert "org_admin and super_admin" in refused.json()["detail"]
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
    await house.ask("GET", "/v1/leads?all_companies=true", house.platform_key, org=house.first.org)
    staff = house.last("provider-sync").context

    assert viewer.principal.startswith("key:")
    assert viewer.may("leads:read")
    assert not viewer.may("reconciliations:start")
    assert staff.principal.startswith("platform:")
    assert staff.org_id == OrgId(house.first.org_id)


async def test_a_context_for_one_owner_is_refused_by_the_next(house):
    await house.ask("GET", "/v1/reconciliations", house.first.admin)
    token = house.last("reconciliation").headers["outrider-context"]

    stolen = await ask(house.owners["analytics"], "GET", "/analytics/ledger", headers={"outrider-context": token})
    own = await ask(house.owners["reconciliation"], "GET", "/reconciliations", headers={"outrider-context": token})

    assert (stolen.status_code, own.status_code) == (401, 200)


# The gateway's own routes: what each role gets from an empty but well-formed request. `{key}` and `{usr}` are nobody's ids.
OWN_ADMINS_ONLY = {
    "POST /v1/companies": 422,
    "POST /v1/api-keys": 422,
    "GET /v1/api-keys": 200,
    "DELETE /v1/api-keys/{key}": 404,
    "POST /v1/api-keys/{key}/rotations": 404,
    "POST /v1/users": 422,
    "GET /v1/users": 200,
    "GET /v1/users/{usr}": 404,
    "PATCH /v1/users/{usr}": 422,
    "DELETE /v1/users/{usr}": 404,
    "GET /v1/audit-log": 200,
    "GET /v1/dead-letters": 200,
}
OWN_FOR_ALL = {"GET /v1/me": 200, "GET /v1/organizations": 200, "GET /v1/companies": 200}
OWN_FOR_STAFF = {"POST /v1/organizations": 422}
OWN = {**OWN_ADMINS_ONLY, **OWN_FOR_ALL, **OWN_FOR_STAFF}


async def test_every_own_route_for_every_caller(house, database):
    gateway = database("gateway")
    router = own_routes(Gate(gateway, Peppers(PEPPER)), Units(gateway, "gateway"), Peppers(PEPPER), Cursors("key"))
    served = {
        f"{method} {route.path}"
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }
    assert served == {route.replace("{usr}", "{user}") for route in OWN}

    for name, (key, org) in (await callers(house, database("gateway"))).items():
        for route, admins in OWN.items():
            method, template = route.split(" ")
            path = template.replace("{key}", f"key_{'9' * 32}").replace("{usr}", f"usr_{'9' * 32}")
            more: dict[str, dict[str, str]] = {"json": {}} if method in ("POST", "PATCH") else {}
            response = await house.ask(method, path, key, org=org, **more)
            if name in ("revoked key", "expired key", "unknown key", "wrong secret", "garbage", "no key"):
                expected = 401
            elif name in ("super_admin in an org that is not", "another org's admin"):
                expected = 404
            elif name == "super_admin bare":
                expected = 422 if route == "GET /v1/companies" else admins
            elif name == "super_admin in an org" or route in OWN_FOR_ALL:
                expected = admins
            elif name == "org_admin":
                expected = 403 if route in OWN_FOR_STAFF else admins
            else:
                expected = 403
            assert response.status_code == expected, (name, route, response.text)
