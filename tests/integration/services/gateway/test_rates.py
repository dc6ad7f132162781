"""Limits run to exhaustion: on one replica, on two at once, and again after the window."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from libs.database.engine import Database
from libs.tenancy.roles import Role
from services.gateway.domain import Principal
from services.gateway.rates import Exhausted, Limits, RateGate
from tests.integration.services.gateway.house import House

# So long that no test sees its end.
LONG = 1 << 30


def somebody(org) -> Principal:
    return Principal(uuid4(), Role.ORG_ADMIN, org)


async def spend(gate: RateGate, who: Principal, times: int) -> int:
    """How many of so many requests passed."""
    passed = 0
    for _ in range(times):
        try:
            await gate.admit(who)
            passed += 1
        except Exhausted:
            pass
    return passed


def remaining(headers: list[tuple[bytes, bytes]]) -> int:
    return int(dict(headers)[b"x-ratelimit-remaining"])


class Counting:
    """A database that counts its transactions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.transactions = 0

    def tenant_transaction(self, org_id):
        self.transactions += 1
        return self._database.tenant_transaction(org_id)


async def test_one_replica_lets_through_exactly_the_limit_and_counts_down(database, make_org):
    gate = RateGate(database("gateway"), Limits(300, 200, LONG))
    org = make_org()
    who = somebody(org)
    seen = [remaining(await gate.admit(who)) for _ in range(200)]
    assert seen == list(range(199, -1, -1))
    with pytest.raises(Exhausted, match="'key' of 200") as refused:
        await gate.admit(who)
    assert (refused.value.retry_after_seconds or 0) > 0
    assert remaining(refused.value.headers) == 0

    colleague = somebody(org)
    assert await spend(gate, colleague, 150) == 100
    with pytest.raises(Exhausted, match="'org' of 300"):
        await gate.admit(somebody(org))
    assert await spend(gate, somebody(make_org()), 200) == 200


async def test_two_replicas_share_within_five_percent_and_never_exceed(database, make_org):
    replicas = [RateGate(database("gateway"), Limits(1000, 1000, LONG)) for _ in range(2)]
    org = make_org()
    first, second = somebody(org), somebody(org)
    uneven = await asyncio.gather(
        spend(replicas[0], first, 900), spend(replicas[1], second, 250), spend(replicas[0], second, 150)
    )
    assert 950 <= sum(uneven) <= 1000

    other = make_org()
    who = somebody(other)
    even = await asyncio.gather(*(spend(replica, who, 400) for replica in replicas for _ in range(2)))
    assert 950 <= sum(even) <= 1000
    assert await spend(replicas[1], somebody(make_org()), 300) == 300


async def test_most_requests_cost_no_statement_and_refusals_none(database, make_org):
    counting = Counting(database("gateway"))
    gate = RateGate(counting, Limits(6000, 6000, LONG))  # type: ignore[arg-type]
    who = somebody(make_org())
    assert await spend(gate, who, 6000) == 6000
    assert counting.transactions <= 51
    before = counting.transactions
    assert await spend(gate, who, 1000) == 0
    assert counting.transactions == before


async def test_many_at_once_get_no_more_than_there_is(database, make_org):
    gate = RateGate(database("gateway"), Limits(40, 100, LONG))
    org = make_org()
    assert sum(await asyncio.gather(*(spend(gate, somebody(org), 1) for _ in range(60)))) == 40


async def test_a_new_window_is_full_again(database, make_org):
    gate = RateGate(database("gateway"), Limits(5, 5, 2))
    who = somebody(make_org())
    assert await spend(gate, who, 12) in (5, 10)  # 10 when a window ended meanwhile
    await spend(gate, who, 11)
    async with asyncio.timeout(3):
        while await spend(gate, who, 1) == 0:  # noqa: ASYNC110 - the database's clock tells nobody
            await asyncio.sleep(0.02)


async def test_over_http_all_answers_say_where_one_stands(make_house):
    house: House = await make_house(rate_limit_per_key=20)
    first = house.first
    answers = [
        await house.ask("GET", path, first.viewer)
        for path in (
            "/v1/me",
            "/v1/leads",
            "/v1/api-keys",
            "/v1/companies?limt=1",
            f"/v1/leads?company_id={first.sibling}",
        )
    ]
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
    if left == sorted(left, reverse=True):  # but when a minute ended meanwhile
        assert left == [19, 18, 17, 16, 15]
    assert answers[0].headers["ratelimit-policy"] == '"org";q=6000;w=60, "key";q=20;w=60'
    assert '"key";r=' in answers[0].headers["ratelimit"]
    assert answers[0].headers["x-ratelimit-limit"] == "20"

    for _ in range(41):
        await house.ask("GET", "/v1/leads", first.viewer)
    refused = await house.ask("GET", "/v1/leads", first.viewer)
    assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (429, "rate_limited", True)
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert (await house.ask("GET", "/v1/leads", house.second.viewer)).status_code == 200
    assert "ratelimit" not in (await house.ask("GET", "/v1/me", None)).headers
