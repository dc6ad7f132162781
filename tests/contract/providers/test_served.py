"""What `outrider simulate` serves is what the lists of fields and routes hold, and nothing besides."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import httpx
import pytest

from libs.providers.heyreach.simulator.api import ROUTES as HEYREACH_ROUTES
from services.cli.simulate.serve import Simulated
from services.cli.simulate.world import KINDS, World
from tests.contract.providers.emailbison import fields as emailbison
from tests.contract.providers.emailbison.test_fields import routes as emailbison_routes
from tests.contract.providers.heyreach import fields as heyreach
from tests.contract.providers.shapes import unknown
from tests.contract.providers.smartlead import fields as smartlead
from tests.contract.providers.smartlead.test_fields import routes as smartlead_routes

URL = "http://127.0.0.1:8100"
LISTED: Mapping[str, tuple[Mapping[str, str], str]] = {
    "smartlead": (smartlead.FIELDS, smartlead.ERRORS),
    "heyreach": (heyreach.FIELDS, heyreach.ERRORS),
    "emailbison": (emailbison.FIELDS, emailbison.ERRORS),
}
ROUTES: Mapping[str, Collection[str]] = {
    "smartlead": smartlead_routes(),
    "heyreach": {f"{method} {path}" for path, methods in HEYREACH_ROUTES.items() for method in methods},
    "emailbison": emailbison_routes(),
}
CASES = [(name, call) for name, (fields, _) in LISTED.items() for call in fields]


@pytest.fixture(scope="module")
def world() -> World:
    async def send(url: str, body: bytes) -> int:
        return 200

    return World(URL, send, reactions=0.0, limited=False)


async def ask(world: World, provider: str, call: str) -> httpx.Response:
    """With the first known id wherever one is wanted, and nothing in the body."""
    method, _, path = call.partition(" ")
    account = next(iter(world.providers[provider].simulators.values())).account
    path = re.sub(r"\{\w+\}", account.campaigns[0].external_id, path)
    headers = {"X-API-KEY": account.api_key, "Authorization": f"Bearer {account.api_key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=Simulated(world)), base_url=URL) as http:
        return await http.request(
            method,
            f"/{provider}{KINDS[provider].api_path}{path}",
            params={"api_key": account.api_key, "campaignId": account.campaigns[0].external_id},
            headers=headers,
            json={"campaignId": account.campaigns[0].id} if method == "POST" else None,
        )


def is_no_route(answer: httpx.Response) -> bool:
    text = answer.text
    return "Cannot " in text or " could not be found" in text or (answer.status_code in (404, 405) and not text)


@pytest.mark.parametrize("provider", KINDS)
def test_the_served_routes_are_the_listed_ones(provider: str) -> None:
    assert set(ROUTES[provider]) == set(LISTED[provider][0])


@pytest.mark.parametrize(("provider", "call"), CASES, ids=[" ".join(case) for case in CASES])
async def test_every_listed_call_is_served_with_listed_fields(provider: str, call: str, world: World) -> None:
    fields, errors = LISTED[provider]

    answer = await ask(world, provider, call)

    # A record that is not there may be denied as an unknown route is, where the provider does so.
    assert not is_no_route(answer) or (provider == "heyreach" and answer.status_code == 404)
    if "json" in answer.headers.get("content-type", "") and answer.content:
        is_refusal = answer.status_code >= 400 or b'"success":false' in answer.content  # some say no with a 200
        assert unknown(answer.json(), errors if is_refusal else fields[call]) == set()


@pytest.mark.parametrize(
    ("provider", "call"),
    [
        ("smartlead", "PATCH /campaigns/{id}/status"),
        ("smartlead", "GET /control"),
        ("heyreach", "POST /campaign/Delete"),
        ("heyreach", "GET /campaign/GetAll"),
        ("emailbison", "GET /control"),
        ("emailbison", "POST /users"),
    ],
)
async def test_what_is_not_listed_is_no_route(provider: str, call: str, world: World) -> None:
    answer = await ask(world, provider, call)
    assert answer.status_code in (404, 405)
    assert is_no_route(answer) or "not supported" in answer.text
