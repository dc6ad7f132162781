"""Work at HeyReach and EmailBison: registration in many parts, workspaces, what can be compared and what cannot."""

from __future__ import annotations

import pytest

from libs.contracts.events import (
    MessageRecordedV1,
    RepairRequestedV1,
    SnapshotCapturedV1,
    SyncCompletedV1,
)
from libs.errors import ProviderRefused, ProviderUnavailable
from libs.ids import entity_id, new_id
from libs.providers.heyreach import events as heyreach
from libs.providers.heyreach.client import HeyReachClient
from libs.providers.mail_journal import Happened
from libs.providers.simulation import PostKind
from tests.integration.services.provider_sync.house import House
from tests.integration.services.provider_sync.stage import inbox_states, payload, rows_of


@pytest.fixture
async def house_of(database, units):
    opened = []

    def house_of(provider, **simulated):
        opened.append(House(database("provider_sync"), units("provider_sync"), provider, **simulated))
        return opened[-1]

    yield house_of
    for house in opened:
        await house.http.aclose()


async def account_of(house, make_org):
    await house.open_account(make_org())  # a second tenant, whose account has the same campaigns
    return await house.open_account(make_org())


async def row_of(house, account):
    async with house.database.tenant_transaction(account.org_id) as session:
        return await session.fetchrow("SELECT * FROM accounts")


@pytest.mark.parametrize(("provider", "parts"), [("smartlead", 1), ("heyreach", 15), ("emailbison", 1)])
async def test_an_account_is_registered_at_its_provider(house_of, make_org, provider, parts):
    house = house_of(provider)
    account = await account_of(house, make_org)
    await house.make_ready(account)

    await house.worker.run_due()

    made = house.simulator.account.registrations
    endpoint = await house.endpoint(account)
    assert len({one.url for one in made}) == 1
    assert made[0].url.startswith(f"https://hooks.example.com/webhooks/{provider}/{account.endpoint.endpoint_id.hex}_")
    assert (endpoint["status"], endpoint["provider_webhook_id"]) == (
        "registered", ",".join(str(one.id) for one in made),
    )  # fmt: skip
    assert len(made) == parts
    workspace = (await row_of(house, account))["workspace_external_id"]
    assert workspace == (str(house.simulator.account.workspace_id) if provider == "emailbison" else None)


async def test_reads_by_post_are_no_writes(house_of, make_org, monkeypatch):
    """HeyReach lists by POST. A list that does not answer has changed nothing: the endpoint is not in doubt."""
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    await house.make_ready(account)
    once(monkeypatch, HeyReachClient, "_webhooks", ProviderUnavailable("away"))

    await house.worker.run_due()
    assert (await house.endpoint(account))["status"] == "ready"
    assert house.simulator.account.registrations == []
    await house.make_due(account)
    await house.worker.run_due()

    assert (await house.endpoint(account))["status"] == "registered"


async def test_a_registration_that_broke_off_midway_is_made_whole(house_of, make_org, monkeypatch):
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    await house.make_ready(account)
    once(monkeypatch, HeyReachClient, "_create", ProviderUnavailable("away"), after=6)

    await house.worker.run_due()
    assert len(house.simulator.account.registrations) == 6
    assert (await house.endpoint(account))["status"] == "ready"
    await house.make_due(account)
    await house.worker.run_due()

    made = [one.event_type for one in house.simulator.account.registrations]
    assert sorted(made) == sorted(heyreach.EVENT_TYPES)
    assert (await house.endpoint(account))["status"] == "registered"


@pytest.mark.parametrize("provider", ["heyreach", "emailbison"])
async def test_a_crash_after_sent_is_no_question_where_the_provider_lists_what_it_has(house_of, make_org, provider):
    house = house_of(provider)
    account = await account_of(house, make_org)
    await house.make_ready(account)
    async with house.database.tenant_transaction(account.org_id) as session:
        await session.execute("UPDATE endpoints SET status = 'sent'")

    await house.worker.run_due()

    assert (await house.endpoint(account))["status"] == "registered"


async def test_a_refused_type_that_is_needed_fails_the_registration(house_of, make_org, monkeypatch):
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    await house.make_ready(account)
    once(monkeypatch, HeyReachClient, "_create", ProviderRefused("your plan has no webhooks"), after=2)

    await house.worker.run_due()

    endpoint = await house.endpoint(account)
    assert (endpoint["status"], endpoint["error"]) == ("failed", "your plan has no webhooks")


def once(monkeypatch, kind, method, error, *, after=0):
    """`method` raises, once, instead of its call number `after` + 1."""
    original, calls = getattr(kind, method), []

    async def maybe(self, *given, **named):
        calls.append(given)
        if len(calls) == after + 1:
            raise error
        return await original(self, *given, **named)

    monkeypatch.setattr(kind, method, maybe)


async def test_a_token_that_wandered_registers_and_reads_nothing(house_of, make_org):
    house = house_of("emailbison")
    account = await account_of(house, make_org)
    await house.snapshot(account)
    assert (await row_of(house, account))["workspace_external_id"] == str(house.simulator.account.workspace_id)
    house.simulator.account.workspace_id += 1
    house.simulator.play(40)

    await house.make_ready(account)
    (captured,) = await house.snapshot(account)

    assert "another workspace" in captured.error
    assert house.simulator.account.registrations == []
    endpoint = await house.endpoint(account)
    assert endpoint["status"] == "failed"
    assert "a token that stays in its workspace" in endpoint["error"]


