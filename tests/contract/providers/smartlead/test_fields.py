"""The simulator answers with no field that the provider does not have, on no route that it does not have."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.providers.simulation import FaultKind
from libs.providers.simulation.callbook import endpoint_of
from libs.providers.smartlead.simulator.api import ROUTES
from tests.contract.providers.shapes import unknown
from tests.contract.providers.smartlead.fields import ERRORS, FIELDS
from tests.unit.libs.providers.smartlead.stage import URL, Stage, frozen, make_stage

RECORDED = sorted((Path(__file__).parent / "answers").glob("*.json"))


class Recorder:
    """Calls as any third-party client does, and keeps every answer."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.answers: list[tuple[str, httpx.Response]] = []

    async def __call__(self, call: str, json: object = None, **params: object) -> Any:
        method, _, path = call.partition(" ")
        query = {"api_key": self._stage.simulator.api_key, **{name: str(value) for name, value in params.items()}}
        answer = await self._stage.http.request(method, URL + path, params=query, json=json)
        self.answers.append((f"{method} {endpoint_of(path)}", answer))
        return answer.json() if "json" in answer.headers.get("content-type", "") and answer.content else answer.text


Ask = Callable[..., Awaitable[Any]]


async def everything(stage: Stage, ask: Ask) -> None:
    """Every route, in a story that a third-party client might tell."""
    account = stage.simulator.account
    stage.simulator.play(900)
    await ask("GET /campaigns")
    await ask("GET /campaigns/", include_tags="true", client_id=111)
    made = (await ask("POST /campaigns/create", {"name": "Autumn", "client_id": 111}))["id"]
    one, mailbox = f"/campaigns/{made}", account.mailboxes[0].id
    schedule = {"timezone": "Europe/Oslo", "days_of_the_week": [1], "start_hour": "09:00", "end_hour": "17:00"}
    await ask(f"POST {one}/schedule", {**schedule, "min_time_btw_emails": 10, "max_new_leads_per_day": 20})
    await ask(f"POST {one}/settings", {"track_settings": ["DONT_TRACK_EMAIL_OPEN"], "unsubscribe_text": "Leave"})
    texts = [{"subject": s, "email_body": "<p>Hi</p>", "variant_label": s} for s in "AB"]
    steps = [{"seq_number": 1, "seq_delay_details": {"delay_in_days": 0}, "seq_variants": texts}]
    manual = {"seq_number": 2, "seq_delay_details": {"delay_in_days": 0}, "seq_type": "MANUAL", "email_body": "Call"}
    last = {"seq_number": 3, "seq_delay_details": {"delay_in_days": 1}, "subject": "", "email_body": "<p>Bye</p>"}
    await ask(f"POST {one}/sequences", {"sequences": [*steps, manual, last]})
    await ask(f"GET {one}/sequences")
    await ask(f"POST {one}/email-accounts", {"email_account_ids": [mailbox, account.mailboxes[1].id]})
    await ask(f"DELETE {one}/email-accounts", {"email_account_ids": [account.mailboxes[1].id]})
    await ask(f"GET {one}/email-accounts")
    people = [{"email": f"{name}@north.example.com", "first_name": name} for name in ("ines", "leo", "ana", "bo")]
    await ask("POST /leads/add-domain-block-list", {"domain_block_list": ["blocked.example.com"], "client_id": None})
    await ask(f"POST {one}/leads", {"lead_list": [*people, {"email": "no"}, {"email": "x@blocked.example.com"}]})
    await ask("DELETE /leads/delete-domain-block-list", id=next(iter(account.blocked)))
    await ask(f"POST {one}/status", {"status": "START"})
    stage.simulator.advance(timedelta(hours=1))
    roster = (await ask(f"GET {one}/leads", limit=100))["data"]
    ines, leo, ana, bo = (row["lead"]["id"] for row in roster)
    found = await ask("GET /leads/", email="ines@north.example.com")
    assert found["id"] == str(ines)
    await ask(f"GET /leads/{ines}")
    await ask(f"GET /leads/{ines}/campaigns")
    await ask("GET /leads/fetch-categories")
    await ask(f"POST {one}/leads/{ines}", {"email": "ines@north.example.com", "location": "Oslo"})
    await ask(f"POST {one}/leads/{ines}/pause", {})
    await ask(f"POST {one}/leads/{ines}/resume", {"resume_lead_with_delay_days": None})
    await ask(f"POST {one}/leads/{roster[0]['campaign_lead_map_id']}/manual-complete")
    await ask(f"POST {one}/leads/{ines}/category", {"category_id": 1, "pause_lead": False})
    await ask(f"POST {one}/leads/{leo}/unsubscribe", {})
    await ask(f"POST /leads/{ana}/unsubscribe", {})
    await ask(f"DELETE {one}/leads/{bo}")
    campaign = account.campaign(str(made))
    assert campaign is not None
    enrolment = campaign.enrolment(str(ines))
    assert enrolment is not None
    stage.simulator.live.replies(campaign, enrolment, enrolment.sent[0], "Tell me more")
    history = (await ask(f"GET {one}/leads/{ines}/message-history"))["history"]
    reply = {"email_stats_id": history[-1]["stats_id"], "email_body": "<p>Gladly</p>"}
    await ask(f"POST {one}/reply-email-thread", {**reply, "reply_message_id": history[-1]["message_id"]})
    stage.simulator.advance(timedelta(minutes=5))
    await ask(f"GET {one}/leads/{ines}/message-history")
    body = {"offset": 0, "limit": 20, "filters": {"emailStatus": "Replied"}, "sortBy": "REPLY_TIME_DESC"}
    await ask("POST /master-inbox/inbox-replies", body, fetch_message_history="true")
    await ask(f"GET /master-inbox/{roster[0]['campaign_lead_map_id']}")
    for each in account.campaigns:
        await ask(f"GET /campaigns/{each.id}")
        await ask(f"GET /campaigns/{each.id}/statistics", limit=1000)
        await ask(f"GET /campaigns/{each.id}/analytics")
    days = {"start_date": "2026-07-01", "end_date": "2026-07-21"}
    await ask(f"GET {one}/analytics-by-date", **days)
    await ask(f"GET {one}/sequence-analytics", **days)
    await ask(f"GET {one}/leads-export")
    hook = {"id": None, "name": "Ops", "webhook_url": "https://ops.example.com", "event_types": ["EMAIL_REPLY"]}
    listed = await ask(f"POST {one}/webhooks", {**hook, "categories": ["Interested"]})
    await ask(f"POST {one}/webhooks", {**hook, "id": listed["id"], "name": "Ops 2"})
    await ask(f"GET {one}/webhooks")
    await ask(f"DELETE {one}/webhooks", {"id": listed["id"]})
    wide = {"name": "All", "webhook_url": "https://ops.example.com", "association_type": "user"}
    registered = (await ask("POST /webhook/create", {**wide, "event_type_map": {"EMAIL_REPLY": True}}))["id"]
    await ask(f"GET /webhook/{registered}")
    await ask(f"DELETE /webhook/delete/{registered}")
    client = {
        "name": "Pat",
        "email": "pat@example.com",
        "permission": ["full_access"],
        "password": "dummy-client-password",
    }
    await ask("POST /client/save", client)
    await ask("GET /client/")
    new = {"from_name": "Mo", "from_email": "mo@reach.example.com", "password": "dummy-mailbox-password-new"}
    saved = await ask("POST /email-accounts/save", {"id": None, **new})
    await ask(f"GET /email-accounts/{saved['emailAccountId']}")
    await ask("GET /email-accounts", limit=100)
    await ask(f"DELETE {one}")


