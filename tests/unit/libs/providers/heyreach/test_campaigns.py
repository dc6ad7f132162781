"""Campaigns, sequences and figures: the client against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.errors import Invalid, ProviderRefused, Unsupported
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.heyreach.sequences import DEEPEST, node_to_write, read_node, same_sequence
from libs.providers.records import Figure, LinkedInNode, NodeKind
from libs.providers.sightings import CampaignStatus
from tests.unit.libs.providers.heyreach.stage import NOW, Stage, frozen, make_stage, person

MESSAGE = LinkedInNode(kind=NodeKind.MESSAGE, delay_hours=48, texts=("Hi {firstName}",))
INMAIL = LinkedInNode(kind=NodeKind.INMAIL, delay_hours=5, texts=("Hi",), subject="Berths", fallback_text="Hello")
TREE = LinkedInNode(
    kind=NodeKind.IS_CONNECTED,
    delay_hours=3,
    if_met=MESSAGE,
    following=LinkedInNode(
        kind=NodeKind.VIEW_PROFILE,
        delay_hours=4,
        following=LinkedInNode(
            kind=NodeKind.CONNECTION_REQUEST,
            delay_hours=24,
            texts=("Shall we connect, {firstName}?", "Hi {firstName}"),
            fallback_text="Shall we connect?",
            if_met=MESSAGE,
            following=LinkedInNode(kind=NodeKind.IS_OPEN_PROFILE, delay_hours=3, if_met=INMAIL),
        ),
    ),
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage(drafts=120)
        async with made.http:
            yield made


async def status_of(stage: Stage, campaign: str) -> CampaignStatus:
    return (await stage.client.get_campaign(campaign)).status


async def test_all_campaigns_are_listed_drafts_too(stage: Stage) -> None:
    found = await stage.client.list_campaigns()

    assert [one.external_id for one in found] == stage.simulator.campaign_ids
    assert len(found) == 123
    first = stage.campaign
    assert (found[0].name, found[0].created_at) == (first.name, first.created_at)
    assert found[0].sender_external_ids == tuple(str(sender.id) for sender in first.senders)
    assert await stage.client.get_campaign(stage.draft.external_id) == found[-1]


async def test_a_campaign_starts_rests_and_goes_on(stage: Stage) -> None:
    campaign = stage.draft.external_id
    seen = [await status_of(stage, campaign)]
    for act in (stage.client.start_campaign, stage.client.pause_campaign):
        await act(campaign)
        seen.append(await status_of(stage, campaign))
    await stage.client.resume_campaign(campaign)
    stage.simulator.advance(timedelta(seconds=2))
    seen.append(await status_of(stage, campaign))  # nobody is in it: it rests again

    active, paused = CampaignStatus.ACTIVE, CampaignStatus.PAUSED
    assert seen == [CampaignStatus.DRAFT, active, paused, paused]
    with pytest.raises(ProviderRefused, match="not active"):
        await stage.client.pause_campaign(campaign)


async def test_a_status_follows_a_write_when_it_does() -> None:
    with frozen():
        stage = make_stage(status_lag=timedelta(seconds=20))
        async with stage.http:
            await stage.client.start_campaign(stage.draft.external_id)
            assert await status_of(stage, stage.draft.external_id) is CampaignStatus.DRAFT
            stage.simulator.advance(timedelta(seconds=20))
            assert await status_of(stage, stage.draft.external_id) is CampaignStatus.ACTIVE


@pytest.mark.parametrize("campaign", ["1", "", "7/../8", "7&x=1", "٧", "9" * 30, "-1", "7.0", "campaignId"])
async def test_what_is_no_campaign_is_not_there_and_leads_nowhere_else(campaign: str, stage: Stage) -> None:
    client = stage.client
    for ask in (client.get_campaign, client.read_campaign, client.get_sequence, client.read_figures, client.list_leads):
        with pytest.raises(NotThere):
            await ask(campaign)
    for act in (client.start_campaign, client.pause_campaign, client.resume_campaign):
        with pytest.raises(NotThere):
            await act(campaign)
    with pytest.raises(NotThere):
        await client.add_leads(campaign, [person("ines")])
    with pytest.raises(NotThere):
        await client.replace_sequence(campaign, MESSAGE)
    if campaign != "1":
        assert stage.app.calls == [] or set(stage.app.calls) == {"POST /campaign/GetAll"}


# Sequences


async def test_a_sequence_is_read_as_it_was_written(stage: Stage) -> None:
    campaign = stage.draft.external_id
    before = await stage.client.get_sequence(campaign)
    await stage.client.replace_sequence(campaign, TREE)
    after = await stage.client.get_sequence(campaign)

    assert before is not None
    assert not same_sequence(before, TREE)
    assert same_sequence(after, TREE)
    assert same_sequence(TREE, after)


async def test_a_campaign_may_have_no_sequence(stage: Stage) -> None:
    stage.draft.sequence = None
    assert await stage.client.get_sequence(stage.draft.external_id) is None
    with pytest.raises(ProviderRefused, match="no sequence"):
        await stage.client.start_campaign(stage.draft.external_id)


async def test_a_running_campaign_keeps_its_sequence(stage: Stage) -> None:
    with pytest.raises(ProviderRefused, match="Only draft"):
        await stage.client.replace_sequence(stage.campaign.external_id, TREE)
    assert not same_sequence(await stage.client.get_sequence(stage.campaign.external_id), TREE)


@pytest.mark.parametrize(
    ("node", "error", "why"),
    [
        (LinkedInNode(kind=NodeKind.OTHER), Unsupported, "can be read, and not be written"),
        (LinkedInNode(kind=NodeKind.FOLLOW, following=LinkedInNode(kind=NodeKind.OTHER)), Unsupported, "other"),
        (LinkedInNode(kind=NodeKind.FOLLOW, texts=("x",)), Invalid, "has no text"),
        (LinkedInNode(kind=NodeKind.MESSAGE), Invalid, "needs a text"),
        (LinkedInNode(kind=NodeKind.INMAIL, texts=("x",)), Invalid, "needs a subject"),
    ],
)
async def test_a_sequence_that_cannot_be_is_refused_before_anything_is_sent(
    node: LinkedInNode, error: type[Exception], why: str, stage: Stage
) -> None:
    with pytest.raises(error, match=why):
        await stage.client.replace_sequence(stage.draft.external_id, node)
    assert stage.app.calls == []


def test_a_sequence_without_end_is_not_followed() -> None:
    node = MESSAGE
    raw: dict[str, object] = {"nodeType": "FOLLOW"}
    for _ in range(DEEPEST):
        node = LinkedInNode(kind=NodeKind.FOLLOW, following=node)
        raw = {"nodeType": "FOLLOW", "unconditionalNode": raw}
    with pytest.raises(Invalid, match="100 steps"):
        node_to_write(node)
    with pytest.raises(Exception, match="deeper than 100"):
        read_node(Fields(raw))


@pytest.mark.parametrize(
    ("hours", "told"), [(3, (3, "HOUR")), (24, (1, "DAY")), (36, (36, "HOUR")), (240, (10, "DAY"))]
)
def test_a_delay_is_told_in_days_where_it_is_days(hours: int, told: tuple[int, str]) -> None:
    written = node_to_write(LinkedInNode(kind=NodeKind.FOLLOW, delay_hours=hours))
    assert (written["actionDelay"], written["actionDelayUnit"]) == told
    assert read_node(Fields(written)).delay_hours == hours


# Figures


async def test_figures_are_those_of_the_book(stage: Stage) -> None:
    stage.simulator.play(1500)
    stage.another.play(500)
    book = stage.simulator.journal.expected().by_campaign
    for campaign in stage.simulator.campaign_ids[:3]:
        found = await stage.client.read_figures(campaign)
        told = found.figures
        assert found.as_of == NOW
        assert told[Figure.MESSAGES_SENT] + told[Figure.INMAILS_SENT] == book[campaign].sent > 20
        assert told[Figure.UNIQUE_REPLIED] + told[Figure.UNIQUE_INMAIL_REPLIED] == book[campaign].replied_leads > 0
        assert told[Figure.CONNECTION_REQUESTS] == book[campaign].connection_requested
        assert told[Figure.CONNECTIONS_ACCEPTED] == book[campaign].connection_accepted
        gestures = (told[Figure.PROFILE_VIEWS], told[Figure.FOLLOWS], told[Figure.LIKES])
        assert gestures == (book[campaign].profile_viewed, book[campaign].followed, book[campaign].liked)
