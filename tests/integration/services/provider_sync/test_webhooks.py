"""Webhooks become facts: stubs, companies, tenants, and who is charged for a bad one."""

from __future__ import annotations

import pytest

from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import registry, seal
from libs.contracts.events import (
    CampaignRecordedV1,
    DeadLetterChangedV1,
    EngagementRecordedV1,
    LeadRecordedV1,
    MessageRecordedV1,
    SequenceStepRecordedV1,
    WebhookReceivedV1,
)
from libs.ids import AccountId, EventId, entity_id, new_id
from libs.providers.sightings import Direction, EngagementKind, EngagementSighting, MessageSighting, Reading, Source
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.facts import record
from tests.integration.services.provider_sync.stage import (
    TABLES,
    forget_org_filters,
    inbox_states,
    payload,
    processor,
    rows_of,
    set_stage,
    told,
)

QUEUE = "provider-sync.webhooks"


@pytest.fixture
async def stage(units, make_org):
    return await set_stage(units("provider_sync"), make_org())


@pytest.fixture
def deliver(database):
    return processor(database("provider_sync"), QUEUE).deliver


async def test_a_webhook_becomes_rows_and_one_event_each(database, stage, deliver):
    webhook = stage.webhook(payload("email_sent"))

    await deliver([webhook])

    events = await told(database("provider_sync"), stage.org_id)
    assert [type(event) for event in events] == [
        CampaignRecordedV1, SequenceStepRecordedV1, LeadRecordedV1, MessageRecordedV1,
    ]  # fmt: skip
    message = events[-1]
    assert (message.direction, message.sequence_step_number, message.step_source, message.source) == (
        "outbound", 1, "webhook", "webhook",
    )  # fmt: skip
    assert {event.envelope.causation_id for event in events} == {webhook.id}
    assert {event.envelope.correlation_id for event in events} == {webhook.correlation_id}
    assert {event.envelope.company_id for event in events if not isinstance(event, LeadRecordedV1)} == {
        stage.account.company_id
    }


async def test_what_tells_nothing_new_is_told_to_nobody(database, stage, deliver):
    await deliver([stage.webhook(payload("email_sent"))])
    before = await told(database("provider_sync"), stage.org_id)

    await deliver([stage.webhook(payload("email_sent_other_webhook"))])

    assert len(await told(database("provider_sync"), stage.org_id)) == len(before)


async def test_the_same_delivery_twice_is_one(database, stage, deliver):
    webhook = stage.webhook(payload("email_open"))

    await deliver([webhook, webhook])
    await deliver([webhook])

    events = await told(database("provider_sync"), stage.org_id)
    assert sum(isinstance(event, EngagementRecordedV1) for event in events) == 1


def again(webhook):
    """The same delivery told once more, for a replay."""
    event = registry.open(webhook)
    return read_envelope(seal(event, source="webhook-ingest", org_id=webhook.org_id, replay_id=new_id()).raw)


async def test_a_delivery_that_was_done_is_read_again_and_changes_nothing(database, stage, deliver):
    webhook = stage.webhook(payload("email_sent"))
    await deliver([webhook])
    before = await told(database("provider_sync"), stage.org_id), await rows_of(database("provider_sync"), stage.org_id)

    await deliver([again(webhook)])

    after = await told(database("provider_sync"), stage.org_id), await rows_of(database("provider_sync"), stage.org_id)
    assert [event.envelope.id for event in after[0]] == [event.envelope.id for event in before[0]]
    assert after[1] == before[1]
    assert list((await inbox_states(database("provider_sync"), QUEUE)).values()) == ["done", "done"]


async def test_a_delivery_that_was_not_done_is_tried_again_in_its_own_place(database, units, make_org, stage, deliver):
    other = await set_stage(units("provider_sync"), make_org())
    foreign = stage.webhook(payload("email_sent"), org_id=other.org_id)
    event = registry.open(foreign)
    assert isinstance(event, WebhookReceivedV1)
    first_id = EventId(event.delivery_id)
    dead = read_envelope(seal(event, source="webhook-ingest", org_id=other.org_id, event_id=first_id).raw)
    await deliver([dead])
    replayed = again(dead)

    await deliver([replayed])

    states = await inbox_states(database("provider_sync"), QUEUE)
    assert states == {dead.id: "due", replayed.id: "done"}
    changes = [event.state for event in await told(database("provider_sync"), other.org_id)
               if isinstance(event, DeadLetterChangedV1)]  # fmt: skip
    assert changes == ["dead", "due"]


