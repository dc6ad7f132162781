"""Changes at providers: asked for once, made once, whatever breaks where."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.events import CampaignRecordedV1, OperationChangedV1
from libs.errors import Conflict, NotFound, Unsupported
from libs.ids import CompanyId, entity_id, new_id, public_id
from libs.providers.records import LinkedInNode, NodeKind
from libs.providers.sightings import ConversationSighting, LeadSighting, Reading, Source
from libs.providers.simulation.faults import FaultKind
from libs.providers.smartlead import keys
from libs.tenancy.context import CompanyScope
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.operations import cancel_operation, resolve_operation
from services.provider_sync.operation_schemas import (
    CampaignChangeIn,
    DecisionIn,
    EmailSequenceIn,
    LeadsIn,
    NewCampaignIn,
    ReplyIn,
)
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.effects import EffectRepository
from tests.integration.services.provider_sync.effects_house import EffectsHouse, Killed

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
CREATE, STATUS = "POST /campaigns/create", "POST /campaigns/{id}/status"
LEADS, REPLY = "POST /campaigns/{id}/leads", "POST /campaigns/{id}/reply-email-thread"
SEQUENCE = EmailSequenceIn.model_validate(
    {"steps": [{"delay_days": 0, "variants": [{"subject": "Dock slots", "body_html": "<p>Hello</p>"}]},
               {"delay_days": 3, "variants": [{"subject": "", "body_html": "<p>Again</p>"}]}]}
)  # fmt: skip
SCHEDULE = {"timezone": "Europe/Berlin", "days": [1, 2, 3], "starts_at": "09:00", "ends_at": "17:00"}
NOT_DONE = (FaultKind.SERVER_ERROR, FaultKind.HANGS, FaultKind.DROPPED)
DONE = (FaultKind.DONE_AND_DROPPED, FaultKind.DONE_AND_FAILED)


@pytest.fixture
async def house(database, units):
    house = EffectsHouse(database("provider_sync"), units("provider_sync"))
    house.api.faults.hang_seconds = 0.01
    yield house
    await house.http.aclose()
    await house.over_wire.aclose()


@pytest.fixture
async def account(house, make_org):
    other = await house.open_account(make_org())  # a second tenant, at whose account nothing may change
    await house.operations.create_campaign(house.asking(other, "same"), "email", new_campaign(other, "Theirs"))
    async with house.units.begin(other.org_id) as work:
        await work.session.execute("UPDATE effects SET due_at = 'infinity'")
    opened = await house.open_account(make_org())
    house.other = other
    await known(house, opened)
    return opened


def new_campaign(account, name="Autumn", **more):
    return NewCampaignIn(account_id=public_id("acc", account.id), name=name, **more)


async def known(house, account):
    """The account's campaigns, as if they had been read."""
    async with house.units.begin(account.org_id) as work:
        for campaign in house.simulator.account.campaigns:
            await work.session.execute(
                "INSERT INTO campaigns (org_id, id, account_id, company_id, external_id, channel, name, sources, versions, "
                "revision) VALUES ($1, $2, $3, $4, $5, 'email', $6, 1, '{}', 1) ON CONFLICT DO NOTHING",
                account.org_id, entity_id(account.id, "campaign", str(campaign.id)), account.id, account.company_id,
                str(campaign.id), campaign.name,
            )  # fmt: skip


async def create(house, account, key=None, name="Autumn"):
    return await house.operations.create_campaign(house.asking(account, key), "email", new_campaign(account, name))


def made(house, name="Autumn"):
    return [one for one in house.simulator.account.campaigns if one.name == name]


