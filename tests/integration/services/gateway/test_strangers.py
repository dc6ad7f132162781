"""Who guesses keys is told to wait and costs no query more; who is known goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from libs.ids import new_id
from services.gateway import gate, keys
from services.gateway.repository.keys import look_up_key
from tests.integration.services.gateway.conftest import MakeHouse
from tests.integration.services.gateway.house import House
from tests.integration.services.gateway.test_audit import log

MOST = 20


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    return await make_house(failed_sign_ins_per_address=MOST, trusted_proxies="10.0.0.0/8")


@pytest.fixture
def looked_up(monkeypatch) -> list[Any]:
    """The ids of keys that the database was asked for."""
    asked: list[Any] = []

    async def look_up(database, key_id):
        asked.append(key_id)
        return await look_up_key(database, key_id)

    monkeypatch.setattr(gate, "look_up_key", look_up)
    return asked


async def ask(house: House, key: str | None, peer: str = "192.0.2.1", **headers: str) -> httpx.Response:
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    transport = httpx.ASGITransport(house.app, client=(peer, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.example.com") as client:
        return await client.get("/v1/leads?all_companies=true", headers=headers)


def guessed() -> str:
    return keys.make(new_id())[0]


async def test_a_flood_of_guessed_keys_is_answered_without_the_database(house, looked_up):
    before = await log(house, house.first.admin)
    looked_up.clear()
    answers = [await ask(house, guessed()) for _ in range(10 * MOST)]

    assert [answer.status_code for answer in answers] == [401] * MOST + [429] * 9 * MOST
    assert len(looked_up) == MOST
    told = answers[-1]
    assert (told.json()["code"], told.json()["retryable"]) == ("rate_limited", True)
    assert 1 <= int(told.headers["retry-after"]) <= 60
    assert told.headers["x-ratelimit-limit"] == str(MOST)
    assert not house.owners["provider-sync"].heard
    assert await log(house, house.first.admin) == before


async def test_whatever_is_no_sign_in_counts(house):
    for key in (None, "otr_live_nonsense", "a.b.c", guessed()):
        for _ in range(MOST // 4):
            assert (await ask(house, key)).status_code == 401
    for key in (None, "otr_live_nonsense", "a.b.c", guessed()):
        assert (await ask(house, key)).status_code == 429


async def test_another_address_is_not_held_back_and_nobody_passes_for_one(house):
    for _ in range(MOST):
        await ask(house, guessed())
    assert (await ask(house, guessed(), "192.0.2.2")).status_code == 401
    spoofed = {"X-Forwarded-For": "198.51.100.1"}
    assert (await ask(house, guessed(), **spoofed)).status_code == 429
    assert (await ask(house, guessed(), "10.0.0.1", **spoofed)).status_code == 401
    through_ours = {"X-Forwarded-For": "198.51.100.1, 192.0.2.1"}
    assert (await ask(house, guessed(), "10.0.0.1", **through_ours)).status_code == 429


async def test_who_was_let_in_goes_on_from_the_same_address(house, looked_up):
    assert (await ask(house, house.first.admin)).status_code == 200
    for _ in range(2 * MOST):
        await ask(house, guessed())
    assert (await ask(house, house.first.admin)).status_code == 200
    house.app._gate.keys.clear()  # as it is forgotten after some seconds
    looked_up.clear()
    assert (await ask(house, house.first.admin)).status_code == 200
    assert len(looked_up) == 1
    # One who never came before has to wait, or come from elsewhere.
    house.app._gate._proven.clear()
    house.app._gate.keys.clear()
    assert (await ask(house, house.second.admin)).status_code == 429
    assert (await ask(house, house.second.admin, "192.0.2.9")).status_code == 200
    assert (await ask(house, house.second.admin)).status_code == 200


async def test_a_key_that_was_revoked_is_a_failure_too_and_is_told_what_it_is_until_then(house):
    body = {"name": "k", "role": "org_admin"}
    made = (await house.ask("POST", "/v1/api-keys", house.first.admin, json=body)).json()
    assert (await house.ask("DELETE", f"/v1/api-keys/{made['id']}", house.first.admin)).status_code == 204
    codes = [(await ask(house, made["key"])).json()["code"] for _ in range(MOST + 1)]
    assert codes == ["key_revoked"] * MOST + ["rate_limited"]
