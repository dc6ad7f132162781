"""The simulator as time goes by: what it tells adds up to its book, however its posts are treated."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs import clock
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.records import Figure, LinkedInNode, NodeKind
from libs.providers.sightings import CampaignStatus, Direction, EngagementKind
from libs.providers.simulation import PostFaults
from tests.unit.libs.providers.heyreach.stage import HOOK, NOW, Stage, frozen, make_stage, person, profile

MESSAGES = LinkedInNode(
    kind=NodeKind.MESSAGE,
    delay_hours=3,
    texts=("Hi {firstName}",),
    following=LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=48, texts=("Did this reach you?", "Hello again")),
)
ASK = LinkedInNode(
    kind=NodeKind.VIEW_PROFILE,
    delay_hours=3,
    following=LinkedInNode(
        kind=NodeKind.CONNECTION_REQUEST,
        delay_hours=3,
        texts=("Shall we connect?",),
        fallback_text="Shall we?",
        if_met=MESSAGES,
    ),
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    # A month on: what is played here is past, and not a future that no reader believes.
    with clock.frozen(NOW + timedelta(days=30)):
        made = make_stage(reactions=1.5)
        async with made.http:
            yield made


async def run(stage: Stage, leads: int, sequence: LinkedInNode = ASK) -> str:
    """A campaign with so many leads, started."""
    await stage.client.register_webhook(url=HOOK, name="Outrider")
    campaign = stage.draft.external_id
    await stage.client.replace_sequence(campaign, sequence)
    await stage.client.start_campaign(campaign)
    people = [person(f"p{n}") for n in range(leads)]
    for first in range(0, leads, 100):
        await stage.client.add_leads(campaign, people[first : first + 100])
    return campaign


@pytest.mark.parametrize(
    "faults",
    [PostFaults(), PostFaults(duplicates=0.3, longest_delay=timedelta(days=2), reorders=True)],
    ids=["as they happen", "doubled, late and out of order"],
)
async def test_what_is_told_adds_up_to_the_book(faults: PostFaults, stage: Stage) -> None:
    stage.simulator.poster.faults = faults
    campaign = await run(stage, 200)
    for _ in range(14):
        await stage.pass_time(timedelta(days=1))

    heard = [HeyReachWebhooks().read_webhook(post.body) for post in stage.simulator.poster.posts]
    messages = {m.key: m for reading in heard for m in reading.messages}
    engagements = {e.key: e for reading in heard for e in reading.engagements}
    kinds = Counter(engagement.kind for engagement in engagements.values())
    book = stage.simulator.journal.expected().by_campaign[campaign]
    assert stage.simulator.poster.waiting == 0
    assert len(stage.heard) == len(stage.simulator.poster.posts)
    assert sum(m.direction is Direction.OUTBOUND for m in messages.values()) == book.sent > 100
    assert sum(m.direction is Direction.INBOUND for m in messages.values()) == book.replied > 10
    asked, accepted = EngagementKind.CONNECTION_REQUESTED, EngagementKind.CONNECTION_ACCEPTED
    assert (kinds[asked], kinds[accepted]) == (book.connection_requested, book.connection_accepted)
    assert (book.connection_requested, kinds[EngagementKind.PROFILE_VIEWED]) == (200, 200)
    figures = (await stage.client.read_figures(campaign)).figures
    assert (figures[Figure.MESSAGES_SENT], figures[Figure.UNIQUE_REPLIED]) == (book.sent, book.replied_leads)


async def test_a_campaign_completes_with_its_last_lead_and_says_so(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    campaign = await run(stage, 2, MESSAGES)
    told = await stage.pass_time(timedelta(days=5))

    assert [event["event_type"] for event in told] == ["message_sent"] * 4 + ["campaign_completed"]
    assert (await stage.client.get_campaign(campaign)).status is CampaignStatus.COMPLETED


async def test_a_reply_ends_the_sequence_and_only_the_first_is_told_twice(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    await run(stage, 2, MESSAGES)
    await stage.pass_time(timedelta(hours=1))
    enrolment = stage.enrolment(profile("p0"), stage.draft)
    for text in ("Sounds useful", "And when?"):
        stage.simulator.live.replies(stage.draft, enrolment, text)
    told = await stage.pass_time(timedelta(minutes=1))
    every, first = "every_message_reply_received", "message_reply_received"
    assert [event["event_type"] for event in told] == [every, first, every]

    told = await stage.pass_time(timedelta(days=5))
    names = [event["lead"]["full_name"] for event in told if event["event_type"] == "message_sent"]  # type: ignore[index]
    assert names == ["P1 Example"]


async def test_a_campaign_that_rests_sends_nothing_until_it_goes_on(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    campaign = await run(stage, 2, MESSAGES)
    await stage.client.pause_campaign(campaign)
    assert await stage.pass_time(timedelta(days=3)) == []
    await stage.client.resume_campaign(campaign)
    assert len(await stage.pass_time(timedelta(hours=1))) == 2


async def test_a_webhook_hears_its_own_type_campaigns_and_nothing_while_it_rests(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    draft, other = stage.draft.id, stage.campaign.id
    sent = events.MESSAGE_SENT
    stage.simulator.account.registrations += [
        Registration(1, "All", "https://a.example.com", sent, []),
        Registration(2, "Again", "https://a.example.com", sent, []),
        Registration(3, "Ours", "https://b.example.com", sent, [draft]),
        Registration(4, "Other's", "https://c.example.com", sent, [other]),
        Registration(5, "Paused", "https://d.example.com", sent, [], is_active=False),
        Registration(6, "Tags", "https://e.example.com", events.LEAD_TAG_UPDATED, []),
    ]
    stage.another.account.registrations.append(Registration(7, "Theirs", "https://f.example.com", sent, []))
    await run(stage, 1, MESSAGES)
    told = await stage.pass_time(timedelta(hours=1))

    by_url = Counter(event["url"] for event in told)
    assert by_url == {HOOK: 1, "https://a.example.com": 2, "https://b.example.com": 1}
    assert stage.another.poster.posts == []


async def test_a_reply_to_no_campaign_names_none(stage: Stage) -> None:
    await stage.client.register_webhook(url=HOOK, name="Outrider")
    stage.simulator.play(200)
    stage.simulator.live.writes_by_themselves(stage.thread, "Are you at the fair?")
    (told,) = await stage.pass_time(timedelta(minutes=1))
    assert (told["event_type"], told["campaign"]) == ("every_message_reply_received", None)


async def test_what_is_not_heard_is_told_again_for_a_day(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    await run(stage, 1, MESSAGES)
    tries = 0

    async def deaf(url: str, body: bytes) -> int:
        nonlocal tries
        tries += 1
        return 500

    stage.simulator.poster.send = deaf
    stage.simulator.poster.faults = PostFaults()
    stage.simulator.advance(timedelta(minutes=1))
    for _ in range(60):
        stage.simulator.clock.advance(timedelta(hours=1))
        await stage.simulator.poster.send_due()
    assert tries == 6  # once, and five times more
    assert stage.simulator.poster.waiting == 0


async def test_time_passes_only_when_it_is_told_to(stage: Stage) -> None:
    await run(stage, 3)
    assert stage.simulator.now == NOW
    with pytest.raises(ValueError, match="back"):
        stage.simulator.clock.advance(timedelta(seconds=-1))
    stage.simulator.advance(timedelta(minutes=5))
    assert stage.simulator.now == NOW + timedelta(minutes=5)


async def test_a_seed_is_a_story_also_while_it_lives() -> None:
    told = []
    for _ in range(2):
        with frozen():
            made = make_stage(reactions=1.0)
            async with made.http:
                await run(made, 50)
                made.simulator.advance(timedelta(days=10))
                told.append([post.body for post in made.simulator.poster.posts])
    assert told[0] == told[1]
