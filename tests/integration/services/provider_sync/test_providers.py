"""What all three providers' webhooks become: their simulators' books, and what is special about each."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from libs.contracts.events import DeadLetterChangedV1, MessageRecordedV1
from libs.ids import CompanyId, entity_id, new_id
from libs.providers.emailbison.simulator import EmailBisonSimulator
from libs.providers.heyreach.simulator import Happened as OnLinkedIn
from libs.providers.heyreach.simulator import HeyReachSimulator
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.mail_journal import Happened
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import ReadBack, Reading
from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator
from services.provider_sync.repository.accounts import AccountRepository
from tests.integration.services.provider_sync.stage import (
    forget_org_filters,
    inbox_states,
    payload,
    processor,
    readable,
    rows_of,
    set_stage,
    told,
)

QUEUE = "provider-sync.webhooks"
# The books' words that are engagements here. A manual step names no time: it is read back, and states nothing.
BY_MAIL = (Happened.OPENED, Happened.CLICKED, Happened.BOUNCED, Happened.UNSUBSCRIBED, Happened.CATEGORIZED)
ON_LINKEDIN = (
    OnLinkedIn.CONNECTION_REQUESTED,
    OnLinkedIn.CONNECTION_ACCEPTED,
    OnLinkedIn.PROFILE_VIEWED,
    OnLinkedIn.FOLLOWED,
    OnLinkedIn.LIKED,
    OnLinkedIn.CATEGORIZED,
)


@pytest.fixture
async def stage_of(units, make_org):
    async def stage_of(provider, **more):
        return await set_stage(units("provider_sync"), make_org(), provider=provider, **more)

    return stage_of


@pytest.fixture
def deliver(database):
    return processor(database("provider_sync"), QUEUE).deliver


@pytest.fixture
def rows(database):
    async def rows(stage):
        return await rows_of(database("provider_sync"), stage.org_id)

    return rows


def per_campaign(notes, campaigns, kinds):
    """(the campaign's id here, what) -> how often."""
    return Counter((campaigns.get(note.campaign), note.what.value) for note in notes if note.what in kinds)


@pytest.mark.parametrize(
    ("simulator", "kinds"),
    [
        (SmartleadSimulator(seed=8), BY_MAIL),
        (EmailBisonSimulator(seed=8, answered_by_hand_share=0.5), BY_MAIL),
        (HeyReachSimulator(seed=8), ON_LINKEDIN),
    ],
    ids=["smartlead", "emailbison", "heyreach"],
)
async def test_the_rows_are_what_happened(stage_of, deliver, rows, simulator, kinds):
    provider = type(simulator).__name__.removesuffix("Simulator").lower()
    stage, other = await stage_of(provider), await stage_of(provider)
    plan = simulator.deliveries(900, duplicates=0.2, garbage=0, poison=5, unknown=3)
    bodies = [post.body for post in plan.to_send()]
    for start in range(0, len(bodies), 150):
        await deliver([stage.webhook(body) for body in bodies[start : start + 150]])

    found, journal, happened = await rows(stage), simulator.journal, type(simulator.journal.notes[0].what)
    campaigns = {row["external_id"]: row["id"] for row in found["campaigns"]}
    assert set(campaigns) == set(simulator.campaign_ids)
    assert Counter((row["campaign_id"], row["kind"]) for row in found["engagements"]) == per_campaign(
        journal.notes, campaigns, kinds
    )

    def keys(direction, *, in_campaign, **more):
        return {
            row["key"]
            for row in found["messages"]
            if row["direction"] == direction
            and (row["campaign_id"] is not None) is in_campaign
            and all(row[name] == value for name, value in more.items())
        }

    assert keys("inbound", in_campaign=True) == journal.message_keys(happened.REPLIED)
    assert keys("inbound", in_campaign=False) == journal.message_keys(happened.UNTRACKED_REPLY)
    by_hand = journal.message_keys(happened.SENT_BY_HAND)
    if provider == "heyreach":
        # Nothing but another message's slice tells those, and not all; nothing says that they are.
        assert keys("outbound", in_campaign=True, manual=False) == journal.message_keys(happened.SENT)
        assert keys("outbound", in_campaign=False, manual=None) <= by_hand
        assert keys("outbound", in_campaign=True, inmail=True)
    else:
        assert keys("outbound", in_campaign=True) == journal.message_keys(happened.SENT) | {
            note.message_key for note in journal.notes if note.what is happened.SENT_BY_HAND and note.campaign
        }
        assert {row["key"] for row in found["messages"] if row["manual"]} == by_hand
    assert Counter(row["campaign_id"] for row in found["messages"] if row["key"] not in by_hand) == per_message(
        journal, campaigns, (happened.SENT, happened.REPLIED, happened.UNTRACKED_REPLY)
    )
    assert {lead["channel"] for lead in found["leads"]} == {PROVIDERS[provider].channel.value}
    assert all(not theirs for theirs in (await rows(other)).values())


def per_message(journal, campaigns, kinds):
    return Counter(campaigns.get(note.campaign) for note in journal.notes if note.what in kinds)


@pytest.mark.parametrize("provider", ["heyreach", "emailbison"])
async def test_the_same_account_id_and_webhooks_in_two_orgs_stay_apart(
    database, stage_of, deliver, rows, provider, monkeypatch
):
    """Every id collides, as no UUID does: only row-level security keeps them apart."""
    stage = await stage_of(provider)
    other = await stage_of(provider, account_id=stage.account.id)
    bodies = readable(provider)
    forgotten = forget_org_filters(monkeypatch)

    await deliver([(stage, other)[number % 2].webhook(body) for number, body in enumerate(bodies)])
    await deliver([(other, stage)[number % 2].webhook(body) for number, body in enumerate(bodies)])
    await deliver([stage.webhook(bodies[0])])

    assert len(forgotten) > 10
    ours, theirs = await rows(stage), await rows(other)
    for table in ours:
        assert [row["id"] for row in ours[table]] == [row["id"] for row in theirs[table]]
        for found, one in ((ours, stage), (theirs, other)):
            assert {row.get("company_id", one.account.company_id) for row in found[table]} <= {one.account.company_id}
    assert ours["messages"]


async def test_overlapping_types_of_heyreach_tell_one_message(database, stage_of, deliver, rows):
    """A first reply is told by two types, and our message once more beside it in both."""
    stage, other = await stage_of("heyreach"), await stage_of("heyreach")
    names = ("message_reply_received", "every_message_reply_received", "message_sent", "every_message_reply_received")

    for name in names:
        await deliver([stage.webhook(payload(name, "heyreach"))])
    await deliver([other.webhook(payload("message_sent", "heyreach"))])

    found = await rows(stage)
    reply, sent = sorted(found["messages"], key=lambda row: row["direction"])
    assert (reply["direction"], reply["manual"], reply["inmail"]) == ("inbound", None, False)
    assert (sent["direction"], sent["manual"], sent["inmail"]) == ("outbound", False, False)
    (campaign,) = found["campaigns"]
    assert sent["campaign_id"] == reply["campaign_id"] == campaign["id"]
    assert len(found["conversations"]) == 1
    events = {
        event.message_id: event
        for event in await told(database("provider_sync"), stage.org_id)
        if isinstance(event, MessageRecordedV1)
    }
    assert {(event.direction, event.manual, event.inmail, event.channel) for event in events.values()} == {
        ("inbound", None, False, "linkedin"),
        ("outbound", False, False, "linkedin"),
    }
    assert len((await rows(other))["messages"]) == 1


async def test_a_message_of_a_slice_is_known_before_its_own_webhook_comes(database, stage_of, deliver, rows):
    """First told beside a reply: without campaign or word on who wrote it. Its own webhook, though older, fills that in."""
    stage = await stage_of("heyreach")

    await deliver([stage.webhook(payload("every_message_reply_received", "heyreach"))])
    (sent,) = [row for row in (await rows(stage))["messages"] if row["direction"] == "outbound"]
    assert (sent["campaign_id"], sent["manual"]) == (None, None)
    await deliver([stage.webhook(payload("message_sent", "heyreach"))])

    (sent,) = [row for row in (await rows(stage))["messages"] if row["direction"] == "outbound"]
    assert sent["campaign_id"] == entity_id(stage.account.id, "campaign", "410233")
    assert sent["manual"] is False


async def test_a_mail_by_hand_is_manual_and_has_no_step(stage_of, deliver, rows):
    stage = await stage_of("emailbison")

    await deliver([stage.webhook(payload("manual_email_sent", "emailbison"))])
    await deliver([stage.webhook(payload("email_sent", "emailbison"))])

    manual = {row["manual"]: row["step_number"] for row in (await rows(stage))["messages"]}
    assert manual == {True: None, False: 1}


@pytest.fixture
def learn(units):
    async def learn(stage, workspace):
        async with units("provider_sync").begin(stage.org_id) as work:
            return await AccountRepository(work.session).learn_workspace(stage.account.id, workspace)

    return learn


async def test_a_webhook_of_another_workspace_is_a_dead_letter_and_states_nothing(
    database, stage_of, deliver, rows, learn
):
    stage, other = await stage_of("emailbison"), await stage_of("emailbison")
    await learn(stage, "7")
    await learn(other, "8")
    good = stage.webhook(payload("email_sent", "emailbison"))
    foreign = stage.webhook(payload("lead_replied", "emailbison", event={"workspace_id": "8"}))
    unnamed = stage.webhook(payload("email_opened", "emailbison", event={"workspace_id": None}))

    await deliver([foreign, good, unnamed])

    states = await inbox_states(database("provider_sync"), QUEUE)
    assert (states[foreign.id], states[good.id], states[unnamed.id]) == ("dead", "done", "done")
    found = await rows(stage)
    assert {row["direction"] for row in found["messages"]} == {"outbound"}
    (letter,) = [
        event for event in await told(database("provider_sync"), stage.org_id) if isinstance(event, DeadLetterChangedV1)
    ]
    assert letter.error_class == "tenant_mismatch"
    assert "names another workspace of the provider than its account is" in letter.reason
    assert all(not theirs for theirs in (await rows(other)).values())


async def test_while_the_workspace_is_not_known_the_urls_token_is_the_authority(stage_of, deliver, rows, learn):
    stage = await stage_of("emailbison")

    await deliver([stage.webhook(payload("email_sent", "emailbison"))])

    assert len((await rows(stage))["messages"]) == 1
    assert await learn(stage, "9") == "9"
    assert await learn(stage, "7") == "9"  # once


@pytest.mark.parametrize(
    ("provider", "name", "kind"),
    [
        ("heyreach", "campaign_completed_without_time", "campaign"),
        ("emailbison", "email_opened_without_event", "lead"),
        ("smartlead", "campaign_status_changed", "campaign"),
    ],
)
async def test_what_names_no_time_asks_for_a_read_back(database, stage_of, deliver, rows, provider, name, kind):
    stage = await stage_of(provider)

    await deliver([stage.webhook(payload(name, provider))])

    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        (job,) = await session.fetch("SELECT kind, payload::text FROM sync_jobs")
    assert job["kind"] == "read_back"
    assert (orjson.loads(job["payload"])["lead_key"] is None) is (kind == "campaign")
    assert all(not found for found in (await rows(stage)).values())


async def test_a_read_back_that_the_provider_cannot_do_is_counted_and_no_job(database, stage_of, deliver, monkeypatch):
    """No payload of HeyReach asks for a lead today; one that did must not become a job that can only fail."""
    stage = await stage_of("heyreach")
    wish = ReadBack(kind="lead", external_id="linkedin:in/a", campaign_external_id="7", reason="test")
    reading = Reading(event_type="LIKED_POST", read_backs=(wish,))
    monkeypatch.setattr(HeyReachWebhooks, "read_webhook", lambda self, body: reading)
    webhook = stage.webhook(payload("liked_post", "heyreach"))

    await deliver([webhook])

    async with database("provider_sync").tenant_transaction(stage.org_id) as session:
        assert await session.fetch("SELECT 1 FROM sync_jobs") == []
        (row,) = await session.fetch("SELECT event_type, count FROM unknown_webhooks")
    assert (row["event_type"], row["count"]) == ("LIKED_POST", 1)
    assert (await inbox_states(database("provider_sync"), QUEUE))[webhook.id] == "done"


async def test_poison_is_dead_and_everything_else_done(database, stage_of, deliver):
    for provider, simulator in (("heyreach", HeyReachSimulator(seed=2)), ("emailbison", EmailBisonSimulator(seed=2))):
        stage = await stage_of(provider, companies=[CompanyId(new_id()) for _ in range(3)])
        plan = simulator.deliveries(60, poison=5, unknown=2)
        webhooks = [(stage.webhook(post.body), post.kind) for post in plan.to_send()]
        await deliver([one for one, _ in webhooks])
        states = await inbox_states(database("provider_sync"), QUEUE)
        assert all(states[one.id] == ("dead" if kind is PostKind.POISON else "done") for one, kind in webhooks)