async def test_a_campaign_is_made_filled_and_run(house, account):
    asked = await create(house, account)
    assert asked.operation.state == "pending"
    await house.effects.run_due()

    row = await house.row(account, asked)
    (campaign,) = made(house)
    assert (row["state"], row["done"], row["total"]) == ("succeeded", 1, 1)
    assert row["result"]["external_id"] == str(campaign.id)
    cam = row["result"]["campaign_id"]
    told = await house.told(account, CampaignRecordedV1)
    assert [(one.external_id, one.name, one.status) for one in told] == [(str(campaign.id), "Autumn", "draft")]

    asking, ops = house.asking(account), house.operations
    mailboxes = [str(one.id) for one in house.simulator.account.mailboxes[:2]]
    change = CampaignChangeIn.model_validate({"schedule": SCHEDULE, "sender_external_ids": mailboxes})
    leads = LeadsIn.model_validate(
        {"leads": [{"email": f"new{n}@example.com", "fields": {"city": "Kiel"}} for n in range(230)]}
    )
    wishes = [
        await ops.replace_sequence(asking, "email", cam, SEQUENCE),
        await ops.change_campaign(asking, "email", cam, change),
        await ops.add_leads(asking, "email", cam, leads),
        await ops.control_campaign(asking, "email", cam, "start_campaign"),
        await ops.control_campaign(asking, "email", cam, "pause_campaign"),
        await ops.control_campaign(asking, "email", cam, "resume_campaign"),
        await ops.control_campaign(asking, "email", cam, "stop_campaign"),
    ]
    await house.effects.run_due()

    assert [(await house.row(account, one))["state"] for one in wishes] == ["succeeded"] * 7, [
        (await house.row(account, one))["error"] for one in wishes
    ]
    assert house.calls(STATUS) == 4
    assert [step.delay_days for step in sorted(campaign.steps, key=lambda one: one.number)] == [0, 3]
    added = await house.row(account, wishes[2])
    counted = {"added": 230, "known": 0, "refused": {}, "not_added": []}
    assert (added["done"], added["total"], added["result"]) == (3, 3, counted)
    assert house.calls(LEADS) == 3
    assert campaign.history[-1][1] == "STOPPED"
    assert made(house, "Theirs") == []
    read_back = [job for job in await house.jobs(account) if job["kind"] == "read_back"]
    assert [job["payload"]["campaign_external_id"] for job in read_back] == [str(campaign.id)]


@pytest.mark.parametrize("fault", [*NOT_DONE, *DONE])
async def test_an_answer_that_is_lost_makes_no_second_campaign_and_loses_none(house, account, fault):
    asked = await create(house, account)
    house.api.faults.next(fault, path="/campaigns/create")
    await house.effects.run_due()

    assert [one for one, _ in house.api.faults.met] == [fault]
    assert (await house.state(account, asked), len(made(house))) == ("unknown", int(fault in DONE))
    assert not (await house.row(account, asked))["needs_decision"]
    assert await house.effects.run_due() == 0  # a look means nothing yet
    await house.finish(account)

    assert (await house.state(account, asked), len(made(house))) == ("succeeded", 1)
    assert house.calls(CREATE) == (1 if fault in DONE else 2)
    assert (await house.row(account, asked))["result"]["external_id"] == str(made(house)[0].id)


@pytest.mark.parametrize("fault", DONE)
async def test_leads_are_added_once_when_the_answer_is_lost(house, account, fault):
    campaign = house.simulator.account.campaigns[0]
    leads = LeadsIn.model_validate({"leads": [{"email": f"new{n}@example.com"} for n in range(3)]})
    asked = await house.operations.add_leads(house.asking(account), "email", house.campaign(account), leads)
    before = len(campaign.enrolments)
    house.api.faults.next(fault, path="/leads")
    await house.effects.run_due()
    assert house.api.faults.met
    await house.finish(account)

    assert (await house.state(account, asked), house.calls(LEADS)) == ("succeeded", 1)
    result = (await house.row(account, asked))["result"]
    assert (result["uncounted"], [one["outcome"] for one in result["not_added"]]) == (3, ["undecided"] * 3)
    assert len(campaign.enrolments) == before + 3

    await house.make_due(account, but="verify_webhook")
    await house.worker.run_due()
    assert (await house.row(account, asked))["result"] == {"uncounted": 3, "not_added": []}
    assert len(await house.rows(account, "enrolments")) == 3