async def everything_wrong(stage: Stage, ask: Ask) -> None:
    """Every way to be refused."""
    one = f"/campaigns/{stage.simulator.campaign_ids[0]}"
    await ask("GET /campaigns/1")
    await ask("DELETE /campaigns/1")
    await ask(f"POST {one}/status", {"status": "ACTIVE"})
    await ask(f"POST {one}/status", {"statuz": "START"})
    await ask(f"POST {one}/sequences", {"sequences": [{"seq_number": 1, "sequence_variants": []}]})
    await ask(f"POST {one}/leads", {"lead_list": [{"email": "x@example.com", "colour": "red"}]})
    await ask(f"POST {one}/leads", {"lead_list": [{"email": f"p{n}@x.example.com"} for n in range(401)]})
    await ask(f"POST {one}/webhooks", {"name": "x", "webhook_url": "y", "event_types": ["EMAIL_OPENED"]})
    await ask(f"GET {one}/leads", limit=101)
    await ask(f"GET {one}/statistics", limit=1001)
    await ask("POST /master-inbox/inbox-replies", {"limit": 21})
    await ask(f"GET {one}/analytics-by-date", start_date="yesterday", end_date="2026-07-21")
    await ask(f"POST {one}/schedule", {"timezone": "x", "min_time_btw_emails": 1})
    client = {"name": "Pat", "email": "client111@agency.example.com", "permission": [], "password": "x"}
    await ask("POST /client/save", client)
    known = stage.simulator.account.mailboxes[0].address
    await ask("POST /email-accounts/save", {"from_name": "x", "from_email": known, "password": "x"})
    stage.app.faults.next(FaultKind.RATE_LIMITED)
    await ask("GET /campaigns")
    stage.app.faults.next(FaultKind.SERVER_ERROR)
    await ask("GET /campaigns")
    stage.app.revoked.add(stage.simulator.api_key)
    await ask("GET /campaigns")


