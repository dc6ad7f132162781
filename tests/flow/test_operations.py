"""Changes at a provider from the API to the provider and back: what a client asks for is made once, and can be followed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from libs.providers.simulation.faults import FaultKind
from tests.fixtures.database import MigratedDatabase
from tests.flow.test_webhook_endpoints import House, Tenant
from tests.security.stack import opened

SEQUENCE = {"steps": [{"delay_days": 0, "variants": [{"subject": "Dock slots", "body_html": "<p>Hello</p>"}]}]}
SCHEDULE = {"timezone": "Europe/Berlin", "days": [1, 2, 3], "starts_at": "09:00", "ends_at": "17:00"}


@pytest.fixture
async def house(migrated: MigratedDatabase) -> AsyncIterator[House]:
    async with opened(migrated) as stack:
        admin = await asyncpg.connect(migrated.admin_url)
        try:
            yield House(stack, admin)
        finally:
            await admin.close()


async def account_of(house: House, tenant: Tenant) -> str:
    return str((await house.asked("GET", "/v1/provider-accounts", tenant.key))["data"][0]["id"])


async def posted(
    house: House, tenant: Tenant, method: str, path: str, body: Any = None, **headers: str
) -> httpx.Response:
    answer = await house.stack.ask(method, path, tenant.key, json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/operations/{answer.json()['id']}"
    return answer


async def time_passes(house: House) -> None:
    """Leases run out, and what waits is looked at; until nothing happens by itself any more."""
    for _ in range(3):
        await house.admin.execute("DELETE FROM provider_sync.account_budgets")
        await house.admin.execute(
            "UPDATE provider_sync.effects SET due_at = now(), lease_until = NULL WHERE due_at IS NOT NULL"
        )
        await house.admin.execute("UPDATE provider_sync.sync_jobs SET due_at = now() WHERE state = 'due'")
        await house.stack.settle()


async def test_a_campaign_is_made_and_started_by_a_client(house: House) -> None:
    ours, theirs = await house.tenant("smartlead", seed=1), await house.tenant("smartlead", seed=2)
    simulator = ours.simulators["smartlead"]
    wanted = {"account_id": await account_of(house, ours), "name": "Autumn"}

    first = await posted(house, ours, "POST", "/v1/email/campaigns", wanted, **{"Idempotency-Key": "one"})
    again = await posted(house, ours, "POST", "/v1/email/campaigns", wanted, **{"Idempotency-Key": "one"})
    assert (first.json()["state"], first.json()["id"]) == ("pending", again.json()["id"])
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    other = await house.stack.ask(
        "POST", "/v1/email/campaigns", ours.key, json=wanted | {"name": "Winter"}, headers={"Idempotency-Key": "one"}
    )
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    await house.stack.settle()

    operation = await house.asked("GET", first.headers["location"], ours.key)
    assert operation["state"] == "succeeded"
    campaign = f"/v1/email/campaigns/{operation['result']['campaign_id']}"
    assert (await house.asked("GET", campaign, ours.key))["name"] == "Autumn"
    mailbox = str(simulator.account.mailboxes[0].id)
    changes = {"schedule": SCHEDULE, "sender_external_ids": [mailbox]}
    leads = {"leads": [{"email": f"new{number}@example.com"} for number in range(150)]}
    for method, path, body in (
        ("PUT", "/sequence", SEQUENCE), ("PATCH", "", changes), ("POST", "/leads", leads), ("POST", "/start", None),
    ):  # fmt: skip
        await posted(house, ours, method, campaign + path, body)
    await time_passes(house)

    listed = await house.asked("GET", "/v1/operations", ours.key)
    assert [one["kind"] for one in listed["data"]] == [
        "start_campaign", "add_leads", "update_campaign", "replace_steps", "create_campaign",
    ]  # fmt: skip
    assert {one["state"] for one in listed["data"]} == {"succeeded"}
    assert listed["as_of"] is not None
    assert [one["id"] for one in (await house.asked("GET", "/v1/operations?limit=1", ours.key))["data"]] == [
        listed["data"][0]["id"]
    ]
    assert (await house.asked("GET", "/v1/operations?state=failed", ours.key))["data"] == []
    assert (await house.asked("GET", campaign, ours.key))["status"] == "active"  # read back
    made = next(one for one in simulator.account.campaigns if one.name == "Autumn")
    assert len(made.enrolments) == 150

    assert (await house.asked("GET", "/v1/operations", theirs.key))["data"] == []
    for method, path in (("GET", ""), ("POST", "/cancel")):
        refused = await house.stack.ask(method, first.headers["location"] + path, theirs.key)
        assert refused.status_code == 404
    assert [one.name for one in theirs.simulators["smartlead"].account.campaigns].count("Autumn") == 0
    actions = [one["action"] for one in (await house.asked("GET", "/v1/audit-log?limit=100", ours.key))["data"]]
    assert actions.count("operation.requested") == 5


async def test_a_client_learns_that_an_answer_was_lost_and_what_became_of_it(house: House) -> None:
    ours = await house.tenant("smartlead", seed=1)
    wanted = {"account_id": await account_of(house, ours), "name": "Autumn"}
    api: Any = house.stack.network._apps[max(house.stack.network._apps)]
    api.faults.next(FaultKind.DONE_AND_DROPPED, path="/campaigns/create")
    asked = await posted(house, ours, "POST", "/v1/email/campaigns", wanted)
    await house.stack.settle()

    (listed,) = (await house.asked("GET", "/v1/operations?state=unknown", ours.key))["data"]
    assert (listed["id"], listed["needs_decision"]) == (asked.json()["id"], False)
    await time_passes(house)

    operation = await house.asked("GET", asked.headers["location"], ours.key)
    assert (operation["state"], operation["error_code"]) == ("succeeded", None)
    assert len([one for one in ours.simulators["smartlead"].account.campaigns if one.name == "Autumn"]) == 1