async def test_too_many_calls_are_no_charge_and_no_doubt(house, account):
    asked = await create(house, account)
    house.api.faults.next(FaultKind.RATE_LIMITED, path="/campaigns/create")
    await house.effects.run_due()

    (effect,) = await house.rows(account, "effects")
    assert (effect["state"], effect["attempts"]) == ("intent", 0)
    async with house.units.begin(account.org_id) as work:
        await work.session.execute("UPDATE account_budgets SET paused_until = NULL")
    await house.finish(account)
    assert (await house.state(account, asked), len(made(house))) == ("succeeded", 1)


async def test_a_no_is_told_in_the_providers_words(house, account):
    asked = await create(house, account)
    await house.effects.run_due()
    cam = (await house.row(account, asked))["result"]["campaign_id"]
    started = await house.operations.control_campaign(house.asking(account), "email", cam, "start_campaign")
    await house.effects.run_due()

    row = await house.row(account, started)
    assert (row["state"], row["error_code"]) == ("failed", "provider_refused")
    assert "cannot be started without" in row["error"]


async def test_a_refused_key_waits_for_a_new_one(house, account):
    asked = await create(house, account)
    house.api.revoked.add(house.simulator.api_key)
    await house.effects.run_due()

    async with house.database.tenant_transaction(account.org_id) as session:
        assert await session.fetchval("SELECT status FROM accounts") == "needs_reauth"
    assert await house.state(account, asked) in ("pending", "running")
    await house.later(account)
    assert await house.effects.run_due() == 0

    house.api.revoked.clear()
    async with house.units.begin(account.org_id) as work:
        await work.session.execute("UPDATE accounts SET status = 'active'")
    await house.finish(account)
    assert (await house.state(account, asked), len(made(house))) == ("succeeded", 1)


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_worker_that_dies_around_the_call_leaves_one_campaign(house, account, where):
    asked = await create(house, account)
    house.wire.kill = where
    with pytest.raises(Killed):
        await house.effects.run_due()
    house.wire.kill = ""

    (effect,) = await house.rows(account, "effects")
    assert (effect["state"], effect["sends"]) == ("sent", 1)
    assert await house.effects.run_due() == 0  # its lease is not over
    await house.later(account)
    await house.effects.run_due()
    (effect,) = await house.rows(account, "effects")
    assert effect["state"] == "unknown" or effect["state"] == "done"
    await house.finish(account)
    assert (await house.state(account, asked), len(made(house))) == ("succeeded", 1)


async def test_a_worker_that_dies_before_it_writes_has_sent_nothing(house, account, monkeypatch):
    asked = await create(house, account)

    async def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(house.effects, "_send", dies)
        with pytest.raises(Killed):
            await house.effects.run_due()
    (effect,) = await house.rows(account, "effects")
    assert (effect["state"], effect["sends"]) == ("intent", 0)
    await house.finish(account)
    assert (await house.state(account, asked), len(made(house)), house.calls(CREATE)) == ("succeeded", 1, 1)


async def test_a_worker_that_slept_past_its_deadline_writes_nothing(house, account, monkeypatch):
    asked = await create(house, account)
    monkeypatch.setattr("services.provider_sync.effect_worker.WRITE_WITHIN_SECONDS", -1.0)
    await house.effects.run_due()
    assert house.calls(CREATE) == 0
    assert [one["state"] for one in await house.rows(account, "effects")] == ["intent"]

    monkeypatch.undo()
    await house.finish(account)
    assert (await house.state(account, asked), house.calls(CREATE)) == ("succeeded", 1)


async def test_whoever_lost_the_lease_writes_nothing(house, account, monkeypatch):
    """It is taken by somebody else while its first holder still reads."""
    asked = await create(house, account)
    first = house.worker_of()
    note = first._send

    async def slow(*arguments):
        await house.later(account)
        await house.effects.run_due()
        return await note(*arguments)

    monkeypatch.setattr(first, "_send", slow)
    await first.run_due()
    assert (await house.state(account, asked), house.calls(CREATE)) == ("succeeded", 1)