async def recorded_from(story: Callable[[Stage, Ask], Awaitable[None]]) -> list[tuple[str, httpx.Response]]:
    with frozen():
        stage = make_stage()
        async with stage.http:
            recorder = Recorder(stage)
            await story(stage, recorder)
            return recorder.answers


def routes() -> set[str]:
    plain = (r"(?P<campaign>\d+)", r"(?P<lead>\d+)", r"(?P<map>\d+)", r"(?P<webhook>\d+)", r"(?P<mailbox>\d+)")
    found = set()
    for method, pattern, _ in ROUTES:
        path = pattern.pattern
        for each in plain:
            path = path.replace(each, "{id}")
        found.add(f"{method} {path}")
    return found


def test_every_route_is_one_that_the_provider_has() -> None:
    assert routes() == set(FIELDS)


async def test_every_answer_of_every_route_has_known_fields_only() -> None:
    answers = await recorded_from(everything)

    refused = [(call, answer.status_code, answer.text[:200]) for call, answer in answers if answer.status_code != 200]
    assert refused == []
    assert {call.rstrip("/") for call, _ in answers} == routes()
    for call, answer in answers:
        if "json" in answer.headers["content-type"]:
            assert unknown(answer.json(), FIELDS[call.rstrip("/")]) == set(), call


async def test_every_refusal_has_one_of_the_shapes_that_refusals_have() -> None:
    answers = await recorded_from(everything_wrong)

    statuses = [answer.status_code for _, answer in answers]
    assert statuses[0] == 200  # a missing record, told by {}
    assert answers[0][1].json() == {}
    assert all(status >= 400 for status in statuses[1:])
    assert {400, 401, 404, 429, 500} <= set(statuses)
    for call, answer in answers[1:]:
        assert unknown(answer.json(), ERRORS) == set(), call


async def test_the_export_is_a_table_in_the_code_page_of_a_desktop() -> None:
    answers = await recorded_from(everything)
    (answer,) = [answer for call, answer in answers if call.endswith("leads-export")]

    assert answer.headers["content-type"] == "text/csv"  # and no charset
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("cp1252"))))
    assert {row["first_name"] for row in rows} == {"ines", "leo", "ana"}
    assert list(rows[0])[:4] == ["id", "campaign_lead_map_id", "status", "category"]


def test_an_invented_field_is_noticed() -> None:
    assert unknown([{"id": 1, "colour": "red"}], FIELDS["GET /campaigns"]) == {"[].colour"}
    assert unknown({"history": [{"direction": "sent"}]}, FIELDS["GET /campaigns/{id}/leads/{id}/message-history"]) == {
        "history[].direction"
    }
    assert unknown({"ok": True, "data": {"event_type_map": {"X": True}}}, FIELDS["GET /webhook/{id}"]) == set()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_answers_have_known_fields_only(path: Path) -> None:
    for step in json.loads(path.read_text())["exchange"]:
        if "body" not in step:
            continue
        known = FIELDS[endpoint_of(step["request"]).rstrip("/")]
        is_refusal = step.get("status", 200) >= 400 or (
            isinstance(step["body"], dict) and step["body"].get("ok") is False
        )
        assert unknown(step["body"], ERRORS if is_refusal else known) == set()
