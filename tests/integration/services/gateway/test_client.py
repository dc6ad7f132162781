"""The Python client against the gateway itself."""

from __future__ import annotations

import httpx
import orjson
import pytest
from starlette.responses import Response

from libs.client.client import ApiProblem, OutriderClient


@pytest.fixture
async def http(house):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(house.app)) as client:
        yield client


async def test_tenants_and_keys_from_nothing(house, http):
    platform = OutriderClient("http://gateway.example.com", house.platform_key, http=http)
    organization = await platform.create_organization("Westwind", time_zone="Asia/Tokyo")
    outside = OutriderClient("http://gateway.example.com", house.platform_key, organization["id"], http)
    first = await outside.create_api_key("first", role="org_admin")
    staff = OutriderClient("http://gateway.example.com", first["key"], http=http)
    company = await staff.create_company("Pier Nine")
    issued = await staff.create_api_key("frontend", role="company_viewer", company_ids=[company["id"]])
    viewer = OutriderClient("http://gateway.example.com", issued["key"], http=http)

    assert (await viewer.me())["organization_id"] == organization["id"]
    assert [row["id"] async for row in viewer.companies()] == [company["id"]]
    assert organization["id"] in [row["id"] async for row in platform.organizations()]
    assert [row["name"] async for row in staff.api_keys()] == ["first", "frontend"]
    narrow = await staff.create_api_key("narrow", role="org_admin", scopes=["leads:read"])
    assert narrow["scopes"] == ["leads:read"]
    assert [row async for row in staff.dead_letters(state="dead")] == []

    person = await staff.add_user("idp|1", email="a@example.com", name="Ada", role="org_admin")
    assert (await staff.change_user(person["id"], status="suspended"))["status"] == "suspended"
    assert [row["id"] async for row in staff.users()] == [(await staff.user(person["id"]))["id"]]
    assert [entry["action"] async for entry in staff.audit_log()][:2] == ["user.changed", "user.added"]
    await staff.remove_user(person["id"])
    rotated = await staff.rotate_api_key(issued["id"], overlap_seconds=60)
    assert (await OutriderClient("http://gateway.example.com", rotated["key"], http=http).me())["key_id"] == issued[
        "id"
    ]
    await staff.revoke_api_key(issued["id"])
    with pytest.raises(ApiProblem, match="key_revoked"):
        await viewer.me()


async def test_staff_go_in_and_out(house, http):
    platform = OutriderClient("http://gateway.example.com", house.platform_key, http=http)
    inside = OutriderClient("http://gateway.example.com", house.platform_key, house.first.org, http)

    with pytest.raises(ApiProblem, match="assumption_required"):
        _ = [row async for row in inside.companies()]
    begun = await platform.assume(house.first.org, "ticket 4711", minutes=5)
    assert [row["id"] async for row in platform.assumptions()] == [begun["id"]]
    assert [row["id"] async for row in inside.companies()] == [house.first.company, house.first.sibling]
    await platform.end_assumption(begun["id"])
    with pytest.raises(ApiProblem, match="assumption_required"):
        _ = [row async for row in inside.companies()]


