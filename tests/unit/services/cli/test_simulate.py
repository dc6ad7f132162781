"""The simulated providers behind one address: each as if alone there, one time for all, faults and books for whoever asks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from libs.providers.simulation import FaultKind
from services.cli.simulate.serve import PortTaken, Simulated, serve
from services.cli.simulate.world import KINDS, World

URL = "http://127.0.0.1:8100"
HOOK = "http://127.0.0.1:9/hook"


@dataclass
class Room:
    world: World
    http: httpx.AsyncClient
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answer: int = 200
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def control(self, method: str, path: str = "", body: object = None, *, status: int = 200) -> Any:
        answer = await self.http.request(method, f"/control{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def ask(self, provider: str, method: str, path: str, body: object = None, key: str | None = None) -> Any:
        """As that provider's clients do."""
        kind = KINDS[provider]
        key = key or kind.key
        headers = {"X-API-KEY": key} if provider == "heyreach" else {"Authorization": f"Bearer {key}"}
        params = {"api_key": key} if provider == "smartlead" else {}
        url = httpx.URL(f"/{provider}{kind.api_path}{path}").copy_merge_params(params)
        return await self.http.request(method, url, headers=headers, json=body)


FIRST = {
    "smartlead": ("GET", "/campaigns"),
    "heyreach": ("POST", "/campaign/GetAll"),
    "emailbison": ("GET", "/campaigns"),
}


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async def send(url: str, body: bytes) -> int:
        made.heard.append((url, orjson.loads(body)))
        made.told.set()
        return made.answer

    world = World(URL, send, reactions=0.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=Simulated(world)), base_url=URL) as http:
        made = Room(world, http)
        yield made


@pytest.mark.parametrize("provider", KINDS)
async def test_a_provider_is_at_its_path_and_knows_its_own_key(provider: str, room: Room) -> None:
    method, path = FIRST[provider]
    seen = await room.ask(provider, method, path, {})
    strange = await room.ask(provider, method, path, {}, key="somebody-elses")

    rows = seen.json() if isinstance(seen.json(), list) else seen.json().get("items") or seen.json()["data"]
    told = (await room.control("GET"))["providers"][provider]
    assert sorted(str(row["id"]) for row in rows) == sorted(told["accounts"][0]["campaigns"])
    assert (told["base_url"], told["api_key"]) == (f"{URL}/{provider}{KINDS[provider].api_path}", KINDS[provider].key)
    assert strange.status_code == 401
    assert str(seen.headers.get("x-ratelimit-limit")) == ("60" if provider == "smartlead" else "None")


async def test_a_provider_does_not_see_where_it_is_mounted(room: Room) -> None:
    wrong = await room.ask("smartlead", "PATCH", "/campaigns/7/status")
    page = (await room.ask("emailbison", "GET", "/campaigns")).json()

    assert "Cannot PATCH /api/v1/campaigns/7/status" in wrong.text
    followed = await room.http.get(
        page["links"]["first"], headers={"Authorization": f"Bearer {KINDS['emailbison'].key}"}
    )
    assert followed.json()["data"] == page["data"]
    assert (await room.http.get("/other/api")).status_code == 404


async def test_time_passes_for_all_and_what_happens_is_told_to_whom_is_registered(room: Room) -> None:
    hook = {"name": "x", "webhook_url": HOOK, "association_type": "user", "event_type_map": {"EMAIL_SENT": True}}
    assert (await room.ask("smartlead", "POST", "/webhook/create", hook)).status_code == 200
    made = (await room.ask("smartlead", "POST", "/campaigns/create", {"name": "Autumn"})).json()["id"]
    await _set_up(room, made)

    told = await room.control("POST", "/clock", {"seconds": 3600})

    assert (told["posted"], told["waiting"]) == (1, 0)
    assert [(url, one["event_type"], one["campaign_id"]) for url, one in room.heard] == [(HOOK, "EMAIL_SENT", made)]
    assert {str(one.now) for one in room.world.simulators()} == {str(room.world.now)}
    (campaign,) = [
        one for one in (await room.control("GET", "/smartlead/truth"))["campaigns"] if one["id"] == str(made)
    ]
    (lead,) = campaign["leads"]
    assert (campaign["status"], lead["email"], lead["sent"]) == ("COMPLETED", "ines@north.example.com", 1)
    notes = (await room.control("GET", "/smartlead/journal"))["notes"]
    (mail,) = lead["messages"]
    (sent,) = [note for note in notes if note["what"] == "sent" and note["campaign"] == str(made)]
    assert (sent["message_key"], sent["lead_key"]) == (mail, lead["key"])
    later = await room.control("GET", f"/smartlead/journal?after={sent['number']}")
    assert later["notes"] == notes[sent["number"] :]


