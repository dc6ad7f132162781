"""What the client does, against the simulator: campaigns, sequences, leads, the inbox, webhooks, figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import time, timedelta

import pytest

from libs.errors import CredentialRefused, Invalid, ProviderRefused, Unsupported
from libs.providers.calls import NotThere
from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.records import (
    Answer,
    CampaignChanges,
    ConversationRef,
    EmailStep,
    Figure,
    LeadRef,
    LeadState,
    NewLead,
    Schedule,
    Variant,
)
from libs.providers.sightings import CampaignStatus, Direction
from tests.unit.libs.providers.emailbison.stage import QUICK, URL, Stage, frozen, make_stage

DANA = "dana@acme.example.com"
LEAD = LeadRef(key=f"email:{DANA}")
HOOK = "https://hooks.example.com/t/abc"
HOURS = Schedule(timezone="Europe/Berlin", days=frozenset({1, 3, 7}), starts_at=time(8), ends_at=time(18, 30))
STEPS = (
    EmailStep(
        number=1,
        delay_days=0,
        variants=(
            Variant(subject="Night crews", body_html="<p>Hi</p>"),
            Variant(subject="Crews?", body_html="<p>Yo</p>"),
        ),
    ),
    EmailStep(number=2, delay_days=3, variants=(Variant(subject="", body_html="<p>Still there?</p>"),)),
    EmailStep(number=3, delay_days=5, variants=(Variant(subject="A last word", body_html="<p>Bye</p>"),)),
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


async def run(stage: Stage, *addresses: str) -> str:
    """A campaign with these leads, started."""
    client = stage.client
    campaign = await client.create_campaign(name="Autumn")
    mailboxes = tuple(str(mailbox.id) for mailbox in stage.simulator.account.mailboxes[:2])
    await client.update_campaign(
        campaign, CampaignChanges(schedule=HOURS, sender_external_ids=mailboxes, tracks_opens=True)
    )
    await client.replace_steps(campaign, STEPS)
    await client.add_leads(campaign, [NewLead(email=one, first_name="Dana", last_name="Ruiz") for one in addresses])
    await client.start_campaign(campaign)
    return campaign


# Campaigns


async def test_a_campaign_is_made_changed_and_read_back(stage: Stage) -> None:
    made = await stage.client.create_campaign(name="Autumn")
    draft = await stage.client.get_campaign(made)
    assert (draft.status, draft.schedule, draft.sender_external_ids) == (CampaignStatus.DRAFT, None, ())

    mailboxes = tuple(str(mailbox.id) for mailbox in stage.simulator.account.mailboxes)
    changes = CampaignChanges(
        name="Winter", schedule=HOURS, new_leads_per_day=7, sender_external_ids=mailboxes[:2], is_plain_text=True
    )
    await stage.client.update_campaign(made, changes)
    found = await stage.client.get_campaign(made)
    assert (found.name, found.schedule, found.new_leads_per_day, found.is_plain_text) == ("Winter", HOURS, 7, True)
    assert set(found.sender_external_ids or ()) == set(mailboxes[:2])

    later = replace(HOURS, ends_at=time(19))
    await stage.client.update_campaign(made, CampaignChanges(schedule=later, sender_external_ids=mailboxes[1:]))
    found = await stage.client.get_campaign(made)
    assert (found.schedule, set(found.sender_external_ids or ())) == (later, set(mailboxes[1:]))
    assert [one.name for one in await stage.client.list_campaigns()].count("Winter") == 1
    assert made not in await EmailBisonClient("99|another-key", URL, stage.http, policy=QUICK).list_campaign_ids()


async def test_what_is_not_to_change_stays_though_the_call_replaces_everything(stage: Stage) -> None:
    campaign = stage.campaign
    campaign.settings.unsubscribe_text, campaign.settings.sequence_prioritization = "Stop", "new_leads"
    before = replace(campaign.settings)
    assert (campaign.open_tracking, campaign.tells_automated, before.can_unsubscribe) == (True, True, True)

    await stage.client.update_campaign(campaign.external_id, CampaignChanges(new_leads_per_day=7))

    assert campaign.settings == replace(before, max_new_leads_per_day=7)
    assert (campaign.open_tracking, campaign.tells_automated) == (True, True)


@pytest.mark.parametrize(
    "changes",
    [
        CampaignChanges(name="x", client_external_id="7"),
        CampaignChanges(name="x", minutes_between_mails=9),
        CampaignChanges(name="x", tracks_clicks=True),
    ],
)
async def test_a_wish_that_cannot_be_fulfilled_is_refused_before_anything_is_sent(
    changes: CampaignChanges, stage: Stage
) -> None:
    with pytest.raises(Unsupported):
        await stage.client.update_campaign(stage.campaign.external_id, changes)
    assert stage.app.calls == []


async def test_a_refusal_is_told_in_the_providers_words(stage: Stage) -> None:
    with pytest.raises(ProviderRefused, match="must not be greater than max emails per day"):
        await stage.client.update_campaign(stage.campaign.external_id, CampaignChanges(new_leads_per_day=5000))
    made = await stage.client.create_campaign(name="Autumn")
    with pytest.raises(ProviderRefused, match="incomplete: it has no steps, schedule, senders, leads"):
        await stage.client.start_campaign(made)
    with pytest.raises(ProviderRefused, match="only be removed from draft or paused"):
        await stage.client.update_campaign(stage.campaign.external_id, CampaignChanges(sender_external_ids=()))


async def test_a_campaign_starts_rests_goes_on_and_ends(stage: Stage) -> None:
    campaign = await run(stage, DANA)

    async def status() -> CampaignStatus:
        return (await stage.client.get_campaign(campaign)).status

    assert stage.simulator.account.campaigns[-1].status == "queued"
    assert await status() is CampaignStatus.ACTIVE
    stage.simulator.advance(timedelta(minutes=2))
    assert stage.simulator.account.campaigns[-1].status == "active"
    await stage.client.pause_campaign(campaign)
    assert await status() is CampaignStatus.PAUSED
    found = await stage.client.find_campaign_lead(campaign, LEAD)
    assert found is not None
    assert found.state is LeadState.PAUSED
    await stage.client.resume_campaign(campaign)
    assert await status() is CampaignStatus.ACTIVE
    await stage.client.stop_campaign(campaign)
    assert await status() is CampaignStatus.ARCHIVED


@pytest.mark.parametrize("strange", ["1/../2", "..", "1?x=1", "", "1e3", "²", "9" * 21])
async def test_an_id_that_is_none_leads_nowhere(strange: str, stage: Stage) -> None:
    client, lead = stage.client, replace(LEAD, external_id=strange)
    thread = ConversationRef(key="k", lead=LEAD, campaign_external_id=strange)
    for ask in (
        client.get_campaign(strange),
        client.pause_campaign(strange),
        client.update_campaign(strange, CampaignChanges(name="x")),
        client.list_steps(strange),
        client.replace_steps(strange, STEPS),
        client.list_leads(strange),
        client.add_leads(strange, [NewLead(email=DANA)]),
        client.unsubscribe_lead(lead),
        client.list_conversations(campaign_external_id=strange),
        client.list_messages(thread),
        client.reply(thread, Answer(text="x")),
        client.read_figures(strange),
        client.read_campaign(strange),
        client.list_message_keys(strange),
    ):
        with pytest.raises(NotThere):
            await ask
    assert await client.check_webhook(strange, url=HOOK) is None
    await client.delete_webhook(strange)
    assert stage.app.calls == []
    for key in ("email:../users", "email:dana?x=1", "email:"):
        assert await client.find_lead(key) is None
    assert stage.app.calls == []


async def test_another_workspaces_record_is_a_refusal_and_no_bad_key(stage: Stage) -> None:
    with pytest.raises(ProviderRefused, match="does not match the workspace") as refused:
        await stage.client.pause_campaign(stage.another.campaign_ids[0])
    assert not isinstance(refused.value, CredentialRefused)
    assert stage.another.account.campaigns[0].status == "active"


# Sequences


async def test_a_sequence_is_written_and_read_back(stage: Stage) -> None:
    made = await stage.client.create_campaign(name="Autumn")
    assert await stage.client.list_steps(made) == []
    await stage.client.replace_steps(made, STEPS)

    found = await stage.client.list_steps(made)
    assert [(one.number, one.delay_days) for one in found] == [(1, 0), (2, 3), (3, 5)]
    texts = [[(text.subject, text.body_html) for text in one.variants] for one in found]
    assert texts == [[(text.subject, text.body_html) for text in one.variants] for one in STEPS]
    steps = stage.simulator.account.campaigns[-1].steps
    assert (steps[1].subject, steps[1].threads) == ("Night crews", True)  # the thread's, as a subject is required


async def test_what_has_an_id_stays_what_is_new_comes_and_what_is_not_named_goes(stage: Stage) -> None:
    made = await stage.client.create_campaign(name="Autumn")
    await stage.client.replace_steps(made, STEPS)
    first, second, third = await stage.client.list_steps(made)
    changed = replace(first.variants[0], body_html="<p>Hello</p>")
    new = Variant(subject="Third", body_html="<p>Try</p>")
    wished = [
        replace(third, number=1, delay_days=0),
        replace(first, number=2, delay_days=2, variants=(changed, new)),
        EmailStep(number=3, delay_days=1, variants=(Variant(subject="New", body_html="<p>New</p>"),)),
    ]
    await stage.client.replace_steps(made, wished)

    found = await stage.client.list_steps(made)
    assert [one.external_id for one in found[:2]] == [third.external_id, first.external_id]
    assert second.external_id not in {one.external_id for one in found}
    assert [(one.delay_days, [text.body_html for text in one.variants]) for one in found] == [
        (0, ["<p>Bye</p>"]),
        (2, ["<p>Hello</p>", "<p>Try</p>"]),
        (1, ["<p>New</p>"]),
    ]


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ((), Invalid),
        ((replace(STEPS[0], number=2),), Invalid),
        ((replace(STEPS[0], variants=()),), Invalid),
        ((STEPS[0], replace(STEPS[1], delay_days=0)), Unsupported),
        ((replace(STEPS[0], delay_days=1),), Unsupported),
        ((replace(STEPS[0], is_manual=True),), Unsupported),
        ((replace(STEPS[1], number=1, delay_days=0),), Invalid),
    ],
)
async def test_a_sequence_that_cannot_be_is_refused_before_anything_is_sent(
    steps: tuple[EmailStep, ...], error: type[Exception], stage: Stage
) -> None:
    with pytest.raises(error):
        await stage.client.replace_steps(stage.campaign.external_id, steps)
    assert stage.app.calls == []


# Leads


async def test_a_lead_is_added_with_all_that_is_known_and_what_it_has_stays(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    lead = NewLead(
        email="Dana@Acme.example.com",
        first_name="Dana",
        company_name="Acme Tooling",
        title="Head of Ops",
        phone="15550100",
        fields={"Hook": "new Leeds site"},
    )
    added = await stage.client.add_leads(campaign, [lead, lead])
    assert (added.added, added.known, added.refused) == (1, 0, {})
    again = await stage.client.add_leads(campaign, [NewLead(email=DANA, title="Chief of Ops")])
    assert (again.added, again.known) == (0, 1)

    found = stage.simulator.account.leads[DANA]
    assert (found.first_name, found.company, found.title) == ("Dana", "Acme Tooling", "Chief of Ops")
    assert found.variables == {"phone": "15550100", "hook": "new Leeds site"}
    assert stage.simulator.account.variable_names == {"hook", "phone"}
    told = await stage.client.find_campaign_lead(campaign, LEAD)
    assert told is not None
    assert (told.lead.external_id, told.state, told.is_unsubscribed) == (str(found.id), LeadState.ACTIVE, False)
    assert await stage.client.list_campaigns_of_lead(LEAD) == [campaign]
    assert (await stage.client.find_lead(LEAD.key)).company_name == "Acme Tooling"  # type: ignore[union-attr]
    assert await stage.client.find_lead("email:nobody@acme.example.com") is None
    assert DANA not in stage.another.account.leads


@pytest.mark.parametrize("drops", [False, True])
async def test_one_who_is_kept_out_keeps_nobody_else_out(drops: bool, stage: Stage) -> None:
    stage.app.habits.drops_kept_out_leads = drops
    first, second, third = (one.external_id for one in stage.simulator.account.campaigns)
    names = [f"p{n}@acme.example.com" for n in range(4)]
    people = [NewLead(email=one) for one in names]
    await stage.client.add_leads(second, people[:1])
    await stage.client.add_leads(third, people[1:2])
    await stage.client.unsubscribe_lead(LeadRef(key=f"email:{names[1]}"))

    added = await stage.client.add_leads(first, [*people, NewLead(email="x@gmail.com")])

    assert added.added == 2
    assert added.refused == {
        "has unsubscribed": 1,
        "is in the sequence of another campaign": 1,
        "was not taken as a lead": 1,
    }
    assert {one.lead.address for one in stage.campaign.enrolments} == set(names[2:])


async def test_a_batch_that_is_refused_though_nobody_seemed_kept_out_is_counted_and_not_raised(stage: Stage) -> None:
    first, second, _ = stage.simulator.account.campaigns
    await stage.client.add_leads(second.external_id, [NewLead(email=DANA)])
    whole = stage.client._made

    async def bare(written):  # an instance whose answer to the upsert tells ids alone
        rows = await whole(written)
        for row in rows.values():
            row.raw.pop("lead_campaign_data")
        return rows

    stage.client._made = bare  # type: ignore[method-assign]
    added = await stage.client.add_leads(
        first.external_id, [NewLead(email=DANA), NewLead(email="leo@acme.example.com")]
    )

    assert (added.added, added.refused) == (1, {"is in the sequence of another campaign": 1})
    assert [one.lead.address for one in first.enrolments] == ["leo@acme.example.com"]


async def test_a_batch_has_a_size_and_a_lead_an_address(stage: Stage) -> None:
    most = stage.client.largest_batch_of_leads()
    with pytest.raises(Invalid, match=f"{most + 1} leads at once"):
        await stage.client.add_leads("1", [NewLead(email=f"p{n}@acme.example.com") for n in range(most + 1)])
    with pytest.raises(Unsupported, match="e-mail address"):
        await stage.client.add_leads("1", [NewLead(profile_url="https://example.com/in/dana")])
    assert stage.app.calls == []


@pytest.mark.parametrize("has_cursors", [True, False])
@pytest.mark.parametrize("single", [True, False])
async def test_leads_are_listed_page_by_page(single: bool, has_cursors: bool, stage: Stage) -> None:
    stage.app.habits.has_cursors, stage.app.habits.single_lead_campaign_data = has_cursors, single
    stage.simulator.play(400)
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page = await stage.client.list_leads(stage.campaign.external_id, after=after)
        found += [one.lead.external_id for one in page.items]
        assert all(one.state is not LeadState.UNKNOWN for one in page.items)
        after, pages = page.after, pages + 1
    assert pages >= 2
    assert sorted(map(str, found)) == sorted(str(one.lead.id) for one in stage.campaign.enrolments)
    for strange in ("x", "p:", "p:x", "c:", "p:" + "9" * 10, "c:" + "x" * 2001):
        with pytest.raises(Invalid):
            await stage.client.list_leads(stage.campaign.external_id, after=strange)


async def test_a_lead_is_stopped_removed_and_left_alone(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    await stage.client.add_leads(campaign, [NewLead(email=DANA)])
    stranger = LeadRef(key="email:leo@acme.example.com")
    await stage.client.add_leads(stage.simulator.campaign_ids[1], [NewLead(email="leo@acme.example.com")])
    for act in (stage.client.stop_lead, stage.client.remove_lead):
        with pytest.raises(NotThere, match="the lead is not in it"):  # the provider would say yes
            await act(campaign, stranger)

    await stage.client.stop_lead(campaign, LEAD)
    found = await stage.client.find_campaign_lead(campaign, LEAD)
    assert found is not None
    assert found.state is LeadState.STOPPED
    stage.simulator.advance(timedelta(days=10))
    assert stage.enrolment(DANA).sent == []
    await stage.client.unsubscribe_lead(LEAD)
    assert await stage.client.is_unsubscribed(LEAD)
    found = await stage.client.find_campaign_lead(campaign, LEAD)
    assert found is not None
    assert (found.state, found.is_unsubscribed) == (LeadState.BLOCKED, True)
    await stage.client.remove_lead(campaign, LEAD)
    assert await stage.client.find_campaign_lead(campaign, LEAD) is None
    assert not await stage.client.is_unsubscribed(stranger)


async def test_a_lead_who_replied_is_judged_and_the_judgement_taken_back(stage: Stage) -> None:
    campaign = await run(stage, DANA)
    stage.simulator.advance(timedelta(hours=1))
    with pytest.raises(Unsupported, match="has not replied"):
        await stage.client.categorize_lead(campaign, LEAD, "Interested")
    with pytest.raises(Invalid, match="Meeting"):
        await stage.client.categorize_lead(campaign, LEAD, "Meeting")
    made = stage.simulator.account.campaigns[-1]
    enrolment = stage.enrolment(DANA, campaign)
    stage.simulator.live.replies(made, enrolment, enrolment.sent[0], "Send details please.")

    for category in ("Interested", None):
        await stage.client.categorize_lead(campaign, LEAD, category)
        assert await stage.client.category_of(campaign, LEAD) == category
        found = await stage.client.find_campaign_lead(campaign, LEAD)
        assert found is not None
        assert found.category == (category or "")
    assert await stage.client.list_categories() == ["Interested"]


# The inbox


async def test_a_conversation_is_listed_read_and_answered(stage: Stage) -> None:
    campaign = await run(stage, DANA)
    stage.simulator.advance(timedelta(hours=1))
    made, enrolment = stage.simulator.account.campaigns[-1], stage.enrolment(DANA, campaign)
    row = stage.simulator.live.replies(made, enrolment, enrolment.sent[0], "Send details please.")

    (entry,) = (await stage.client.list_conversations(campaign_external_id=campaign)).items
    assert (entry.lead_name, entry.is_unread, entry.category, entry.last_reply_at) == (
        "Dana Ruiz", True, "", row.received_at
    )  # fmt: skip
    sent, reply = await stage.client.list_messages(entry.conversation)
    assert [sent.direction, reply.direction] == [Direction.OUTBOUND, Direction.INBOUND]
    assert (reply.key, reply.in_reply_to_key) == (row.key, sent.key)
    assert row.key in await _keys(stage, campaign)

    answer = Answer(text="Gladly.", html="<p>Gladly.</p>", to_message_key=reply.key, cc=("lee@acme.example.com",))
    key = await stage.client.reply(entry.conversation, answer)
    ours = (await stage.client.list_messages(entry.conversation))[-1]
    assert (ours.key, ours.body_html, ours.to_address, ours.is_manual) == (key, "<p>Gladly.</p>", DANA, True)
    assert stage.simulator.account.inbox[-1].cc == ("lee@acme.example.com",)
    assert stage.another.account.inbox == []

    other = replace(entry.conversation, campaign_external_id=stage.campaign.external_id)
    with pytest.raises(NotThere, match="none of this conversation"):
        await stage.client.reply(other, answer)
    for strange, error in (("sent:1", Invalid), ("reply:../7", NotThere), ("reply:999", NotThere)):
        with pytest.raises(error):
            await stage.client.reply(entry.conversation, replace(answer, to_message_key=strange))
    untracked = ConversationRef(key="k", lead=LEAD)
    with pytest.raises(Invalid, match="no campaign"):
        await stage.client.list_messages(untracked)


async def _keys(stage: Stage, campaign: str) -> set[str]:
    return {one.key for one in await stage.client.list_message_keys(campaign)}


async def test_the_inbox_leaves_out_what_belongs_to_no_campaign(stage: Stage) -> None:
    stage.simulator.play(900)
    found, after, first = [], None, True
    while first or after is not None:
        page = await stage.client.list_conversations(after=after)
        found += [entry.conversation.key for entry in page.items]
        after, first = page.after, False
    rows = [row for row in stage.simulator.account.inbox if row.type == "Tracked Reply"]
    assert set(found) == {f"{row.campaign.id}:{row.lead.key}" for row in rows if row.campaign and row.lead}
    assert len(rows) < len([row for row in stage.simulator.account.inbox if row.folder == "Inbox"])


# Webhooks


async def test_a_registration_is_looked_after(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=HOOK, name="Outrider")
    whole = await stage.client.check_webhook(made, url=HOOK)
    assert whole is not None
    assert (whole.external_id, whole.url, whole.faults) == (made, HOOK, ())
    (kept,) = stage.simulator.account.registrations
    kept.event_ids, kept.url = kept.event_ids[1:], f"{HOOK}d"

    faulty = await stage.client.check_webhook(made, url=HOOK)
    assert faulty is not None
    assert faulty.faults == ("it posts to another address", "it does not tell of email_sent")
    assert await stage.client.repair_webhook(made, url=HOOK, name="Outrider") == made
    assert [one.url for one in await stage.client.list_webhooks()] == [HOOK]
    stage.app.calls.clear()
    assert await stage.client.repair_webhook(made, url=HOOK, name="Outrider") == made
    assert all(call.startswith("GET") for call in stage.app.calls)  # nothing was wrong

    await stage.client.delete_webhook(made)
    await stage.client.delete_webhook(made)
    assert await stage.client.check_webhook(made, url=HOOK) is None
    anew = await stage.client.repair_webhook(made, url=HOOK, name="Outrider")
    assert [one.external_id for one in await stage.client.list_webhooks()] == [anew]
    assert stage.another.account.registrations == []


# Figures


async def test_figures_are_those_of_the_book(stage: Stage) -> None:
    stage.simulator.play(900)
    campaign = stage.campaign
    found = await stage.client.read_figures(campaign.external_id)
    book = stage.simulator.journal.expected().by_campaign[campaign.external_id]

    told = {name: found.figures[name] for name in (Figure.SENT, Figure.OPENED, Figure.REPLIED, Figure.UNIQUE_REPLIED)}
    assert list(told.values()) == [book.sent, book.opened, book.replied, book.replied_leads]
    assert found.figures[Figure.LEADS] == len(campaign.enrolments)
    assert sum(step[Figure.SENT] for step in found.by_step.values()) == book.sent
    assert set(found.by_step) == {str(text.id) for step in campaign.steps for text in step.choices}

    campaign.open_tracking = False
    blind = await stage.client.read_figures(campaign.external_id)
    assert Figure.OPENED not in blind.figures  # its 0 would measure nothing
    assert Figure.UNIQUE_OPENED not in next(iter(blind.by_step.values()))
