"""A campaign's whole life from the gateway's API alone, in one process and over RabbitMQ: what the gateway answers is what
the provider knows, each operation is done, and nothing is unaccounted for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from libs.messaging import topology
from tests.fixtures.database import MigratedDatabase
from tests.flow.lives import PROVIDERS, Life, a_life

NAMES = ("Ada", "Ben", "Cem", "Dan", "Eve")
STEPS: list[dict[str, Any]] = [
    {"delay_days": 0, "variants": [{"subject": "Dock slots", "body_html": "<p>Hello</p>"}]},
    {"delay_days": 2, "variants": [{"subject": "Once more", "body_html": "<p>Did this reach you?</p>"}]},
]
SCHEDULE = {"timezone": "Europe/Berlin", "days": [1, 2, 3, 4, 5, 6, 7], "starts_at": "00:00", "ends_at": "23:59"}
END = {"kind": "end", "delay_hours": 3}
MESSAGES = {
    "kind": "message", "delay_hours": 3, "texts": ["Hi {firstName}"],
    "following": {"kind": "message", "delay_hours": 48, "texts": ["Did this reach you?"], "following": END},
}  # fmt: skip
TREE = {
    "kind": "connection_request", "delay_hours": 3, "texts": ["Shall we connect?"], "fallback_text": "Shall we?",
    "if_met": MESSAGES, "following": END,
}  # fmt: skip
ANSWER = "Thursday at ten it is."


# What differs by transport is the transport: over the broker one story is quick to tell, and the others are told at length.
LIVES = [
    *(pytest.param(name, False, id=f"{name}-one process") for name in sorted(PROVIDERS)),
    pytest.param("heyreach", True, id="heyreach-rabbitmq"),
    *(
        pytest.param(name, True, id=f"{name}-rabbitmq", marks=pytest.mark.heavy)
        for name in sorted(PROVIDERS)
        if name != "heyreach"
    ),
]


@pytest.fixture
async def life(
    provider: str,
    over_rabbitmq: bool,
    request: pytest.FixtureRequest,
    migrated: MigratedDatabase,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Life]:
    amqp_url: str | None = None
    if over_rabbitmq:
        amqp_url = str(request.getfixturevalue("rabbit_server").new_vhost())
        await topology.declare(amqp_url)
    async with a_life(PROVIDERS[provider](), migrated, amqp_url, monkeypatch) as one:
        yield one


@pytest.mark.parametrize(("provider", "over_rabbitmq"), LIVES)
async def test_a_campaign_lives_from_its_making_to_its_end(life: Life) -> None:
    story = _on_linkedin if life.channel == "linkedin" else _by_mail
    campaign_id = await story(life)

    await life.holds_true(campaign_id)
    theirs, ours = await life.counted_there(campaign_id)
    assert theirs == ours
    assert len([count for count in theirs.values() if count]) >= 4
    await life.rests()
    operations = [one async for one in life.client.operations()]
    assert {one["state"] for one in operations} == {"succeeded"}, operations
    ledger = await life.client.ledger(settle_seconds=0)
    assert (ledger["balanced"], ledger["unaccounted"]) == (True, 0)
    assert [letter async for letter in life.client.dead_letters()] == []


async def _by_mail(life: Life) -> str:
    client, played, live = life.client, life.played, life.simulator.live
    made = await life.done(await client.create_campaign("email", life.account_id, "Autumn"))
    campaign = str(made["campaign_id"])
    assert ((await life.campaign(campaign))["name"], await life.status(campaign)) == ("Autumn", "draft")
    real = played.campaign(made["external_id"])

    await life.done(await client.replace_steps(campaign, STEPS))
    changes: dict[str, Any] = {"schedule": SCHEDULE, "sender_external_ids": played.senders}
    await life.done(await client.change_campaign("email", campaign, **changes))
    people = [{"email": f"{name}@north.example.com", "first_name": name, "company_name": "North"} for name in NAMES]
    assert (await life.done(await client.add_leads("email", campaign, people)))["added"] == len(NAMES)
    leads = await life.leads(campaign)
    assert {name: (lead["email"], lead["company_name"]) for name, lead in leads.items()} == {
        name: (f"{name.lower()}@north.example.com", "North") for name in NAMES
    }
    assert await life.state_of(campaign, "Ada") == "waiting"
    await life.done(await client.refresh_sequence("email", campaign))
    texts = [step["variants"][0] for step in (await client.sequence("email", campaign))["steps"]]
    assert [(one["subject"], one["body_html"]) for one in texts] == [
        (step["variants"][0]["subject"], step["variants"][0]["body_html"]) for step in STEPS
    ]
    steps = [row async for row in client.step_analytics(company_id=life.company_id, campaign_id=campaign)]
    assert [(row["number"], row["name"], row["delay_days"]) for row in steps] == played.steps(real)
    await life.done(await client.start_campaign("email", campaign))
    assert await life.status(campaign) == "active"

    # It sends, and people react.
    await life.pass_time(hours=1)
    of = {name: played.enrolment(real, name) for name in NAMES}
    live.opens(real, of["Ada"], played.mails(of["Ada"])[0])
    live.replies(real, of["Ada"], played.mails(of["Ada"])[0], "Tell me more")
    live.bounces(real, of["Ben"], played.mails(of["Ben"])[0])
    live.opens(real, of["Cem"], played.mails(of["Cem"])[0])
    played.unsubscribes(real, of["Cem"])
    await life.pass_time(minutes=5)
    await life.holds_true(campaign)

    # Somebody answers.
    conversation = await life.conversation_with(campaign, "Ada")
    assert conversation["last_direction"] == "inbound"
    await life.done(await client.reply(conversation["id"], ANSWER))
    await life.pass_time(minutes=2)
    await life.holds_true(campaign)
    *_, reply, answer = [message async for message in client.messages(conversation["id"])]
    assert (reply["direction"], reply["body_text"].strip()) == ("inbound", "Tell me more")
    assert (answer["direction"], answer["manual"]) == ("outbound", True)
    assert ANSWER in (answer["body_text"] or answer["body_html"])

    # A lead rests and goes on, another one is taken out.
    if played.provider == "smartlead":
        await life.done(await client.pause_lead("email", campaign, leads["Dan"]["id"]))
        assert await life.state_of(campaign, "Dan") == "paused"
        await life.pass_time(days=3)
        assert len(played.mails(of["Dan"])) == 1
        assert len(played.mails(of["Eve"])) == 2
        assert "LeadStopping" in await life.refused(client.stop_lead("email", campaign, leads["Dan"]["id"]))
        await life.done(await client.resume_lead("email", campaign, leads["Dan"]["id"]))
        assert await life.state_of(campaign, "Dan") == "active"
    else:
        assert "LeadPausing" in await life.refused(client.pause_lead("email", campaign, leads["Dan"]["id"]))
        await life.done(await client.stop_lead("email", campaign, leads["Dan"]["id"]))
        assert await life.state_of(campaign, "Dan") == "stopped"
        await life.pass_time(days=3)
        assert len(played.mails(of["Dan"])) == 1
        assert len(played.mails(of["Eve"])) == 2
    more = [{"email": f"{name}@south.example.com", "first_name": name} for name in ("Fay", "Gus")]
    await life.done(await client.add_leads("email", campaign, more))
    await life.done(await client.remove_lead("email", campaign, (await life.leads(campaign))["Fay"]["id"]))
    assert await life.state_of(campaign, "Fay") == "removed"

    # The campaign rests, goes on, and ends.
    await life.done(await client.pause_campaign("email", campaign))
    assert await life.status(campaign) == "paused"
    sent = len(life.simulator.journal.notes)
    await life.pass_time(days=1)
    assert len(life.simulator.journal.notes) == sent
    await life.done(await client.resume_campaign("email", campaign))
    assert await life.status(campaign) == "active"
    await life.pass_time(hours=2)
    assert len(played.mails(played.enrolment(real, "Gus"))) == 1
    await life.holds_true(campaign)
    if played.provider == "smartlead":
        assert "rename" in await life.refused(client.change_campaign("email", campaign, name="Winter"))
    else:
        await life.done(await client.change_campaign("email", campaign, name="Winter"))
        assert (await life.campaign(campaign))["name"] == real.name == "Winter"
    await life.done(await client.stop_campaign("email", campaign))
    assert await life.status(campaign) == "stopped"
    return campaign


async def _on_linkedin(life: Life) -> str:
    client, played, live = life.client, life.played, life.simulator.live
    assert "CampaignEditing" in await life.refused(client.create_campaign("linkedin", life.account_id, "Autumn"))
    # Made by hand at the provider, and known from when the account was opened.
    await life.rests()
    real = played.simulator.account.campaigns[-1]
    known = [row async for row in client.campaigns("linkedin", company_id=life.company_id)]
    (campaign,) = [str(row["id"]) for row in known if row["external_id"] == real.external_id]
    assert ((await life.campaign(campaign))["name"], await life.status(campaign)) == (real.name, "draft")

    await life.done(await client.replace_sequence(campaign, TREE))
    assert real.sequence["nodeType"] == "CONNECTION_REQUEST"
    assert real.sequence["payload"]["fallbackMessage"] == "Shall we?"
    await life.done(await client.refresh_sequence("linkedin", campaign))
    first = (await client.sequence("linkedin", campaign))["first"]
    assert (first["kind"], first["texts"], first["if_met"]["texts"]) == (
        "connection_request", TREE["texts"], MESSAGES["texts"],
    )  # fmt: skip
    await life.done(await client.start_campaign("linkedin", campaign))
    assert await life.status(campaign) == "active"
    people = [
        {"profile_url": f"https://linkedin.com/in/{name}-example/", "first_name": name, "company_name": "North"}
        for name in NAMES
    ]
    assert (await life.done(await client.add_leads("linkedin", campaign, people)))["added"] == len(NAMES)
    leads = await life.leads(campaign)
    assert {name: lead["profile_url"] for name, lead in leads.items()} == {
        name: f"https://www.linkedin.com/in/{name.lower()}-example" for name in NAMES
    }
    assert await life.state_of(campaign, "Ada") == "waiting"

    # It asks; some accept, and are written to; one answers.
    await life.pass_time(hours=4)
    of = {name: played.enrolment(real, name) for name in NAMES}
    for name in ("Ada", "Ben", "Cem"):
        live.accepts(real, of[name])
    await life.pass_time(hours=4)
    live.replies(real, of["Ada"], "Sounds useful,\nsend times?")
    await life.pass_time(minutes=5)
    await life.holds_true(campaign)

    conversation = await life.conversation_with(campaign, "Ada")
    assert conversation["last_direction"] == "inbound"
    assert conversation["sender_external_id"] == str(of["Ada"].sender.id)
    assert "copies" in await life.refused(client.reply(conversation["id"], ANSWER, cc=["ada@north.example.com"]))
    await life.done(await client.reply(conversation["id"], ANSWER))
    await life.pass_time(minutes=2)
    await life.holds_true(campaign)
    *_, reply, answer = [message async for message in client.messages(conversation["id"])]
    assert (reply["direction"], reply["body_text"]) == ("inbound", "Sounds useful,\nsend times?")
    assert (answer["direction"], answer["manual"], answer["body_text"]) == ("outbound", True, ANSWER)

    dan = leads["Dan"]["id"]
    assert "LeadPausing" in await life.refused(client.pause_lead("linkedin", campaign, dan))
    assert "LeadPausing" in await life.refused(client.resume_lead("linkedin", campaign, dan))
    assert "LeadRemoving" in await life.refused(client.remove_lead("linkedin", campaign, dan))
    assert "CampaignStopping" in await life.refused(client.stop_campaign("linkedin", campaign))
    await life.done(await client.stop_lead("linkedin", campaign, dan))
    assert (await life.state_of(campaign, "Dan"), of["Dan"].is_stopped) == ("stopped", True)

    await life.done(await client.pause_campaign("linkedin", campaign))
    assert await life.status(campaign) == "paused"
    happened = len(life.simulator.journal.notes)
    await life.pass_time(days=3)
    assert len(life.simulator.journal.notes) == happened
    await life.done(await client.resume_campaign("linkedin", campaign))
    assert await life.status(campaign) == "active"
    await life.pass_time(days=4)
    assert await life.status(campaign) in ("active", "completed")
    return campaign