async def _set_up(room: Room, campaign: int) -> None:
    """Sequence, schedule, mailbox, a lead; and go."""
    one = f"/campaigns/{campaign}"
    (mailbox, *_) = (await room.ask("smartlead", "GET", "/email-accounts")).json()
    schedule = {"timezone": "UTC", "days_of_the_week": [1], "start_hour": "09:00", "end_hour": "17:00"}
    step = {"seq_number": 1, "seq_delay_details": {"delay_in_days": 0}, "subject": "Hi", "email_body": "<p>Hi</p>"}
    for path, body in (
        ("/schedule", {**schedule, "min_time_btw_emails": 10, "max_new_leads_per_day": 20}),
        ("/sequences", {"sequences": [step]}),
        ("/email-accounts", {"email_account_ids": [mailbox["id"]]}),
        ("/leads", {"lead_list": [{"email": "ines@north.example.com"}]}),
        ("/status", {"status": "START"}),
    ):
        assert (await room.ask("smartlead", "POST", one + path, body)).status_code == 200


async def test_held_webhooks_wait_until_they_are_asked_for_and_are_posted_again_if_not_heard(room: Room) -> None:
    room.world.holds_webhooks, room.answer = True, 503
    register = {"name": "x", "url": HOOK, "events": ["lead_replied"]}
    assert (await room.ask("emailbison", "POST", "/webhook-url", register)).status_code == 201
    campaign, lead = await _somebody_written_to(room, "emailbison")
    reaction = {"what": "replies", "campaign": campaign, "lead": lead["email"], "text": "Please call"}

    assert (await room.control("POST", "/emailbison/reactions", reaction, status=201))["waiting"] == 1
    assert (await room.control("POST", "/clock", {"seconds": 1}))["posted"] == 0
    assert await room.control("POST", "/webhooks") == {"posted": 1, "waiting": 1}
    room.answer = 200
    await room.control("POST", "/clock", {"seconds": 60})
    assert await room.control("POST", "/webhooks") == {"posted": 1, "waiting": 0}

    (post,) = (await room.control("GET", "/emailbison/webhooks"))["posts"]
    assert (post["attempts"], post["acknowledged"]) == (2, 1)
    assert [one["data"]["reply"]["text_body"] for _, one in room.heard] == ["Please call"] * 2
    assert room.heard[0][1]["event"]["instance_url"] == f"{URL}/emailbison"


async def _somebody_written_to(room: Room, provider: str) -> tuple[str, Any]:
    truth = await room.control("GET", f"/{provider}/truth")
    return next(
        (campaign["id"], lead)
        for campaign in truth["campaigns"]
        for lead in campaign["leads"]
        if lead["messages"] and (not lead["replied"] if "replied" in lead else lead["message_status"] == "MessageSent")
    )


@pytest.mark.parametrize(
    ("provider", "what"),
    [
        *[("smartlead", what) for what in ("opens", "clicks", "replies", "bounces", "unsubscribes")],
        *[("emailbison", what) for what in ("opens", "replies", "bounces", "unsubscribes")],
        ("heyreach", "replies"),
    ],
)
async def test_a_lead_does_what_it_is_told_to(provider: str, what: str, room: Room) -> None:
    campaign, lead = await _somebody_written_to(room, provider)
    before = await room.control("GET", f"/{provider}/truth")
    body = {"what": what, "campaign": campaign, "lead": lead.get("email") or lead["profile_url"]}

    await room.control("POST", f"/{provider}/reactions", body, status=201)

    after = await room.control("GET", f"/{provider}/truth")
    changed = {name for name, value in after["totals"].items() if value != before["totals"][name]}
    figure = {"opens": "opened", "clicks": "clicked", "replies": "replied", "bounces": "bounced"}.get(
        what, "unsubscribed"
    )
    assert figure in changed
    assert changed <= {figure, f"{figure}_leads"}


async def test_nobody_reacts_to_what_was_not_sent(room: Room) -> None:
    campaign, lead = await _somebody_written_to(room, "heyreach")
    body = {"what": "accepts", "campaign": campaign, "lead": lead["id"]}
    await room.control("POST", "/heyreach/reactions", {**body, "what": "opens"}, status=422)
    await room.control("POST", "/heyreach/reactions", {**body, "campaign": "1"}, status=404)
    await room.control("POST", "/heyreach/reactions", {**body, "lead": "nobody"}, status=404)
    assert lead["connection_status"] != "ConnectionSent"
    await room.control("POST", "/heyreach/reactions", body, status=409)