async def test_whoever_has_an_earlier_taking_writes_nothing(house, account, monkeypatch):
    """Somebody else has taken it and is about to write."""
    asked = await create(house, account)
    send = house.effects._send

    async def slow(*arguments):
        await house.later(account)
        async with house.units.begin(account.org_id) as work:
            assert await EffectRepository(work.session).take(60.0, "another") is not None
        return await send(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(house.effects, "_send", slow)
        await house.effects.run_due()
    assert (house.calls(CREATE), await house.state(account, asked)) == (0, "pending")
    await house.finish(account)
    assert (house.calls(CREATE), await house.state(account, asked)) == (1, "succeeded")


async def test_what_is_asked_of_a_campaign_does_not_overtake_what_was_asked_before(house, account):
    cam, asking = house.campaign(account), house.asking(account)
    paused = await house.operations.control_campaign(asking, "email", cam, "pause_campaign")
    resumed = await house.operations.control_campaign(asking, "email", cam, "resume_campaign")
    other = await house.operations.control_campaign(asking, "email", house.campaign(account, 1), "pause_campaign")
    house.api.faults.next(FaultKind.SERVER_ERROR, path="/status")
    await house.effects.run_due()

    assert [await house.state(account, one) for one in (paused, resumed, other)] == ["unknown", "pending", "succeeded"]
    await house.finish(account)
    assert {await house.state(account, one) for one in (paused, resumed)} == {"succeeded"}
    history = house.simulator.account.campaigns[0].history
    assert [status for _, status in history[-2:]] == ["PAUSED", "ACTIVE"]


async def test_two_workers_make_each_call_once(house, account):
    asked = [await create(house, account, name=f"Autumn {n}") for n in range(6)]
    replicas = [house.effects, house.worker_of(), house.worker_of()]
    await asyncio.gather(*(one.run_due() for one in replicas))
    await house.finish(account)

    assert {await house.state(account, one) for one in asked} == {"succeeded"}
    assert house.calls(CREATE) == 6


async def talk(house, account):
    """The conversation with somebody who replied, as if webhooks had told it."""
    house.simulator.play(40)
    campaign, one = next(
        (campaign, one) for campaign in house.simulator.account.campaigns for one in campaign.enrolments if one.replies
    )
    lead = LeadSighting(key=one.lead.key, seen_at=NOON, external_id=str(one.lead.id), email=one.lead.address)
    thread = ConversationSighting(
        key=keys.conversation(str(campaign.id), one.lead.key), lead_key=one.lead.key, seen_at=NOON,
        campaign_external_id=str(campaign.id),
    )  # fmt: skip
    reading = Reading(event_type="told", leads=(lead,), conversations=(thread,))
    async with house.units.begin(account.org_id) as work:
        known = (await AccountRepository(work.session).find_all([account.id]))[account.id]
        await record([Told(known, reading, Source.WEBHOOK, None)], work)
    return public_id("cnv", entity_id(account.id, "conversation", thread.key))


@pytest.mark.parametrize(("outcome", "state"), [("done", "succeeded"), ("not_done", "failed")])
async def test_a_reply_whose_answer_is_lost_is_a_persons_to_decide(house, account, outcome, state):
    cnv = await talk(house, account)
    asked = await house.operations.reply(house.asking(account), cnv, ReplyIn(text="Thursday at ten."))
    house.api.faults.next(FaultKind.SERVER_ERROR, path="/reply-email-thread")
    await house.effects.run_due()
    await house.finish(account)

    row = await house.row(account, asked)
    assert (row["state"], row["needs_decision"], house.calls(REPLY)) == ("unknown", True, 1)
    async with house.units.begin(account.org_id, actor="user:1") as work:
        await resolve_operation(work, asked.operation.id, DecisionIn(outcome=outcome, note="looked"))
    row = await house.row(account, asked)
    assert (row["state"], row["needs_decision"], row["note"]) == (state, False, "looked")
    with pytest.raises(Conflict):
        async with house.units.begin(account.org_id, actor="user:1") as work:
            await resolve_operation(work, asked.operation.id, DecisionIn(outcome=outcome, note="again"))
    await house.finish(account)
    assert house.calls(REPLY) == 1


async def test_a_reply_that_landed_is_found(house, account):
    cnv = await talk(house, account)
    asked = await house.operations.reply(house.asking(account), cnv, ReplyIn(text="Thursday at ten."))
    house.api.faults.next(FaultKind.DONE_AND_DROPPED, path="/reply-email-thread")
    await house.effects.run_due()
    house.simulator.advance(timedelta(minutes=5))
    await house.finish(account)

    assert (await house.state(account, asked), house.calls(REPLY)) == ("succeeded", 1)


async def test_what_is_not_sent_is_taken_back_and_what_is_sent_is_not(house, account):
    asked = await create(house, account)
    async with house.units.begin(account.org_id, actor="user:1") as work:
        assert (await cancel_operation(work, asked.operation.id)).state == "cancelled"
    await house.finish(account)
    assert house.calls(CREATE) == 0

    asked = await create(house, account)
    await house.effects.run_due()
    with pytest.raises(Conflict):
        async with house.units.begin(account.org_id, actor="user:1") as work:
            await cancel_operation(work, asked.operation.id)


async def test_what_is_taken_back_while_a_worker_has_it_is_not_sent(house, account, monkeypatch):
    asked = await create(house, account)
    note = house.effects._send

    async def slow(*arguments):
        async with house.units.begin(account.org_id, actor="user:1") as work:
            await cancel_operation(work, asked.operation.id)
        return await note(*arguments)

    monkeypatch.setattr(house.effects, "_send", slow)
    await house.effects.run_due()
    assert (await house.state(account, asked), house.calls(CREATE)) == ("cancelled", 0)


async def test_one_key_is_one_operation_however_often_it_is_posted(house, account):
    found = await asyncio.gather(*(create(house, account, "same") for _ in range(20)))

    assert len({one.operation.id for one in found}) == 1
    assert sorted(one.is_repeated for one in found) == [False] + [True] * 19
    assert len(await house.rows(account, "operations")) == 1
    with pytest.raises(Conflict, match="another request"):
        await create(house, account, "same", name="Another")
    await house.effects.run_due()
    assert len(made(house)) == 1
    assert (await create(house, account, "same")).operation.state == "succeeded"


async def test_each_change_is_told_with_a_higher_revision(house, account):
    asked = await create(house, account)
    await house.effects.run_due()

    told = await house.told(account, OperationChangedV1)
    assert [one.state for one in told] == ["pending", "running", "succeeded"]
    assert [one.revision for one in told] == [1, 2, 3]
    assert public_id("op_sync", told[0].operation_id) == asked.operation.id


async def test_nobody_changes_what_they_cannot_see(house, account):
    sibling = CompanyScope.of([CompanyId(new_id())])
    cam = house.campaign(account)
    for asking in (house.asking(house.other), house.asking(account, scope=sibling)):
        with pytest.raises(NotFound):
            await house.operations.control_campaign(asking, "email", cam, "start_campaign")
        with pytest.raises(NotFound):
            await house.operations.create_campaign(asking, "email", new_campaign(account))
        with pytest.raises(NotFound):
            await house.operations.control_campaign(house.asking(account), "linkedin", cam, "start_campaign")
    asked = await create(house, account)
    async with house.units.begin(house.other.org_id, actor="user:1") as work:
        with pytest.raises(NotFound):
            await cancel_operation(work, asked.operation.id)
    async with house.units.begin(account.org_id, sibling, actor="user:1") as work:
        with pytest.raises(NotFound):
            await cancel_operation(work, asked.operation.id)


async def test_what_a_provider_cannot_do_is_refused_with_the_reason(database, units, make_org):
    house = EffectsHouse(database("provider_sync"), units("provider_sync"), "smartlead")
    account = await house.open_account(make_org())
    await known(house, account)
    with pytest.raises(Unsupported, match="LinkedInSequences: Smartlead sends e-mail"):
        await house.operations._of_campaign(
            house.asking(account), "email", house.campaign(account), "replace_sequence",
            first=LinkedInNode(kind=NodeKind.END),
        )  # fmt: skip
    assert await house.rows(account, "operations") == []
    await house.http.aclose()
    await house.over_wire.aclose()