async def test_every_forwarded_list_and_document(house, http):
    async def reply(heard):
        page = {"data": [{"path": heard.path}], "has_more": False, "next_cursor": None, "as_of": None}
        return Response(orjson.dumps(page), media_type="application/json")

    for owner in house.owners.values():
        owner.reply = reply
    client = OutriderClient("http://gateway.example.com", house.first.admin, http=http)
    lists = {
        "/provider-accounts": client.provider_accounts(),
        "/webhook-endpoints": client.webhook_endpoints(),
        "/email/campaigns": client.campaigns(all_companies=True),
        "/linkedin/campaigns": client.campaigns("linkedin", company_id=house.first.company),
        "/leads": client.leads(all_companies=True),
        "/inbox/conversations": client.conversations(all_companies=True),
        "/inbox/conversations/cnv_1/messages": client.messages("cnv_1"),
        "/analytics/campaigns": client.campaign_analytics(all_companies=True),
        "/analytics/sequence-steps": client.step_analytics(all_companies=True),
        "/deliveries": client.deliveries(verdict="published"),
        "/reconciliations": client.reconciliations(),
        "/reconciliations/rec_1/drifts": client.drifts("rec_1"),
        "/reconciliation-schedules": client.schedules(),
        "/reconciliation-schedules/sch_1/slots": client.slots("sch_1"),
    }
    for path, rows in lists.items():
        assert [row async for row in rows] == [{"path": path}]
    documents = {
        "/provider-accounts": await client.create_provider_account(provider="smartlead"),
        "/provider-accounts/acc_1": await client.provider_account("acc_1"),
        "/webhook-endpoints/whe_1": await client.webhook_endpoint("whe_1"),
        "/webhook-endpoints/whe_2": await client.change_webhook_endpoint("whe_2", revision=1, source_mode="observe"),
        "/webhook-endpoints/whe_1/rotations": await client.rotate_webhook_endpoint("whe_1", overlap_seconds=0),
        "/webhook-endpoints/whe_1/releases": await client.release_withheld("whe_1"),
        "/deliveries/releases": await client.release_deliveries(["dlv_1"]),
        "/email/campaigns/cam_1": await client.campaign("email", "cam_1"),
        "/leads/led_1": await client.lead("led_1"),
        "/inbox/conversations/cnv_1": await client.conversation("cnv_1"),
        "/analytics/ledger": await client.ledger(settle_seconds=0),
        "/deliveries/dlv_1": await client.delivery("dlv_1"),
        "/reconciliations": await client.start_reconciliation("acc_1"),
        "/reconciliations/rec_1": await client.reconciliation("rec_1"),
        "/reconciliation-schedules": await client.create_schedule("acc_1", interval_seconds=3600),
        "/reconciliation-schedules/sch_1": await client.change_schedule("sch_1", revision=1, enabled=False),
        "/reconciliation-schedules/sch_2": await client.schedule("sch_2"),
        "/reconciliation-schedules/sch_1/slots/2026-07-11T02:00:00Z": await client.start_slot(
            "sch_1", "2026-07-11T02:00:00Z"
        ),
    }
    documents |= {
        "/email/campaigns": await client.create_campaign("email", "acc_1", "Autumn", company_id="cmp_1"),
        "/email/campaigns/cam_1": await client.change_campaign("email", "cam_1", new_leads_per_day=20),
        "/email/campaigns/cam_1/sequence": await client.replace_steps("cam_1", [{"delay_days": 0}]),
        "/linkedin/campaigns/cam_1/sequence": await client.replace_sequence("cam_1", {"kind": "end"}),
        "/linkedin/campaigns/cam_1/start": await client.start_campaign("linkedin", "cam_1"),
        "/linkedin/campaigns/cam_1/pause": await client.pause_campaign("linkedin", "cam_1"),
        "/linkedin/campaigns/cam_1/resume": await client.resume_campaign("linkedin", "cam_1"),
        "/email/campaigns/cam_1/stop": await client.stop_campaign("email", "cam_1"),
        "/email/campaigns/cam_1/leads": await client.add_leads("email", "cam_1", [{"email": "a@example.com"}]),
        "/email/campaigns/cam_1/leads/led_1/pause": await client.pause_lead("email", "cam_1", "led_1"),
        "/email/campaigns/cam_1/leads/led_1/resume": await client.resume_lead("email", "cam_1", "led_1"),
        "/email/campaigns/cam_1/leads/led_1/stop": await client.stop_lead("email", "cam_1", "led_1"),
        "/email/campaigns/cam_1/leads/led_1": await client.remove_lead("email", "cam_1", "led_1"),
        "/inbox/conversations/cnv_1/replies": await client.reply("cnv_1", "Thursday", cc=["b@example.com"]),
        "/operations/op_sync_1": await client.operation("op_sync_1"),
        "/operations/op_sync_1/cancel": await client.cancel_operation("op_sync_1"),
        "/operations/op_sync_1/resolve": await client.resolve_operation("op_sync_1", done=True, note="it is there"),
    }
    for path, document in documents.items():
        assert document["data"] == [{"path": path}]
