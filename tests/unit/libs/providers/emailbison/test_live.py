"""The simulator as time goes by: what it tells adds up to its book, however its posts are treated."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs import clock
from libs.providers.emailbison.simulator import Happened
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from libs.providers.records import Answer, ConversationRef, Figure, LeadRef
from libs.providers.sightings import Direction, EngagementKind
from libs.providers.simulation import PostFaults
from tests.unit.libs.providers.emailbison.stage import NOW, Stage, frozen, make_stage
from tests.unit.libs.providers.emailbison.test_actions import DANA, HOOK, LEAD, run

PEOPLE = [f"p{n}@acme.example.com" for n in range(100)]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    # A month on: what is played here is past, and not a future that no reader believes.
    with clock.frozen(NOW + timedelta(days=30)):
        made = make_stage(reactions=2.0)
        async with made.http:
            await made.client.register_webhook(url=HOOK, name="Outrider")
            yield made


@pytest.mark.parametrize(
    "faults",
    [PostFaults(), PostFaults(duplicates=0.3, longest_delay=timedelta(days=2), reorders=True)],
    ids=["as they happen", "doubled, late and out of order"],
)
async def test_what_is_told_adds_up_to_the_book(faults: PostFaults, stage: Stage) -> None:
    stage.simulator.poster.faults = faults
    campaign = await run(stage, *PEOPLE)
    for _ in range(14):
        await stage.pass_time(timedelta(days=1))

    heard = [EmailBisonWebhooks().read_webhook(post.body) for post in stage.simulator.poster.posts]
    messages = {m.key: m for reading in heard for m in reading.messages}
    engagements = {e.key: e for reading in heard for e in reading.engagements}
    kinds = Counter(engagement.kind for engagement in engagements.values())
    book = stage.simulator.journal.expected().by_campaign[campaign]
    assert stage.simulator.poster.waiting == 0
    assert len(stage.heard) == len(stage.simulator.poster.posts)
    assert sum(m.direction is Direction.OUTBOUND for m in messages.values()) == book.sent > 150
    assert sum(m.direction is Direction.INBOUND for m in messages.values()) == book.replied > 5
    assert kinds[EngagementKind.OPENED] == book.opened > 50
    assert (kinds[EngagementKind.BOUNCED], kinds[EngagementKind.UNSUBSCRIBED]) == (book.bounced, book.unsubscribed)
    assert min(book.bounced, book.unsubscribed) > 0


async def test_what_was_told_can_be_read_back(stage: Stage) -> None:
    campaign = await run(stage, *PEOPLE)
    await stage.pass_time(timedelta(days=14))

    keys = {key.key for key in await stage.client.list_message_keys(campaign)}
    notes = [note for note in stage.simulator.journal.notes if note.campaign == campaign]
    assert keys == {note.message_key for note in notes if note.what in (Happened.SENT, Happened.REPLIED)}
    figures = (await stage.client.read_figures(campaign)).figures
    book = stage.simulator.journal.expected().by_campaign[campaign]
    counted = (figures[Figure.SENT], figures[Figure.REPLIED], figures[Figure.OPENED], figures[Figure.BOUNCED])
    assert counted == (book.sent, book.replied, book.opened, book.bounced)


async def test_what_is_done_by_call_is_told_by_webhooks(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    campaign = await run(stage, DANA)
    told = await stage.pass_time(timedelta(hours=1))
    assert stage.types_heard(told) == ["EMAIL_SENT", "LEAD_FIRST_CONTACTED"]
    made, enrolment = stage.simulator.account.campaigns[-1], stage.enrolment(DANA, campaign)
    stage.simulator.live.replies(made, enrolment, enrolment.sent[0], "Send details please.")
    for _ in range(2):  # interest is told once
        await stage.client.categorize_lead(campaign, LEAD, "Interested")
    await stage.client.reply(ConversationRef(key="k", lead=LEAD, campaign_external_id=campaign), Answer(text="Gladly"))
    await stage.client.unsubscribe_lead(LEAD)

    told = await stage.pass_time(timedelta(0))

    types = ["LEAD_REPLIED", "LEAD_INTERESTED", "MANUAL_EMAIL_SENT", "LEAD_UNSUBSCRIBED"]
    assert stage.types_heard(told) == types
    for post in stage.simulator.poster.posts:
        EmailBisonWebhooks().read_webhook(post.body)  # each is one that the parser knows
    assert stage.another.poster.posts == []


async def test_a_campaign_that_rests_sends_nothing_and_frees_its_leads(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    campaign = await run(stage, DANA)
    await stage.pass_time(timedelta(hours=1))
    await stage.client.pause_campaign(campaign)
    assert await stage.pass_time(timedelta(days=4)) == []

    await stage.client.resume_campaign(campaign)
    assert stage.types_heard(await stage.pass_time(timedelta(hours=1))) == ["EMAIL_SENT"]
    assert await stage.client.list_campaigns_of_lead(LeadRef(key=LEAD.key)) == [campaign]


async def test_a_post_that_is_not_heard_comes_again_with_the_same_bytes(stage: Stage) -> None:
    tries: list[bytes] = []

    async def deaf(url: str, body: bytes) -> int:
        tries.append(body)
        return 500

    stage.simulator.live._reactions = 0
    stage.simulator.poster.send = deaf
    await run(stage, DANA)
    for _ in range(60):
        await stage.pass_time(timedelta(minutes=30))
    first = [body for body in tries if b'"EMAIL_SENT"' in body]
    assert len(first) == 5
    assert len(set(first)) == 1


async def test_a_seed_is_a_story_also_while_it_lives() -> None:
    told = []
    for _ in range(2):
        with frozen():
            made = make_stage(reactions=1.0)
            async with made.http:
                await made.client.register_webhook(url=HOOK, name="Outrider")
                await run(made, *PEOPLE[:30])
                made.simulator.advance(timedelta(days=12))
                told.append([post.body for post in made.simulator.poster.posts])
    assert told[0] == told[1]
    assert len(told[0]) > 60
