"""Readings over HTTP: asked for as an operation, shown, and what they say of a campaign."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.clock import now
from libs.contracts.events import ActionPerformedV1, OperationChangedV1
from libs.ids import CompanyId, entity_id, new_id, public_id
from libs.tenancy.context import CompanyScope
from services.provider_sync.domain.syncs import Known, health
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.stage import told
from tests.integration.services.provider_sync.test_http import PERMISSIONS, Face


@pytest.fixture
async def face(database, units):
    face = Face(database("provider_sync"), units("provider_sync"))
    yield face
    await face.close()


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"))
    house.simulator.play(60)
    yield house
    await house.http.aclose()


@pytest.fixture
async def account(house, make_org):
    await house.open_account(make_org())  # a second tenant, whose account has the same campaigns
    return await house.open_account(make_org())


def path(account):
    return f"/provider-accounts/{public_id('acc', account.id)}/syncs"


MAY = frozenset({*PERMISSIONS, "syncs:start", "syncs:read", "operation_results:read"})


async def ask(face, account, body=None, status=202, **more):
    answer = await face("POST", path(account), account.org_id, json=body or {}, permissions=MAY, **more)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_reading_that_is_asked_for_is_an_operation_until_it_is_done(face, house, account):
    operation = await ask(face, account)
    assert (operation["kind"], operation["state"]) == ("sync_account", "pending")
    run_id = operation["result"]["sync_run_id"]
    assert (await face.get(f"/sync-runs/{run_id}", account.org_id, permissions=MAY))["state"] == "pending"
    assert (await ask(face, account, status=409))["code"] == "run_active"

    await house.reader().run_due()

    run = await face.get(f"/sync-runs/{run_id}", account.org_id, permissions=MAY)
    assert (run["state"], run["feeds_done"], run["full"]) == ("succeeded", run["feeds_total"], False)
    assert run["rows_seen"] > 0
    done = await face.get(f"/operations/{operation['id']}", account.org_id, permissions=MAY)
    assert (done["state"], done["result"]["rows_seen"]) == ("succeeded", run["rows_seen"])
    states = [one.state for one in await house.told(account, OperationChangedV1)]
    assert states == ["pending", "running", "succeeded"]
    (audited,) = [one for one in await house.told(account, ActionPerformedV1) if one.action == "operation.requested"]
    assert audited.details == {"kind": "sync_account", "target": public_id("acc", account.id)}
    listed = await face.get(
        f"/sync-runs?account_id={public_id('acc', account.id)}&state=succeeded", account.org_id, permissions=MAY
    )
    assert [one["id"] for one in listed["data"]] == [run_id]


async def test_the_same_key_asks_once(face, house, account):
    first = await ask(face, account, headers={"Idempotency-Key": "one"})
    await house.reader().run_due()

    again = await ask(face, account, headers={"Idempotency-Key": "one"})
    other = await ask(face, account, {"full": True}, 409, headers={"Idempotency-Key": "one"})

    assert again["id"] == first["id"]
    assert other["code"] == "idempotency_key_reused"


async def test_one_campaign_can_be_read_alone(face, house, account):
    one, *others = house.simulator.account.campaigns
    await house.sync(account)
    campaign = public_id("cam", entity_id(account.id, "campaign", one.external_id))
    house.api.book.calls.clear()

    await ask(face, account, {"campaign_id": campaign, "full": True})
    await house.reader().run_due()

    paths = house.api.calls[-len(house.api.book.calls) :]
    assert any(f"/campaigns/{one.external_id}/statistics" in call for call in paths)
    assert not any(f"/campaigns/{other.external_id}/" in call for call in paths for other in others)


async def test_who_does_not_see_the_account_starts_and_sees_no_reading(face, house, account, make_org):
    operation = await ask(face, account)
    run = f"/sync-runs/{operation['result']['sync_run_id']}"
    stranger, sibling = make_org(), CompanyScope.of([CompanyId(new_id())])

    for org_id, scope in ((stranger, None), (account.org_id, sibling)):
        more = {} if scope is None else {"scope": scope}
        assert (await face("POST", path(account), org_id, json={}, permissions=MAY, **more)).status_code == 404
        assert (await face("GET", run, org_id, permissions=MAY, **more)).status_code == 404
        assert (await face.get("/sync-runs", org_id, permissions=MAY, **more))["data"] == []
    foreign = public_id("cam", new_id())
    assert (await ask(face, account, {"campaign_id": foreign}, 404))["code"] == "not_found"


async def test_an_account_that_is_followed_by_webhook_is_not_read(face, database, units, make_org):
    house = House(database("provider_sync"), units("provider_sync"), "heyreach")
    account = await house.open_account(make_org())

    assert (await ask(face, account, status=422))["code"] == "capability_unsupported"
    await house.http.aclose()


async def test_a_campaigns_health_says_what_is_known_by_which_way(face, house, account):
    posts = house.simulator.deliveries(80, duplicates=0.0, withhold=4)
    await house.deliver(account, [post.body for post in posts])
    external_id = house.simulator.account.campaigns[0].external_id
    campaign_id = entity_id(account.id, "campaign", external_id)
    asked = f"/email/campaigns/{public_id('cam', campaign_id)}/sync-health"
    before = await face.get(asked, account.org_id, permissions=MAY)
    assert (before["status"], before["last_synced_at"], before["lag_seconds"]) == ("never_synced", None, None)
    assert before["messages"] == before["messages_by_webhook"] > 0
    assert before["last_webhook_at"] is not None

    await house.sync(account)
    async with house.database.tenant_transaction(account.org_id) as session:  # as if the webhooks had begun long ago
        await session.execute("UPDATE campaign_webhooks SET first_at = '2020-01-01'")
        counted = await session.fetchrow(
            "SELECT count(*) AS all, count(*) FILTER (WHERE sources & 2 > 0) AS told FROM messages "
            "WHERE campaign_id = $1 AND direction IS NOT NULL AND sources & 4 > 0", campaign_id,
        )  # fmt: skip
    after = await face.get(asked, account.org_id, permissions=MAY)

    assert after["last_synced_at"] is not None
    assert after["last_full_sync_at"] is not None
    assert 0 <= after["lag_seconds"] < 600
    assert (after["messages_by_pull"], after["last_error"]) == (counted["all"], None)
    assert after["completeness"] == round(counted["told"] / counted["all"], 4) < 1
    assert after["status"] == ("incomplete" if after["completeness"] < 0.95 else "healthy")
    assert (await face("GET", asked.replace("email", "linkedin"), account.org_id, permissions=MAY)).status_code == 404
    assert (await told(house.database, account.org_id))[-1] is not None


def test_a_campaigns_status_is_the_worst_that_is_true():
    moment = now()
    good: dict[str, Any] = {
        "is_read": True,
        "account_status": "active",
        "synced_at": moment,
        "error": None,
        "completeness": 1.0,
    }
    every = timedelta(minutes=15)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "healthy"),
        ({"completeness": None}, "healthy"),
        ({"completeness": 0.9}, "incomplete"),
        ({"synced_at": moment - timedelta(minutes=46), "completeness": 0.9}, "lagging"),
        ({"synced_at": None}, "never_synced"),
        ({"synced_at": None, "error": "away"}, "failing"),
        ({"error": "away", "account_status": "needs_reauth"}, "stopped"),
        ({"account_status": "paused", "is_read": False}, "webhook_only"),
    ]
    assert [health(Known(**good | change), moment, every) for change, _ in cases] == [status for _, status in cases]
    day = good | {"synced_at": moment - timedelta(hours=23)}
    assert health(Known(**day), moment, timedelta(0)) == "healthy"
