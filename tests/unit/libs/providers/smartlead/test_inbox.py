"""Conversations through the client, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.errors import Invalid, ProviderRefused, ProviderUnavailable
from libs.providers.calls import NotThere
from libs.providers.records import Answer, ConversationRef, InboxEntry, LeadRef
from libs.providers.sightings import Direction
from libs.providers.simulation import FaultKind
from libs.providers.smartlead import keys
from libs.providers.smartlead.inbox_calls import INBOX_PAGE
from libs.providers.smartlead.simulator import Happened
from libs.providers.smartlead.simulator.model import Enrolment
from tests.unit.libs.providers.smartlead.stage import Stage, frozen, make_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            made.simulator.play(1500)
            made.another.play(300)
            yield made


async def walk(stage: Stage, campaign: str | None = None) -> list[InboxEntry]:
    found: list[InboxEntry] = []
    after: str | None = None
    while True:
        page = await stage.client.list_conversations(campaign_external_id=campaign, after=after)
        found += page.items
        after = page.after
        if after is None:
            return found


def answered(stage: Stage) -> Enrolment:
    return next(one for one in stage.campaign.enrolments if one.replies)


def conversation(stage: Stage, enrolment: Enrolment) -> ConversationRef:
    lead_key = keys.lead(enrolment.lead.address)
    campaign = stage.campaign.external_id
    return ConversationRef(
        key=keys.conversation(campaign, lead_key), lead=LeadRef(key=lead_key), campaign_external_id=campaign
    )


async def test_all_who_replied_are_in_the_inbox_the_latest_first(stage: Stage) -> None:
    found = await walk(stage)

    replied = {
        keys.conversation(campaign.external_id, one.lead.key)
        for campaign in stage.simulator.account.campaigns
        for one in campaign.enrolments
        if one.replies
    }
    assert len(replied) > INBOX_PAGE
    assert [entry.conversation.key for entry in found] == list(dict.fromkeys(entry.conversation.key for entry in found))
    assert {entry.conversation.key for entry in found} == replied
    times = [entry.last_reply_at for entry in found]
    assert times == sorted(times, reverse=True)  # type: ignore[type-var]
    assert {"Interested", ""} <= {entry.category for entry in found}
    one = await walk(stage, stage.campaign.external_id)
    assert {entry.conversation.campaign_external_id for entry in one} == {stage.campaign.external_id}


async def test_an_inbox_entry_leads_to_its_messages(stage: Stage) -> None:
    entry = (await walk(stage, stage.campaign.external_id))[0]

    messages = await stage.client.list_messages(entry.conversation)

    replies = [message for message in messages if message.direction is Direction.INBOUND]
    assert replies[-1].occurred_at == entry.last_reply_at
    assert {message.conversation_key for message in messages} == {entry.conversation.key}
    assert [message.seen_at for message in messages] == sorted(message.seen_at for message in messages)


async def test_an_inbox_that_repeats_a_page_ends_in_an_error(stage: Stage) -> None:
    stage.app.faults.always(FaultKind.PAGE_LOOP, path="inbox-replies")
    with pytest.raises(ProviderUnavailable, match="same page"):
        await walk(stage)


async def test_a_reply_is_queued_then_in_the_history_and_told_by_no_webhook(stage: Stage) -> None:
    await stage.client.register_webhook(url="https://hooks.example.com/x", name="Outrider")
    enrolment = answered(stage)
    thread = conversation(stage, enrolment)
    before = await stage.client.list_messages(thread)

    told = await stage.client.reply(
        thread,
        Answer(
            text="Gladly, Ines & co.\nTuesday?",
            to_message_key=enrolment.replies[0].key,
            cc=("a@agency.example.com", "b@agency.example.com"),
        ),
    )
    assert told is None
    assert await stage.client.list_messages(thread) == before
    heard = await stage.pass_time(timedelta(minutes=2))
    assert enrolment.lead.address not in {event["to_email"] for event in heard}

    (new,) = [message for message in await stage.client.list_messages(thread) if message not in before]
    assert (new.direction, new.is_manual, new.step_number) == (Direction.OUTBOUND, True, None)
    assert new.body_html == "<div>Gladly, Ines &amp; co.<br>Tuesday?</div>"
    assert new.key in stage.simulator.journal.message_keys(Happened.SENT_BY_HAND)


async def test_without_a_message_the_last_one_of_the_lead_is_answered(stage: Stage) -> None:
    enrolment = next(one for one in stage.campaign.enrolments if len(one.replies) == 2)
    await stage.client.reply(conversation(stage, enrolment), Answer(text="x", html="<p>Hi</p>"))
    stage.simulator.advance(timedelta(minutes=2))

    (answer,) = [sent for sent in enrolment.sent if sent.step is None]
    assert answer.html == "<p>Hi</p>"
    assert stage.app.calls[-1].endswith("/reply-email-thread")


async def test_what_cannot_be_answered(stage: Stage) -> None:
    enrolment = answered(stage)
    thread = conversation(stage, enrolment)
    with pytest.raises(NotThere, match="not in the lead's history"):
        await stage.client.reply(thread, Answer(text="x", to_message_key="reply:<nobody@example.com>"))
    silent = next(one for one in stage.campaign.enrolments if not one.replies)
    with pytest.raises(NotThere, match="not in the lead's history"):
        await stage.client.reply(conversation(stage, silent), Answer(text="x"))
    with pytest.raises(Invalid, match="no campaign"):
        await stage.client.reply(ConversationRef(key="k", lead=thread.lead), Answer(text="x"))
    assert "POST" not in "".join(stage.app.calls)


@pytest.mark.parametrize(
    "fault", [FaultKind.PAGE, FaultKind.EMPTY, FaultKind.SERVER_ERROR, FaultKind.DONE_AND_DROPPED, FaultKind.DROPPED]
)
async def test_a_reply_that_is_not_known_to_be_queued_is_never_sent_twice(fault: FaultKind, stage: Stage) -> None:
    stage.app.faults.next(fault, path="reply-email-thread")
    with pytest.raises(ProviderUnavailable):
        await stage.client.reply(conversation(stage, answered(stage)), Answer(text="x"))
    assert stage.app.book.by_endpoint()["POST /campaigns/{id}/reply-email-thread"] == 1


async def test_history_may_lag_behind_the_webhook(stage: Stage) -> None:
    stage.simulator.history_lag = timedelta(minutes=3)
    enrolment = answered(stage)
    reply = stage.simulator.live.replies(stage.campaign, enrolment, enrolment.sent[0], "And the price?")
    thread = conversation(stage, enrolment)

    assert reply.key not in {message.key for message in await stage.client.list_messages(thread)}
    await stage.pass_time(timedelta(minutes=4))
    assert reply.key in {message.key for message in await stage.client.list_messages(thread)}


async def test_the_real_ones_strictness_about_replies(stage: Stage) -> None:
    path = f"/campaigns/{stage.campaign.external_id}/reply-email-thread"
    with pytest.raises(ProviderRefused, match='"lead_id" is not allowed'):
        await stage.client._write("POST", path, {"email_stats_id": "s", "email_body": "x", "lead_id": 1})
    with pytest.raises(ProviderRefused, match='"email_stats_id" is required'):
        await stage.client._write("POST", path, {"email_body": "x"})
