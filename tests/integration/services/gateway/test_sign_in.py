"""People with a provider's token: it says who they are; what they may do is ours, and fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.services.gateway.house import House, served, without_request_id
from tests.integration.services.gateway.test_users import add, change
from tests.unit.services.gateway.provider import AUDIENCE, ISSUER, Provider


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
async def house(make_house, provider) -> AsyncIterator[House]:
    async with served(provider) as url:
        yield await make_house(oidc_issuer=ISSUER, oidc_audiences=AUDIENCE, oidc_jwks_url=f"{url}/jwks")


async def test_role_and_companies_come_from_the_membership(house, provider):
    first = house.first
    token = provider.token(role="super_admin", permissions=["keys:write"], company_ids=["*"])
    stranger = await house.ask("GET", "/v1/me", token)
    assert (stranger.status_code, stranger.json()["code"]) == (403, "no_membership")

    user = (await add(house, first.admin, role="company_viewer", company_ids=[first.company])).json()
    me = (await house.ask("GET", "/v1/me", token)).json()

    assert (me["user_id"], me["key_id"], me["role"]) == (user["id"], None, "company_viewer")
    assert (me["organization_id"], me["company_ids"]) == (first.org, [first.company])
    assert (await house.ask("GET", "/v1/leads", token)).status_code == 200
    context = house.last("provider-sync").context
    assert context.principal.startswith("user:")
    assert context.org_id == first.org_id
    assert context.scope.companies == {first.company_id}
    assert (await house.ask("GET", "/v1/api-keys", token)).status_code == 403
    assert (await house.ask("GET", f"/v1/leads?company_id={first.sibling}", token)).status_code == 404
    theirs = await house.ask("GET", "/v1/leads", token, org=house.second.org)
    nobodys = await house.ask("GET", "/v1/leads", token, org="org_" + "7" * 32)
    assert without_request_id(theirs) == without_request_id(nobodys)
    assert theirs.status_code == 404


async def test_a_change_is_in_force_at_once_here_and_within_five_seconds_elsewhere(house, provider, replica):
    user = (await add(house, house.first.admin)).json()["id"]
    token = provider.token()
    elsewhere = House(replica, {}, "", house.first, house.second)
    for one in (house, elsewhere):
        assert (await one.ask("GET", "/v1/api-keys", token)).status_code == 200

    await change(house, user, house.first.admin, role="company_viewer", company_ids=[house.first.company])

    changed_at = time.monotonic()
    assert (await house.ask("GET", "/v1/api-keys", token)).status_code == 403
    while (await elsewhere.ask("GET", "/v1/api-keys", token)).status_code == 200:
        assert time.monotonic() < changed_at + 5
        await asyncio.sleep(0.05)
    assert (await elsewhere.ask("GET", "/v1/me", token)).json()["role"] == "company_viewer"

    await change(house, user, house.first.admin, status="suspended")
    suspended = await house.ask("GET", "/v1/me", token)
    assert (suspended.status_code, suspended.json()["code"]) == (403, "user_suspended")

    other = (await add(house, house.first.admin, subject="idp|ben")).json()["id"]
    user, token = other, provider.token(sub="idp|ben")
    assert (await elsewhere.ask("GET", "/v1/me", token)).status_code == 200
    await house.ask("DELETE", f"/v1/users/{user}", house.first.admin)

    removed_at = time.monotonic()
    assert (await house.ask("GET", "/v1/me", token)).json()["code"] == "no_membership"
    while (await elsewhere.ask("GET", "/v1/me", token)).status_code == 200:
        assert time.monotonic() < removed_at + 5
        await asyncio.sleep(0.05)
    assert (await elsewhere.ask("GET", "/v1/me", token)).json()["code"] == "no_membership"


async def test_who_is_in_two_organizations_names_one(house, provider):
    await add(house, house.first.admin)
    await add(house, house.second.admin, role="company_viewer", company_ids=[house.second.company])
    token = provider.token()

    unnamed = await house.ask("GET", "/v1/companies", token)
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "organization_required")
    assert house.first.org in unnamed.json()["detail"]
    roles = [
        (await house.ask("GET", "/v1/me", token, org=org)).json()["role"] for org in (house.first.org, house.second.org)
    ]
    assert roles == ["org_admin", "company_viewer"]
    assert (await house.ask("GET", "/v1/me", token, org="org_" + "7" * 32)).status_code == 404


async def test_staff_sign_in_too(house, provider):
    await add(house, house.platform_key, role="super_admin")
    await add(house, house.second.admin, role="company_viewer", company_ids=[house.second.company])
    token = provider.token()

    assert (await house.ask("GET", "/v1/me", token)).json()["role"] == "super_admin"
    assert (await house.ask("GET", "/v1/me", token, org=house.first.org)).json()["role"] == "super_admin"
    assert (await house.ask("GET", "/v1/me", token, org=house.second.org)).json()["role"] == "company_viewer"


async def test_forgeries_and_expired_tokens_are_answered_alike_but_for_the_word_expired(house, provider):
    await add(house, house.first.admin)
    forged = [
        await house.ask("GET", "/v1/leads", token)
        for token in (provider.token(key=Provider().private["r1"][1]), provider.token(aud="x"), "a.b.c")
    ]
    expired = await house.ask("GET", "/v1/leads", provider.token(exp=time.time() - 100))

    assert without_request_id(forged[0]) == without_request_id(forged[1]) == without_request_id(forged[2])
    assert (forged[0].status_code, forged[0].headers["www-authenticate"]) == (401, "Bearer")
    assert (expired.status_code, expired.json()["code"]) == (401, "token_expired")
    assert not house.owners["provider-sync"].heard


async def test_a_provider_that_is_away_is_no_refusal(house, provider):
    provider.status = 500
    assert (await house.ask("GET", "/v1/me", provider.token())).status_code == 503
    assert (await house.ask("GET", "/v1/me", house.first.admin)).status_code == 200


async def test_a_suspended_organization_lets_no_person_in(house, provider):
    await add(house, house.first.admin)
    path = f"/v1/organizations/{house.first.org}/suspend"
    assert (await house.ask("POST", path, house.platform_key, json={"reason": "unpaid"})).status_code == 200

    assert (await house.ask("GET", "/v1/me", provider.token())).json()["code"] == "organization_suspended"


async def test_where_no_provider_is_set_a_token_is_no_key(make_house, provider):
    plain = await make_house()
    assert (await plain.ask("GET", "/v1/me", provider.token())).status_code == 401