async def test_a_message_only_referred_to_is_kept_and_not_told(database, units, stage):
    opened = EngagementSighting(
        key="opened:1", kind=EngagementKind.OPENED, lead_key="email:ines@northpier.example.com",
        occurred_at=stage.now, seen_at=stage.now, campaign_external_id="7", message_key="sent:1",
    )  # fmt: skip
    reading = Reading(event_type="x", engagements=(opened,))

    async with units("provider_sync").begin(stage.org_id) as work:
        await record([Told(stage.account, reading, Source.WEBHOOK, None)], work)

    rows = await rows_of(database("provider_sync"), stage.org_id)
    (message,), (campaign,), (lead,) = rows["messages"], rows["campaigns"], rows["leads"]
    assert (message["direction"], message["key"]) == (None, "sent:1")
    assert (campaign["name"], campaign["external_id"]) == (None, "7")
    assert lead["key"] == "email:ines@northpier.example.com"
    events = await told(database("provider_sync"), stage.org_id)
    assert [type(event) for event in events] == [CampaignRecordedV1, LeadRecordedV1, EngagementRecordedV1]
    assert events[0].source == "inferred"


@pytest.mark.parametrize("reply_first", [True, False])
async def test_a_reply_without_a_step_takes_that_of_what_it_answers(database, units, stage, reply_first):
    def message(key, direction, **more):
        return MessageSighting(
            key=key, conversation_key="c", lead_key="email:a@x.example.com", direction=direction,
            seen_at=stage.now, campaign_external_id="7", **more,
        )  # fmt: skip

    sent = message("sent:1", Direction.OUTBOUND, step_number=2, step_source=Source.WEBHOOK)
    reply = message("reply:1", Direction.INBOUND, in_reply_to_key="sent:1")
    for one in (reply, sent) if reply_first else (sent, reply):
        async with units("provider_sync").begin(stage.org_id) as work:
            await record([Told(stage.account, Reading(event_type="x", messages=(one,)), Source.WEBHOOK, None)], work)

    rows = {row["key"]: row for row in (await rows_of(database("provider_sync"), stage.org_id))["messages"]}
    assert (rows["reply:1"]["step_number"], rows["reply:1"]["step_source"]) == (2, "inferred")
    assert (rows["sent:1"]["step_number"], rows["sent:1"]["step_source"]) == (2, "webhook")
    last = [event for event in await told(database("provider_sync"), stage.org_id)
            if isinstance(event, MessageRecordedV1) and event.direction == "inbound"][-1]  # fmt: skip
    assert (last.sequence_step_number, last.step_source) == (2, "inferred")

    stated = message("reply:1", Direction.INBOUND, in_reply_to_key="sent:1", step_number=1, step_source=Source.PULL)
    async with units("provider_sync").begin(stage.org_id) as work:
        await record([Told(stage.account, Reading(event_type="x", messages=(stated,)), Source.PULL, None)], work)
    rows = {row["key"]: row for row in (await rows_of(database("provider_sync"), stage.org_id))["messages"]}
    assert (rows["reply:1"]["step_number"], rows["reply:1"]["step_source"]) == (1, "pull")


async def test_a_campaign_that_moves_takes_its_children_along_and_says_so(database, stage, deliver):
    await deliver([stage.webhook(payload("email_open"))])
    assert await companies(database, stage) == {stage.account.company_id}

    later = payload("email_sent", client_id=111, event_timestamp="2026-07-12T00:00:00.000Z")
    await deliver([stage.webhook(later)])

    assert await companies(database, stage) == {stage.account.clients["111"]}
    campaign = [event for event in await told(database("provider_sync"), stage.org_id)
                if isinstance(event, CampaignRecordedV1)][-1]  # fmt: skip
    assert campaign.envelope.company_id == stage.account.clients["111"]


