"""Looking after the account's webhook, and who hears what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest

from libs.errors import ProviderUnavailable
from libs.providers.records import LeadRef, NewLead
from libs.providers.simulation import FaultKind
from libs.providers.smartlead.client import REGISTERED_TYPES
from libs.providers.smartlead.webhooks import SmartleadWebhooks
from tests.unit.libs.providers.smartlead.stage import URL, Stage, frozen, make_stage

OURS = "https://hooks.example.com/t/abc"


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    with frozen():
        made = make_stage()
        async with made.http:
            yield made


async def test_a_whole_registration_is_left_alone(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=OURS, name="Outrider")
    before = len(stage.app.calls)

    found = await stage.client.check_webhook(made, url=OURS)
    assert found is not None
    assert (found.external_id, found.url, found.event_types, found.faults) == (
        made,
        OURS,
        frozenset(REGISTERED_TYPES),
        (),
    )
    assert await stage.client.repair_webhook(made, url=OURS, name="Outrider") == made
    assert {call.partition(" ")[0] for call in stage.app.calls[before:]} == {"GET"}


async def test_a_narrowed_or_moved_registration_is_replaced(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=OURS, name="Outrider")
    (registration,) = stage.simulator.account.registrations
    registration.event_types, registration.url = ("EMAIL_REPLY",), "https://elsewhere.example.com"

    found = await stage.client.check_webhook(made, url=OURS)
    assert found is not None
    assert found.faults[0] == "it posts to another address"
    assert "EMAIL_SENT" in found.faults[1]
    again = await stage.client.repair_webhook(made, url=OURS, name="Outrider")

    (registration,) = stage.simulator.account.registrations
    assert str(registration.id) == again != made
    assert registration.url == OURS
    writes = [call for call in stage.app.calls if not call.startswith("GET")]
    assert [call.partition(" ")[0] for call in writes] == ["POST", "POST", "DELETE"]  # never a moment without one


async def test_a_lost_registration_is_made_again_and_deleting_a_lost_one_is_done(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=OURS, name="Outrider")
    await stage.client.delete_webhook(made)
    assert await stage.client.check_webhook(made, url=OURS) is None
    await stage.client.delete_webhook(made)

    again = await stage.client.repair_webhook(made, url=OURS, name="Outrider")
    assert await stage.client.check_webhook(again, url=OURS) is not None


async def test_another_accounts_registration_is_none(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=OURS, name="Outrider")
    key = {"api_key": stage.another.api_key}
    assert (await stage.http.get(f"{URL}/webhook/{made}", params=key)).json() == {}
    assert (await stage.http.delete(f"{URL}/webhook/delete/{made}", params=key)).status_code == 404


@pytest.mark.parametrize("fault", [FaultKind.EMPTY, FaultKind.PAGE, FaultKind.DONE_AND_DROPPED])
async def test_a_registration_whose_answer_is_lost_is_not_repeated(fault: FaultKind, stage: Stage) -> None:
    stage.app.faults.next(fault, path="/webhook/create")
    with pytest.raises(ProviderUnavailable):
        await stage.client.register_webhook(url=OURS, name="Outrider")
    assert stage.app.book.by_endpoint()["POST /webhook/create"] == 1


async def play_a_little(stage: Stage) -> None:
    campaign = stage.campaign
    await stage.client.add_leads(
        campaign.external_id,
        [NewLead(email="ines@north.example.com", first_name="Ines"), NewLead(email="leo@north.example.com")],
    )
    await stage.pass_time(timedelta(hours=1))
    enrolment = stage.enrolment("ines@north.example.com")
    sent = enrolment.sent[0]
    live = stage.simulator.live
    live.opens(campaign, enrolment, sent)
    live.clicks(campaign, enrolment, sent, "https://example.com/demo")
    live.replies(campaign, enrolment, sent, "Tell me more")
    await stage.client.categorize_lead(campaign.external_id, LeadRef(key="email:ines@north.example.com"), "Interested")
    live.unsubscribes(campaign, enrolment, sent)
    await stage.client.pause_campaign(campaign.external_id)
    await stage.simulator.poster.send_due()


async def test_everything_that_happens_is_told_to_the_registered_address_and_can_be_read(stage: Stage) -> None:
    made = await stage.client.register_webhook(url=OURS, name="Outrider")
    await play_a_little(stage)

    assert [event["event_type"] for event in stage.heard] == [
        "EMAIL_SENT",
        "EMAIL_SENT",
        "EMAIL_OPEN",
        "EMAIL_LINK_CLICK",
        "EMAIL_REPLY",
        "LEAD_CATEGORY_UPDATED",
        "LEAD_UNSUBSCRIBED",
        "CAMPAIGN_STATUS_CHANGED",
    ]
    assert {(event["url"], event["webhook_url"], str(event["webhook_id"])) for event in stage.heard} == {
        (OURS, OURS, made)
    }
    for post in stage.simulator.poster.posts:
        reading = SmartleadWebhooks().read_webhook(post.body)
        assert reading.recognized
        assert {message.key for message in reading.messages} == post.message_keys


async def test_an_accounts_webhook_silences_the_others_unless_it_does_not(stage: Stage) -> None:
    campaign = stage.campaign.external_id
    key = {"api_key": stage.simulator.api_key}
    body = {"id": None, "name": "Ops", "webhook_url": "https://ops.example.com", "event_types": ["EMAIL_REPLY"]}
    refused = await stage.http.post(f"{URL}/campaigns/{campaign}/webhooks", params=key, json={**body, "categories": []})
    made = await stage.http.post(f"{URL}/campaigns/{campaign}/webhooks", params=key, json=body)
    listed = await stage.http.get(f"{URL}/campaigns/{campaign}/webhooks", params=key)

    assert refused.json()["message"] == '"categories" does not contain 1 required value(s)'
    assert made.json()["event_type_map"] == {"EMAIL_REPLY": True}
    assert listed.json()[0]["event_types"] == ["EMAIL_REPLY"]

    await play_a_little(stage)
    assert [(event["url"], event["event_type"]) for event in stage.heard] == [
        ("https://ops.example.com", "EMAIL_REPLY")
    ]

    await stage.client.register_webhook(url=OURS, name="Outrider")
    enrolment = stage.enrolment("ines@north.example.com")
    for wins, heard in ((True, {OURS}), (False, {OURS, "https://ops.example.com"})):
        stage.simulator._user_hook_wins = wins
        stage.heard.clear()
        stage.simulator.live.replies(stage.campaign, enrolment, enrolment.sent[0], "Well?")
        await stage.simulator.poster.send_due()
        assert {event["url"] for event in stage.heard} == heard


async def test_a_silent_provider_still_keeps_its_books(stage: Stage) -> None:
    await stage.client.register_webhook(url=OURS, name="Outrider")
    stage.simulator.poster.faults.silent = True
    await play_a_little(stage)

    assert stage.heard == []
    assert orjson.loads(stage.simulator.poster.posts[0].body)["event_type"] == "EMAIL_SENT"
    assert stage.simulator.journal.expected().overall.replied == 1
    (lead,) = (await stage.client.read_messages(stage.campaign.external_id, ["email:ines@north.example.com"])).leads
    assert lead.first_name == "Ines"
