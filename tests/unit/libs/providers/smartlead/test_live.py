"""The simulator as time goes by: what it tells adds up to its book, however its posts are treated."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs import clock
from libs.providers.records import CampaignChanges, Figure, LeadRef, LeadState, NewLead
from libs.providers.sightings import Direction, EngagementKind
from libs.providers.simulation import PostFaults
from libs.providers.smartlead.simulator import Happened
from libs.providers.smartlead.webhooks import SmartleadWebhooks
from tests.unit.libs.providers.smartlead.stage import NOW, Stage, frozen, make_stage
from tests.unit.libs.providers.smartlead.test_campaigns import STEPS, WEEKEND_TOO


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    # A month on: what is played here is past, and not a future that no reader believes.
    with clock.frozen(NOW + timedelta(days=30)):
        made = make_stage(reactions=2.0)
        async with made.http:
            yield made


async def run(stage: Stage, leads: int) -> str:
    """A campaign with so many leads, started."""
    await stage.client.register_webhook(url="https://hooks.example.com/x", name="Outrider")
    made = await stage.client.create_campaign(name="Autumn")
    mailboxes = tuple(str(mailbox.id) for mailbox in stage.simulator.account.mailboxes)
    await stage.client.update_campaign(made, CampaignChanges(schedule=WEEKEND_TOO, sender_external_ids=mailboxes))
    await stage.client.replace_steps(made, STEPS)
    people = [NewLead(email=f"p{n}@north.example.com", first_name=f"P{n}") for n in range(leads)]
    for first in range(0, leads, 100):
        await stage.client.add_leads(made, people[first : first + 100])
    await stage.client.start_campaign(made)
    return made


@pytest.mark.parametrize(
    "faults",
    [
        PostFaults(),
        PostFaults(duplicates=0.3, longest_delay=timedelta(days=2), reorders=True),
    ],
    ids=["as they happen", "doubled, late and out of order"],
)
async def test_what_is_told_adds_up_to_the_book(faults: PostFaults, stage: Stage) -> None:
    stage.simulator.poster.faults = faults
    campaign = await run(stage, 200)
    for _ in range(12):
        await stage.pass_time(timedelta(days=1))

    heard = [SmartleadWebhooks().read_webhook(post.body) for post in stage.simulator.poster.posts]
    messages = {m.key: m for reading in heard for m in reading.messages}
    engagements = {e.key: e for reading in heard for e in reading.engagements}
    kinds = Counter(engagement.kind for engagement in engagements.values())
    book = stage.simulator.journal.expected().by_campaign[campaign]
    assert stage.simulator.poster.waiting == 0
    assert len(stage.heard) == len(stage.simulator.poster.posts)
    assert sum(m.direction is Direction.OUTBOUND for m in messages.values()) == book.sent > 250
    assert sum(m.direction is Direction.INBOUND for m in messages.values()) == book.replied > 10
    assert (kinds[EngagementKind.OPENED], kinds[EngagementKind.CLICKED]) == (book.opened, book.clicked)
    assert (kinds[EngagementKind.BOUNCED], kinds[EngagementKind.UNSUBSCRIBED]) == (book.bounced, book.unsubscribed)
    assert min(book.opened, book.clicked, book.bounced, book.unsubscribed) > 0


async def test_what_was_told_can_be_read_back(stage: Stage) -> None:
    campaign = await run(stage, 100)
    await stage.pass_time(timedelta(days=12))

    keys = {key.key for key in await stage.client.list_message_keys(campaign)}
    notes = [note for note in stage.simulator.journal.notes if note.campaign == campaign]
    assert keys == {note.message_key for note in notes if note.what in (Happened.SENT, Happened.REPLIED)}
    figures = (await stage.client.read_figures(campaign)).figures
    book = stage.simulator.journal.expected().by_campaign[campaign]
    counted = (figures[Figure.SENT], figures[Figure.UNIQUE_REPLIED], figures[Figure.OPENED])
    assert counted == (book.sent, book.replied_leads, book.opened)


async def test_a_lead_who_rests_gets_nothing_until_it_goes_on(stage: Stage) -> None:
    stage.simulator.live._reactions = 0
    campaign = await run(stage, 2)
    lead = LeadRef(key="email:p0@north.example.com")
    await stage.pass_time(timedelta(hours=1))
    await stage.client.pause_lead(campaign, lead)
    told = await stage.pass_time(timedelta(days=4))
    assert {event["to_email"] for event in told if event["event_type"] == "EMAIL_SENT"} == {"p1@north.example.com"}

    await stage.client.resume_lead(campaign, lead)
    told = await stage.pass_time(timedelta(hours=1))
    assert [event["event_type"] for event in told] == ["EMAIL_SENT", "CAMPAIGN_STATUS_CHANGED"]
    found = await stage.client.find_campaign_lead(campaign, lead)
    assert found is not None
    assert found.state is LeadState.COMPLETED


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