async def test_an_unmapped_client_and_none_at_all_are_the_accounts_company(database, stage, deliver):
    for client_id in (999, None):
        await deliver([stage.webhook(payload("email_sent", client_id=client_id, campaign_id=client_id or 5))])

    assert await companies(database, stage) == {stage.account.company_id}


async def companies(database, stage):
    rows = await rows_of(database("provider_sync"), stage.org_id)
    return {row["company_id"] for table in TABLES if table != "leads" for row in rows[table]}


async def test_another_orgs_account_is_a_dead_letter_and_changes_nothing(database, units, make_org, stage, deliver):
    other = await set_stage(units("provider_sync"), make_org())
    foreign = stage.webhook(payload("email_sent"), org_id=other.org_id)

    await deliver([foreign, other.webhook(payload("email_open"))])

    assert (await inbox_states(database("provider_sync"), QUEUE))[foreign.id] == "dead"
    assert all(not rows for rows in (await rows_of(database("provider_sync"), stage.org_id)).values())
    dead = [event for event in await told(database("provider_sync"), other.org_id)
            if isinstance(event, DeadLetterChangedV1)]  # fmt: skip
    assert [event.error_class for event in dead] == ["tenant_mismatch"]


async def test_two_orgs_with_the_same_external_ids_in_one_batch(database, units, make_org, stage, deliver):
    other = await set_stage(units("provider_sync"), make_org())

    await deliver([stage.webhook(payload("email_reply")), other.webhook(payload("email_open", campaign_name="Other"))])

    ours = await rows_of(database("provider_sync"), stage.org_id)
    theirs = await rows_of(database("provider_sync"), other.org_id)
    assert [row["name"] for row in ours["campaigns"]] == ["Harbour pilot"]
    assert [row["name"] for row in theirs["campaigns"]] == ["Other"]
    assert ours["campaigns"][0]["id"] != theirs["campaigns"][0]["id"]
    assert (len(ours["engagements"]), len(theirs["engagements"])) == (0, 1)


async def test_a_batch_of_two_orgs_stays_apart_even_without_org_filters(
    database, units, make_org, stage, deliver, monkeypatch
):
    """The same account id in two orgs (as no UUID does): ids collide, so only row-level security keeps them apart."""
    other = await set_stage(units("provider_sync"), make_org(), account_id=stage.account.id)
    forgotten = forget_org_filters(monkeypatch)

    await deliver([stage.webhook(payload("email_open")), other.webhook(payload("email_open", campaign_name="Other"))])
    later = {"event_timestamp": "2026-07-12T00:00:00.000Z", "client_id": 111}
    await deliver([stage.webhook(payload("email_reply", **later)), other.webhook(payload("email_open"))])

    assert len(forgotten) > 10
    ours = await rows_of(database("provider_sync"), stage.org_id)
    theirs = await rows_of(database("provider_sync"), other.org_id)
    assert [row["name"] for row in ours["campaigns"]] == ["Harbour pilot"]
    assert ours["campaigns"][0]["id"] == theirs["campaigns"][0]["id"]
    assert ours["campaigns"][0]["company_id"] == stage.account.clients["111"]
    assert {row["company_id"] for row in theirs["messages"]} == {other.account.company_id}
    assert (len(ours["messages"]), len(theirs["messages"])) == (3, 1)


async def test_one_bad_webhook_among_many_is_the_only_one_charged(database, stage, deliver):
    good = [stage.webhook(payload("email_sent", campaign_id=number)) for number in range(1, 6)]
    bad = stage.webhook(payload("refused_campaign_id"))

    await deliver([*good[:3], bad, *good[3:]])

    states = await inbox_states(database("provider_sync"), QUEUE)
    assert states[bad.id] == "dead"
    assert {states[one.id] for one in good} == {"done"}
    assert len((await rows_of(database("provider_sync"), stage.org_id))["campaigns"]) == 5