async def test_faults_are_met_by_the_calls_they_are_meant_for_until_all_is_calm(room: Room) -> None:
    fault = {"kind": "rate_limited", "times": 1, "call": "POST /campaign/Pause", "retry_after_seconds": 7}
    await room.control("POST", "/heyreach/faults", fault, status=201)
    await room.control("POST", "/heyreach/faults", {"kind": "page", "share": 1, "call": "GetLeads"}, status=201)
    await room.control("POST", "/heyreach/revocations", {"api_key": KINDS["heyreach"].key}, status=201)

    paused = await room.ask("heyreach", "POST", "/campaign/Pause?campaignId=1")
    assert (paused.status_code, paused.headers["retry-after"]) == (429, "7")
    assert (await room.ask("heyreach", "GET", "/auth/CheckApiKey")).status_code == 401
    assert (await room.ask("smartlead", "GET", "/campaigns")).status_code == 200

    told = await room.control("GET", "/heyreach/faults")
    assert told["met"] == [{"kind": "rate_limited", "call": "POST /campaign/Pause"}]
    assert [one["kind"] for one in told["wanted"]] == ["page"]
    assert set(told["kinds"]) == set(FaultKind)
    calm = await room.control("DELETE", "/heyreach/faults")
    assert (calm["wanted"], calm["revoked"]) == ([], [])
    assert (await room.ask("heyreach", "GET", "/auth/CheckApiKey")).status_code == 200


async def test_webhooks_can_be_kept_back_and_repeated(room: Room) -> None:
    hook = {"webhookName": "Ops", "webhookUrl": HOOK, "eventType": "EVERY_MESSAGE_REPLY_RECEIVED", "campaignIds": []}
    assert (await room.ask("heyreach", "POST", "/webhooks/CreateWebhook", hook)).status_code == 200
    campaign, lead = await _somebody_written_to(room, "heyreach")
    body = {"what": "replies", "campaign": campaign, "lead": lead["id"]}
    for faults, posted in (({"silent": True}, 0), ({"duplicates": 1}, 2), ({"longest_delay_seconds": 9e6}, 0)):
        await room.control("PUT", "/heyreach/webhook-faults", faults)
        await room.control("POST", "/heyreach/reactions", body, status=201)
        assert (await room.control("POST", "/webhooks"))["posted"] == posted
    posts = (await room.control("GET", "/heyreach/webhooks"))["posts"]
    assert [(one["is_withheld"], one["is_duplicate"]) for one in posts] == [
        (True, False), (False, False), (False, True), (False, False)
    ]  # fmt: skip


async def test_another_account_has_its_own_key_campaigns_and_calls(room: Room) -> None:
    body = {"api_key": "99|another-key"}
    made = await room.control("POST", "/emailbison/accounts", body, status=201)
    await room.control("POST", "/emailbison/accounts", body, status=409)

    mine, others = [
        {row["id"] for row in (await room.ask("emailbison", "GET", "/campaigns", key=key)).json()["data"]}
        for key in (None, made["api_key"])
    ]
    assert mine
    assert not mine & others
    book = await room.control("GET", "/emailbison/calls?api_key=99|another-key")
    assert (book["by_endpoint"], book["most_in_a_minute"]) == ({"GET /campaigns": 1}, 1)


async def test_each_key_is_held_to_its_limit(room: Room) -> None:
    await room.control("PUT", "/smartlead/limit", {"calls_per_minute": 2})
    statuses = [(await room.ask("smartlead", "GET", "/campaigns")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    await room.control("PUT", "/smartlead/limit", {"calls_per_minute": None})
    assert (await room.ask("smartlead", "GET", "/campaigns")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/clock", {"seconds": -1}, 422),
        ("POST", "/clock", {"seconds": 1, "hours": 1}, 422),
        ("POST", "/other/faults", {"kind": "page"}, 404),
        ("POST", "/smartlead/faults", {"kind": "sunshine"}, 422),
        ("POST", "/smartlead/revocations", {"api_key": "nobody's"}, 404),
        ("GET", "/smartlead/truth?api_key=nobodys", None, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(method: str, path: str, body: object, status: int, room: Room) -> None:
    assert (await room.control(method, path, body, status=status))["detail"]


async def test_what_a_call_changes_is_told_without_being_asked_for(room: Room) -> None:
    """The way it is served: the world lives beside the calls."""
    living = asyncio.create_task(room.world.live(speed=0))
    hook = {"name": "x", "webhook_url": HOOK, "association_type": "user"}
    types = {"CAMPAIGN_STATUS_CHANGED": True}
    await room.ask("smartlead", "POST", "/webhook/create", {**hook, "event_type_map": types})
    (first, *_) = (await room.ask("smartlead", "GET", "/campaigns")).json()
    await room.ask("smartlead", "POST", f"/campaigns/{first['id']}/status", {"status": "PAUSED"})
    async with asyncio.timeout(5):
        await room.told.wait()
    living.cancel()
    assert room.heard[0][1]["current_status"] == "PAUSED"


async def test_a_port_that_somebody_has_is_told_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(PortTaken, match=r"cannot listen on 127\.0\.0\.1 port") as refused:
            await serve(
                host="127.0.0.1", port=taken.getsockname()[1], seed=1, reactions=0, speed=0, limited=True,
                holds_webhooks=False, as_json=True,
            )  # fmt: skip
    assert "\n" not in str(refused.value)
