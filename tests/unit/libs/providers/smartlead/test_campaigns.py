"""Running campaigns through the client, against the simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import time, timedelta

import pytest

from libs.errors import ContractViolated, Invalid, ProviderRefused, Unsupported
from libs.providers.calls import NotThere
from libs.providers.fields import Fields
from libs.providers.records import CampaignChanges, EmailStep, Figure, NewLead, Schedule, Variant
from libs.providers.sightings import CampaignStatus
from libs.providers.smartlead.campaigns import read_campaign, read_schedule, same_steps
from tests.unit.libs.providers.smartlead.stage import NOW, Stage, frozen, make_stage

WEEKEND_TOO = Schedule(timezone="Europe/Oslo", days=frozenset({1, 6, 7}), starts_at=time(8, 30), ends_at=time(17, 0))
STEPS = (
    EmailStep(
        number=1,
        delay_days=0,
        variants=(
            Variant(subject="Dock slots", body_html="<p>Hi {{first_name}}</p>"),
            Variant(subject="Berth slots", body_html="<p>Hello {{first_name}}</p>", label="B"),
        ),
    ),
    EmailStep(number=2, delay_days=3, variants=(Variant(subject="", body_html="<p>Any news?</p>"),)),
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


async def ready(stage: Stage) -> str:
    """A campaign that can be started."""
    made = await stage.client.create_campaign(name="Autumn")
    mailbox = str(stage.simulator.account.mailboxes[0].id)
    await stage.client.update_campaign(made, CampaignChanges(schedule=WEEKEND_TOO, sender_external_ids=(mailbox,)))
    await stage.client.replace_steps(made, STEPS)
    return made


async def test_campaigns_are_listed_and_read_alike(stage: Stage) -> None:
    listed = await stage.client.list_campaigns()

    assert [one.external_id for one in listed] == stage.simulator.campaign_ids
    assert [one.client_external_id for one in listed] == ["", "111", "222"]
    for one in listed:
        assert await stage.client.get_campaign(one.external_id) == one
    assert listed[0].status is CampaignStatus.ACTIVE
    assert listed[0].schedule == Schedule(
        timezone="Europe/Lisbon", days=frozenset({1, 2, 3, 4, 5}), starts_at=time(9), ends_at=time(17)
    )


async def test_a_campaign_that_is_not_there_is_told_by_nothing_at_all_too(stage: Stage) -> None:
    with pytest.raises(NotThere, match="there is no campaign 1"):
        await stage.client.get_campaign("1")
    with pytest.raises(NotThere, match="there is no campaign"):
        await stage.client.list_steps("1")
    with pytest.raises(NotThere, match=r"Campaign not found"):
        await stage.client.pause_campaign("1")
    with pytest.raises(NotThere, match="there is no campaign"):
        await stage.client.read_figures("1")


async def test_another_accounts_campaign_is_none(stage: Stage) -> None:
    theirs = stage.another.campaign_ids[0]
    for ask in (stage.client.get_campaign, stage.client.pause_campaign, stage.client.list_leads):
        with pytest.raises(NotThere):
            await ask(theirs)
    assert stage.another.account.campaigns[0].status_at(NOW) == "ACTIVE"


async def test_a_campaign_is_made_filled_started_paused_and_stopped(stage: Stage) -> None:
    made = await stage.client.create_campaign(name="Autumn", client_external_id="111")
    found = await stage.client.get_campaign(made)
    assert (found.name, found.status, found.client_external_id, found.created_at) == (
        "Autumn",
        CampaignStatus.DRAFT,
        "111",
        NOW,
    )
    with pytest.raises(ProviderRefused, match="without schedule, sequences, email accounts"):
        await stage.client.start_campaign(made)

    made = await ready(stage)
    statuses = []
    for act in (
        stage.client.start_campaign,
        stage.client.pause_campaign,
        stage.client.resume_campaign,
        stage.client.stop_campaign,
    ):
        await act(made)
        statuses.append((await stage.client.get_campaign(made)).status)

    assert statuses == [
        CampaignStatus.ACTIVE,
        CampaignStatus.PAUSED,
        CampaignStatus.ACTIVE,
        CampaignStatus.STOPPED,
    ]


async def test_only_what_should_change_changes(stage: Stage) -> None:
    made = await ready(stage)
    before = await stage.client.get_campaign(made)

    await stage.client.update_campaign(made, CampaignChanges(new_leads_per_day=7))
    await stage.client.update_campaign(made, CampaignChanges(tracks_opens=False))
    await stage.client.update_campaign(made, CampaignChanges(tracks_clicks=False, is_plain_text=True))
    await stage.client.update_campaign(made, CampaignChanges(tracks_opens=True, client_external_id="222"))

    assert await stage.client.get_campaign(made) == replace(
        before,
        new_leads_per_day=7,
        tracks_clicks=False,
        tracks_opens=True,
        is_plain_text=True,
        client_external_id="222",
    )
    assert before.schedule == WEEKEND_TOO
    campaign = stage.simulator.account.campaign(made)
    assert campaign is not None
    assert campaign.settings.schedule == {
        "tz": "Europe/Oslo",
        "days": [0, 1, 6],
        "startHour": "08:30",
        "endHour": "17:00",
    }


async def test_senders_are_the_ones_that_were_asked_for(stage: Stage) -> None:
    one, two, three = (str(mailbox.id) for mailbox in stage.simulator.account.mailboxes)
    made = await ready(stage)

    await stage.client.update_campaign(made, CampaignChanges(sender_external_ids=(two, three)))

    assert await stage.client.list_senders(made) == [two, three]
    calls = stage.app.book.by_endpoint()
    assert calls["DELETE /campaigns/{id}/email-accounts"] == 1
    with pytest.raises(ProviderRefused, match="Email account id - 7 not allowed"):
        await stage.client.update_campaign(made, CampaignChanges(sender_external_ids=("7",)))
    assert one not in await stage.client.list_senders(made)


async def test_what_it_cannot_do_it_says_before_it_calls(stage: Stage) -> None:
    campaign = await stage.client.create_campaign(name="Autumn")
    before = len(stage.app.calls)
    with pytest.raises(Unsupported, match="rename"):
        await stage.client.update_campaign(campaign, CampaignChanges(name="Winter"))
    assert len(stage.app.calls) == before
    with pytest.raises(Unsupported, match="give one as well"):
        await stage.client.update_campaign(campaign, CampaignChanges(new_leads_per_day=3))
    assert "POST" not in "".join(stage.app.calls[before:])


async def test_a_sequence_is_written_and_read_back(stage: Stage) -> None:
    made = await ready(stage)

    written = await stage.client.list_steps(made)

    assert same_steps(STEPS, written)
    assert [[variant.label for variant in step.variants] for step in written] == [["A", "B"], ["A"]]
    assert all(step.external_id and all(v.external_id for v in step.variants) for step in written)


async def test_a_step_that_is_kept_keeps_its_ids(stage: Stage) -> None:
    made = await ready(stage)
    first, second = await stage.client.list_steps(made)

    changed = replace(first, variants=(replace(first.variants[0], subject="Other slots"), first.variants[1]))
    await stage.client.replace_steps(made, [changed])

    (found,) = await stage.client.list_steps(made)
    assert found.external_id == first.external_id != second.external_id
    assert [variant.external_id for variant in found.variants] == [variant.external_id for variant in first.variants]
    assert found.variants[0].subject == "Other slots"


async def test_the_sequence_of_an_active_campaign_is_not_to_be_changed(stage: Stage) -> None:
    campaign = stage.simulator.campaign_ids[0]
    with pytest.raises(ProviderRefused, match="Pause it first"):
        await stage.client.replace_steps(campaign, STEPS)

    await stage.client.pause_campaign(campaign)
    await stage.client.replace_steps(campaign, STEPS)
    await stage.client.resume_campaign(campaign)
    assert len(await stage.client.list_steps(campaign)) == 2


async def test_a_manual_step_is_written_as_such(stage: Stage) -> None:
    made = await ready(stage)
    await stage.client.replace_steps(
        made, [EmailStep(number=1, delay_days=0, variants=(Variant(subject="", body_html="Call"),), is_manual=True)]
    )
    campaign = stage.simulator.account.campaign(made)
    assert campaign is not None
    assert [step.is_manual for step in campaign.steps] == [True]
    assert (await stage.client.list_steps(made))[0].is_manual is None  # it is not told


async def test_the_figures_are_the_providers_own(stage: Stage) -> None:
    stage.simulator.play(600)
    campaign = stage.campaign
    mail = [sent for one in campaign.enrolments for sent in one.of_sequence]

    told = await stage.client.read_figures(campaign.external_id)

    assert told.as_of == NOW
    assert told.figures == {
        "sent": len(mail),
        "leads_contacted": len(campaign.enrolments),
        "opened": sum(len(sent.opens) for sent in mail),
        "unique_opened": sum(any(s.opens for s in one.of_sequence) for one in campaign.enrolments),
        "clicked": sum(len(sent.clicks) for sent in mail),
        "unique_clicked": sum(any(s.clicks for s in one.of_sequence) for one in campaign.enrolments),
        "unique_replied": sum(any(s.replies for s in one.of_sequence) for one in campaign.enrolments),
        "bounced": sum(sent.bounced_at is not None for sent in mail),
        "unsubscribed": sum(sent.is_unsubscribed for sent in mail),
        "leads": len(campaign.enrolments),
        "interested": sum(one.category_id == 1 for one in campaign.enrolments),
    }
    assert list(told.by_step) == [str(step.id) for step in campaign.steps]
    assert sum(figures[Figure.SENT] for figures in told.by_step.values()) == len(mail) > 50


@pytest.mark.parametrize(
    ("value", "days"),
    [
        ({"tz": "Europe/Oslo", "days": [0, 3], "startHour": "9:00", "endHour": "17:00"}, {3, 7}),
        ('{"tz":"Europe/Oslo","days":[1,7],"startHour":"09:00","endHour":"17:00"}', {1, 7}),
        ({"tz": "Europe/Oslo", "days": [1]}, None),
        (None, None),
        ("{}", None),
    ],
)
def test_a_schedule_in_any_of_its_spellings(value: object, days: set[int] | None) -> None:
    found = read_schedule(Fields({"scheduler_cron_value": value}))

    assert (None if found is None else found.days) == days
    assert found is None or (found.starts_at, found.ends_at) == (time(9), time(17))


@pytest.mark.parametrize(
    "value",
    ["every day", {"tz": "Europe/Oslo", "days": "all", "startHour": "09:00", "endHour": "17:00"},
     {"tz": "Europe/Oslo", "days": [8], "startHour": "09:00", "endHour": "17:00"},
     {"tz": "Europe/Oslo", "days": [1], "startHour": "nine", "endHour": "17:00"}, 7],
)  # fmt: skip
def test_a_schedule_that_is_none(value: object) -> None:
    with pytest.raises(ContractViolated):
        read_schedule(Fields({"scheduler_cron_value": value}))


def test_tracking_that_is_told_as_text_is_not_told() -> None:
    found = read_campaign(Fields({"id": 1, "name": "x", "status": "DRAFTED", "track_settings": "DONT_EMAIL_OPEN"}))
    assert (found.tracks_opens, found.tracks_clicks) == (None, None)


@pytest.mark.parametrize("campaign", ["", "x/y", "../client", "1?x=y", "1#", "1 ", "ab%2Fc", "٣"])
async def test_an_id_leads_nowhere_else(campaign: str, stage: Stage) -> None:
    for ask in (stage.client.get_campaign, stage.client.pause_campaign, stage.client.list_leads):
        with pytest.raises(NotThere):
            await ask(campaign)
    assert stage.app.calls == []


async def test_an_id_that_is_none_is_refused(stage: Stage) -> None:
    campaign = stage.simulator.campaign_ids[0]
    with pytest.raises(Invalid, match="client_external_id is no id"):
        await stage.client.create_campaign(name="x", client_external_id="agency")
    for changes in (CampaignChanges(client_external_id="a"), CampaignChanges(sender_external_ids=("a",))):
        with pytest.raises(Invalid, match="is no id"):
            await stage.client.update_campaign(campaign, changes)
    with pytest.raises(Invalid, match="is no id"):
        await stage.client.replace_steps(campaign, [replace(STEPS[1], external_id="x")])
    with pytest.raises(Invalid, match="is no id"):
        await stage.client.list_conversations(campaign_external_id="x")
    assert "POST" not in "".join(stage.app.calls)


# What running campaigns do in the simulator


async def test_a_started_campaign_sends_and_tells_until_it_is_over(stage: Stage) -> None:
    await stage.client.register_webhook(url="https://hooks.example.com/x", name="Outrider")
    made = await ready(stage)
    await stage.client.add_leads(made, [NewLead(email=f"p{n}@north.example.com", first_name=f"P{n}") for n in range(3)])
    assert await stage.pass_time(timedelta(days=1)) == []  # a draft sends nothing

    await stage.client.start_campaign(made)
    first = await stage.pass_time(timedelta(hours=1))
    await stage.client.pause_campaign(made)
    rest = await stage.pass_time(timedelta(days=5))
    await stage.client.resume_campaign(made)
    second = await stage.pass_time(timedelta(days=3))

    def told(heard: list[dict[str, object]]) -> list[object]:
        return [one["event_type"] for one in heard]

    assert told(first) == ["CAMPAIGN_STATUS_CHANGED"] + ["EMAIL_SENT"] * 3
    assert told(rest) == ["CAMPAIGN_STATUS_CHANGED"]
    assert told(second) == ["CAMPAIGN_STATUS_CHANGED"] + ["EMAIL_SENT"] * 3 + ["CAMPAIGN_STATUS_CHANGED"]
    assert [one["current_status"] for one in (first[0], rest[0], second[0], second[-1])] == [
        "ACTIVE",
        "PAUSED",
        "ACTIVE",
        "COMPLETED",
    ]
    assert {one["campaign_id"] for one in [*first, *rest, *second]} == {int(made)}
    assert {one["sequence_number"] for one in first[1:]} == {1}
    assert (await stage.client.get_campaign(made)).status is CampaignStatus.COMPLETED