async def test_an_unknown_type_is_counted_and_done(database, stage, deliver):
    webhooks = [stage.webhook(payload("unknown_type")) for _ in range(3)]

    await deliver(webhooks[:2])
    await deliver(webhooks[2:])

    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        (row,) = await session.fetch("SELECT * FROM unknown_webhooks")
    assert (row["count"], row["account_id"]) == (3, stage.account.id)
    assert row["first_seen"] < row["last_seen"]
    assert set((await inbox_states(database("provider_sync"), QUEUE)).values()) == {"done"}


async def test_a_payload_without_time_states_nothing_and_asks_once(database, stage, deliver):
    await deliver([stage.webhook(payload("campaign_status_changed")) for _ in range(3)])
    await deliver([stage.webhook(payload("campaign_status_changed")), stage.webhook(payload("manual_step_reached"))])

    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        jobs = await session.fetch("SELECT kind, state, key, wanted FROM sync_jobs ORDER BY key")
    assert [(job["kind"], job["state"]) for job in jobs] == [("read_back", "due"), ("read_back", "due")]
    assert [job["wanted"] for job in jobs] == [2, 1]  # a wish per batch, one job
    assert all(not rows for rows in (await rows_of(database("provider_sync"), stage.org_id)).values())


async def test_what_was_read_back_and_counted_once_is_not_again_for_a_replay(database, stage, deliver):
    timeless, unknown = stage.webhook(payload("campaign_status_changed")), stage.webhook(payload("unknown_type"))
    later = stage.webhook(payload("manual_step_reached"))
    await deliver([timeless, unknown])

    async def jobs():
        async with database("provider_sync").tenant_transaction(stage.org_id) as session:
            rows = await session.fetch("SELECT state, wanted FROM sync_jobs ORDER BY key")
            return [tuple(row) for row in rows], await session.fetchval("SELECT sum(count) FROM unknown_webhooks")

    await deliver([again(timeless), again(unknown)])
    assert await jobs() == ([("due", 1)], 1)
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        await session.execute("UPDATE sync_jobs SET state = 'done', changed_at = now()")
    await deliver([again(timeless), again(unknown)])
    assert await jobs() == ([("done", 1)], 1)
    await deliver([again(later)])  # of what nobody has read back since it came, that is still wished for
    assert (await jobs())[0] == [("done", 1), ("due", 1)]
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        await session.execute("UPDATE sync_jobs SET state = 'done', changed_at = now() - interval '1 hour'")
    await deliver([again(timeless)])
    assert sorted((await jobs())[0]) == [("done", 1), ("due", 2)]


async def test_when_an_account_was_heard_of_and_that_proves_its_registration(database, units, make_org, deliver):
    stage = await set_stage(units("provider_sync"), make_org(), endpoint_status="unknown")
    first, second = stage.webhook(payload("email_sent")), stage.webhook(payload("email_open"))

    await deliver([second])
    await deliver([first])

    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        (endpoint,) = await session.fetch("SELECT status, last_webhook_at FROM endpoints")
    assert endpoint["status"] == "registered"
    assert endpoint["last_webhook_at"] == max(first.time, second.time)


async def test_an_event_of_another_provider_than_the_accounts_is_refused(database, units, stage, make_org, deliver):
    other = await set_stage(units("provider_sync"), make_org())
    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        await session.execute("UPDATE accounts SET provider = 'heyreach'")
    webhook = stage.webhook(payload("email_sent"))

    await deliver([webhook, other.webhook(payload("email_sent"))])

    states = await inbox_states(database("provider_sync"), QUEUE)
    assert sorted(states.values()) == ["dead", "done"]
    assert states[webhook.id] == "dead"


async def test_ids_are_those_that_anyone_derives(database, stage, deliver):
    await deliver([stage.webhook(payload("email_sent"))])

    (campaign,) = (await rows_of(database("provider_sync"), stage.org_id))["campaigns"]
    assert campaign["id"] == entity_id(stage.account.id, "campaign", "3623750")
    assert campaign["id"] != entity_id(AccountId(new_id()), "campaign", "3623750")
