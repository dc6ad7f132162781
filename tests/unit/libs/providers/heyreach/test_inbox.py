"""The inbox: conversations, messages, answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from libs.errors import Invalid, Unsupported
from libs.providers.calls import NotThere
from libs.providers.heyreach.simulator import Happened
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.records import Answer, InboxEntry
from libs.providers.sightings import Direction
from tests.unit.libs.providers.heyreach.stage import HOOK, NOW, Stage, conversation_of, frozen, make_stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage(chatroom_lag=timedelta(minutes=30))
        async with made.http:
            made.simulator.play(3000)
            yield made


async def listed(stage: Stage, campaign: str | None = None) -> list[InboxEntry]:
    found: list[InboxEntry] = []
    after = None
    while True:
        page = await stage.client.list_conversations(campaign_external_id=campaign, after=after)
        found += page.items
        after = page.after
        if after is None:
            return found


async def test_everybody_who_answered_is_listed_once(stage: Stage) -> None:
    stage.another.play(500)
    found = await listed(stage)

    answered = [one for one in stage.simulator.account.threads if any(said.is_reply for said in one.said)]
    assert {one.conversation.external_id for one in found} == {one.conversation_id for one in answered}
    assert len(found) == len(answered) > 100
    first = found[0]
    thread = next(one for one in answered if one.conversation_id == first.conversation.external_id)
    assert first.conversation.lead.key == thread.lead.key
    assert first.conversation.sender_external_id == str(thread.sender.id)
    assert first.last_reply_at == max(said.at for said in thread.said if said.is_reply)
    assert (first.lead_name, first.is_unread) == (thread.lead.name, True)


async def test_a_campaign_lists_the_conversations_that_it_is_tied_to(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    found = await listed(stage, campaign)

    leads = {one.lead.key for one in stage.campaign.enrolments.values()}
    assert {one.conversation.lead.key for one in found} <= leads
    assert 10 < len(found) < len(await listed(stage))
    assert {one.conversation.campaign_external_id for one in found} == {campaign}
    with pytest.raises(NotThere):
        await stage.client.list_conversations(campaign_external_id="1")


@pytest.mark.parametrize("after", ["", "|", "x", "|c-100", "2-x|", "2-x|" + "c" * 3000])
async def test_a_made_up_place_is_refused(after: str, stage: Stage) -> None:
    with pytest.raises(Invalid, match="no place"):
        await stage.client.list_conversations(after=after)
    assert stage.app.calls == []


async def test_messages_are_those_that_webhooks_told(stage: Stage) -> None:
    thread = stage.thread
    found = await stage.client.list_messages(conversation_of(thread))

    assert [one.key for one in found] == [thread.key(said) for said in thread.said]
    assert {one.key for one in found if one.direction is Direction.INBOUND} <= stage.simulator.journal.message_keys(
        Happened.REPLIED
    )
    assert [one.body_text for one in found] == [said.text for said in thread.said]
    assert {one.campaign_external_id for one in found} == {None}  # the thread does not say whose a message is


async def test_the_chatroom_follows_the_webhook_and_the_list(stage: Stage) -> None:
    await stage.client.register_webhook(url=HOOK, name="Outrider")
    enrolment = next(one for one in stage.campaign.enrolments.values() if one.thread is not None and not one.is_over)
    thread = enrolment.thread
    assert thread is not None
    said = stage.simulator.live.replies(stage.campaign, enrolment, "Sounds\nuseful & <good>")
    await stage.pass_time(timedelta(minutes=1))
    posts = [HeyReachWebhooks().read_webhook(post.body) for post in stage.simulator.poster.posts]
    told = {message.key for reading in posts for message in reading.messages}

    async def has(messages: object) -> bool:
        return thread.key(said) in {one.key for one in messages}  # type: ignore[attr-defined]

    conversation = conversation_of(thread)
    assert thread.key(said) in told
    assert await has(await stage.client.listed_messages(conversation))
    assert not await has(await stage.client.list_messages(conversation))
    await stage.pass_time(timedelta(minutes=30))
    assert await has(await stage.client.list_messages(conversation))


async def test_an_answer_goes_out_a_little_later_and_no_webhook_tells_it(stage: Stage) -> None:
    await stage.client.register_webhook(url=HOOK, name="Outrider")
    thread, before = stage.thread, len(stage.thread.said)
    key = await stage.client.reply(conversation_of(thread), Answer(text="Gladly,\nSam", html="<p>no</p>"))

    assert key is None
    assert len(thread.said) == before
    assert await stage.pass_time(timedelta(minutes=2)) == []
    assert [(said.text, said.is_reply) for said in thread.said[before:]] == [("Gladly,\nSam", False)]
    assert [one for one in stage.app.calls if "SendMessage" in one] == ["POST /inbox/SendMessage"]


@pytest.mark.parametrize("answer", [Answer(text="x", cc=("a@example.com",)), Answer(text="x", bcc=("a@example.com",))])
async def test_a_message_has_no_copies(answer: Answer, stage: Stage) -> None:
    with pytest.raises(Unsupported, match="no copies"):
        await stage.client.reply(conversation_of(stage.thread), answer)
    assert stage.app.calls == []


async def test_a_message_without_words_is_none(stage: Stage) -> None:
    with pytest.raises(Invalid, match="needs a text"):
        await stage.client.reply(conversation_of(stage.thread), Answer(text=" \n", html="<p>words</p>"))
    assert stage.app.calls == []


@pytest.mark.parametrize(
    "odd", ["../../lead/GetLead", "..", "2-x/../y", "2-x?y=1", "2-x#y", "2-é", "2 x", "", "x" * 501]
)
async def test_an_id_leads_nowhere_else(odd: str, stage: Stage) -> None:
    conversation = replace(conversation_of(stage.thread), external_id=odd)
    with pytest.raises(NotThere):
        await stage.client.list_messages(conversation)
    with pytest.raises(NotThere):
        await stage.client.reply(conversation, Answer(text="x"))
    assert stage.app.calls == []


@pytest.mark.parametrize("odd", ["../7", "", "x", "7 ", "٧"])
async def test_a_sender_is_digits(odd: str, stage: Stage) -> None:
    conversation = replace(conversation_of(stage.thread), sender_external_id=odd)
    for ask in (stage.client.list_messages(conversation), stage.client.reply(conversation, Answer(text="x"))):
        with pytest.raises(Invalid, match="sender_external_id"):
            await ask
    assert stage.app.calls == []


async def test_a_conversation_needs_its_id_and_its_sender(stage: Stage) -> None:
    whole = conversation_of(stage.thread)
    for part in (replace(whole, external_id=None), replace(whole, sender_external_id=None)):
        with pytest.raises(Invalid, match="named by its id and by the sender"):
            await stage.client.list_messages(part)


async def test_a_conversation_whose_id_changed_is_found_by_its_lead(stage: Stage) -> None:
    conversation = conversation_of(stage.thread)
    stage.thread.conversation_id = "2-bmV3"
    found = await stage.client.list_messages(conversation)

    assert [one.body_text for one in found] == [said.text for said in stage.thread.said]
    # another workspace's is not found by any way
    stage.another.play(300)
    theirs = next(one for one in stage.another.account.threads if one.said)
    with pytest.raises(NotThere):
        await stage.client.list_messages(conversation_of(theirs))
    assert stage.simulator.now == NOW