async def test_what_emailbison_withheld_is_found_and_repaired(house_of, make_org):
    house = house_of("emailbison", answered_by_hand_share=0.5, tells_automated=False)
    account = await account_of(house, make_org)
    plan = house.simulator.deliveries(500, withhold=9)
    await house.deliver(account, [post.body for post in plan.to_send()])
    await house.worker.run_due()

    captured = await house.snapshot(account)
    assert {one.campaign_external_id for one in captured} == set(house.simulator.campaign_ids)
    missing = {key for one in captured for day in one.differences for key, _ in day.missing}
    held = {row["key"] for row in (await rows_of(house.database, account.org_id))["messages"]}
    journal = house.simulator.journal
    happened = set().union(*(journal.message_keys(what) for what in (Happened.SENT, Happened.REPLIED)))
    assert missing == happened - held  # automated replies too, which no webhook tells
    assert {key for post in plan.of(PostKind.WITHHELD) for key in post.message_keys} & missing
    assert not [day.surplus for one in captured for day in one.differences if day.surplus]

    await repair(house, account, captured)

    again = await house.snapshot(account)
    assert all(one.differences == () and one.error is None for one in again)
    assert all(digest.provider_hash == digest.our_hash for one in again for digest in one.digests)
    assert sum(digest.our_count for one in again for digest in one.digests) == len(happened) + sum(
        note.what is Happened.SENT_BY_HAND and note.campaign != "" for note in journal.notes
    )
    pulled = {event.message_id for event in await house.told(account, MessageRecordedV1) if event.source == "pull"}
    assert {entity_id(account.id, "message", key) for key in missing} <= pulled


async def repair(house, account, captured):
    for one in captured:
        leads = sorted({lead for day in one.differences for _, lead in day.missing})
        if leads:
            event = RepairRequestedV1(
                run_id=new_id(), pass_number=1, account_id=account.id, campaign_id=one.campaign_id,
                campaign_external_id=one.campaign_external_id, lead_keys=tuple(leads),
            )  # fmt: skip
            await house.hear(account, "provider-sync.repairs", event)
    await house.worker.run_due()


async def test_a_snapshot_of_heyreach_ends_at_once_and_names_what_it_lacks(house_of, make_org):
    house = house_of("heyreach")
    account = await account_of(house, make_org)

    (captured,) = await house.snapshot(account)

    assert (captured.part, captured.parts, captured.differences) == (1, 1, ())
    assert captured.error == "heyreach accounts cannot do this: the provider offers no Snapshots"
    (job,) = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert house.api.calls == []


async def test_a_repair_at_heyreach_ends_at_once_and_names_what_it_lacks(house_of, make_org):
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    event = RepairRequestedV1(
        run_id=new_id(), pass_number=1, account_id=account.id, campaign_id=new_id(), campaign_external_id="7",
        lead_keys=("linkedin:in/a",),
    )  # fmt: skip

    await house.hear(account, "provider-sync.repairs", event)
    await house.worker.run_due()

    (completed,) = await house.told(account, SyncCompletedV1)
    assert (completed.kind, completed.outcome) == ("repair", "failed")
    assert completed.error.endswith("offers no Pulls")
    assert await house.told(account, SnapshotCapturedV1) == []


async def test_a_campaign_of_heyreach_is_read_back(house_of, make_org):
    house = house_of("heyreach")
    account = await account_of(house, make_org)
    campaign = house.simulator.account.campaigns[0]
    body = payload("campaign_completed_without_time", "heyreach", campaign={"id": campaign.id})

    await house.deliver(account, [body])
    await house.worker.run_due()

    (row,) = (await rows_of(house.database, account.org_id))["campaigns"]
    assert (row["name"], row["channel"], row["sources"]) == (campaign.name, "linkedin", 4)
    assert [job["state"] for job in await house.jobs(account)] == ["done"]


async def test_a_lead_of_emailbison_is_read_back(house_of, make_org):
    house = house_of("emailbison")
    account = await account_of(house, make_org)
    house.simulator.play(30)
    campaign = house.simulator.account.campaigns[0]
    lead = campaign.enrolments[0].lead
    workspace = house.simulator.account.workspace_id
    body = payload(
        "email_opened_without_event", "emailbison",
        event={"workspace_id": workspace},
        data={"campaign": {"id": campaign.id}, "lead": {"email": lead.address}, "scheduled_email": None},
    )  # fmt: skip

    (envelope,) = await house.deliver(account, [body])
    assert (await rows_of(house.database, account.org_id))["leads"] == []
    await house.worker.run_due()

    assert (await inbox_states(house.database, "provider-sync.webhooks"))[envelope.id] == "done"
    (row,) = (await rows_of(house.database, account.org_id))["leads"]
    assert (row["email"], row["external_id"]) == (lead.address, str(lead.id))
    assert [job["state"] for job in await house.jobs(account)] == ["done"]
