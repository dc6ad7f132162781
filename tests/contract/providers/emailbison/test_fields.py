"""The simulator answers with no field that the provider does not have, on no route that it does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.providers.emailbison.simulator.api import ROUTES
from libs.providers.simulation import FaultKind
from tests.contract.providers.emailbison.fields import ERRORS, FIELDS
from tests.contract.providers.shapes import unknown
from tests.unit.libs.providers.emailbison.stage import URL, Stage, frozen, make_stage

RECORDED = sorted((Path(__file__).parent / "answers").glob("*.json"))
Ask = Callable[..., Awaitable[Any]]


def endpoint_of(call: str) -> str:
    """With {id} for a number, and for a lead's address."""
    return re.sub(r"/(\d+|[^/]+@[^/]+)(?=/|$)", "/{id}", call.removesuffix("/"))


class Recorder:
    """Calls as any third-party client does, and keeps every answer."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.answers: list[tuple[str, httpx.Response]] = []

    async def __call__(self, call: str, json: object = None, **params: object) -> Any:
        method, _, path = call.partition(" ")
        headers = {"Authorization": f"Bearer {self._stage.simulator.api_key}"}
        query = {name: str(value) for name, value in params.items()}
        answer = await self._stage.http.request(method, f"{URL}/api{path}", params=query, json=json, headers=headers)
        self.answers.append((f"{method} {endpoint_of(path)}", answer))
        return answer.json()


async def everything(stage: Stage, ask: Ask) -> None:
    """Every route, in a story that a third-party client might tell."""
    account = stage.simulator.account
    stage.simulator.play(900)
    await ask("GET /users")
    await ask("GET /workspaces/v1.1")
    await ask("GET /campaigns", {"status": "active"})  # the body of a GET counts
    await ask("GET /campaigns", page=1)
    hook = {"name": "Ops", "url": "https://ops.example.com", "events": ["email_sent", "lead_replied"]}
    registered = (await ask("POST /webhook-url", hook))["data"]["id"]
    await ask(f"PUT /webhook-url/{registered}", {**hook, "name": "Ops 2"})
    await ask(f"GET /webhook-url/{registered}")
    await ask("GET /webhook-url")
    await ask("GET /webhook-events/event-types")
    made = (await ask("POST /campaigns", {"name": "Autumn"}))["data"]["id"]
    one, mailbox = f"/campaigns/{made}", account.mailboxes[0].id
    days = dict.fromkeys("monday tuesday wednesday thursday friday saturday sunday".split(), True)
    hours = {**days, "start_time": "09:00", "end_time": "17:00", "timezone": "Europe/Oslo", "save_as_template": False}
    await ask(f"PATCH {one}/update", {"name": "Autumn 2", "open_tracking": True})
    await ask(f"POST {one}/schedule", hours)
    await ask(f"PUT {one}/schedule", hours)
    await ask(f"GET {one}/schedule")
    await ask(f"POST {one}/attach-sender-emails", {"sender_email_ids": [mailbox, account.mailboxes[1].id]})
    await ask(f"DELETE {one}/remove-sender-emails", {"sender_email_ids": [account.mailboxes[1].id]})
    await ask(f"GET {one}/sender-emails")
    text = {"email_subject": "Night crews", "email_body": "<p>Hi</p>", "wait_in_days": 2}
    texts = [
        {**text, "order": 1},
        {**text, "order": 1, "variant": True, "variant_from_step": 1},
        {**text, "order": 2, "thread_reply": True},
    ]
    steps = f"/campaigns/v1.1/{made}/sequence-steps"
    sequence = (await ask(f"POST {steps}", {"title": "A", "sequence_steps": texts}))["data"]
    first, _, second = sequence["sequence_steps"]
    change = {"title": "A", "sequence_steps": [{**first, "email_subject": "Crews"}]}
    await ask(f"PUT /campaigns/v1.1/sequence-steps/{sequence['id']}", change)
    await ask(f"DELETE /campaigns/sequence-steps/{second['id']}")
    await ask(f"GET {steps}")
    await ask(f"GET {one}/sequence-steps")
    await ask("POST /custom-variables", {"name": "Phone"})
    await ask("GET /custom-variables")
    await ask("GET /tags")
    lead = {"first_name": "Dana", "last_name": "Ruiz", "custom_variables": [{"name": "phone", "value": "15550100"}]}
    await ask("POST /leads", {"email": "dana@acme.example.com", **lead})
    people = [{"email": f"{name}@acme.example.com", "first_name": name} for name in ("dana", "leo", "ana", "bo")]
    rows = await ask("POST /leads/create-or-update/multiple", {"existing_lead_behavior": "patch", "leads": people})
    dana, leo, ana, bo = (row["id"] for row in rows["data"])
    await ask(f"POST {one}/leads/attach-leads", {"lead_ids": [dana, leo, ana, bo]})
    await ask(f"PATCH {one}/resume")
    stage.simulator.advance(timedelta(hours=1))
    await ask(f"PATCH {one}/pause")
    await ask(f"PATCH {one}/resume")
    stage.simulator.advance(timedelta(hours=1))
    await ask("GET /leads", pagination_type="cursor")
    await ask("GET /leads/dana@acme.example.com")
    (many,) = (await ask("POST /leads/multiple", {"leads": [{"email": "many@acme.example.com", **lead}]}))["data"]
    await ask(f"PATCH /leads/{many['id']}", {"title": "COO"})
    await ask("PUT /leads/many@acme.example.com", {"first_name": "Many", "last_name": "More"})
    await ask(f"DELETE /leads/{many['id']}")
    await ask(f"POST {one}/leads/stop-future-emails", {"lead_ids": [leo]})
    await ask(f"DELETE {one}/leads", {"lead_ids": [bo]})
    await ask(f"PATCH /leads/{ana}/unsubscribe")
    await ask(f"GET {one}/leads")
    campaign = account.campaign(str(made))
    assert campaign is not None
    enrolment = campaign.enrolment(dana)
    assert enrolment is not None
    row = stage.simulator.live.replies(campaign, enrolment, enrolment.sent[0], "Send details please.")
    for each in (f"/leads/{dana}", one):
        await ask(f"GET {each}/scheduled-emails")
        await ask(f"GET {each}/replies", folder="all", pagination_type="cursor")
    await ask(f"GET /leads/{dana}/sent-emails")
    to = [{"name": "Dana", "email_address": "dana@acme.example.com"}]
    answer = {"message": "<p>Gladly</p>", "content_type": "html", "sender_email_id": mailbox, "to_emails": to}
    await ask(f"POST /replies/{row.id}/reply", {**answer, "cc_emails": to, "bcc_emails": []})
    await ask(f"PATCH /replies/{row.id}/mark-as-interested")
    await ask(f"PATCH /replies/{row.id}/mark-as-not-interested", {"skip_webhooks": True})
    await ask(f"PATCH /replies/{row.id}/mark-as-read-or-unread", {"read": True})
    await ask("GET /replies", folder="all")
    await ask(f"GET /replies/{row.id}")
    await ask(f"GET /replies/{row.id}/conversation-thread")
    await ask("GET /sender-emails")
    await ask("GET /events", type="email_sent")
    await ask(f"POST {one}/stats", {"start_date": "2026-09-01", "end_date": "2026-09-20"})
    await ask(f"PATCH {one}/archive")
    await ask(f"GET {one}")
    await ask(f"DELETE {one}")
    await ask(f"DELETE /webhook-url/{registered}")


async def everything_wrong(stage: Stage, ask: Ask) -> None:
    """Every way to be refused."""
    first, *_ = stage.simulator.account.campaigns
    one = f"/campaigns/{first.id}"
    first.schedule = None
    await ask(f"GET {one}/schedule")
    await ask(f"POST {one}/attach-sender-emails", {"sender_email_ids": first.sender_ids})
    await ask("GET /campaigns/1")
    await ask(f"GET /campaigns/{stage.another.campaign_ids[0]}")
    await ask("GET /nothing")
    await ask(f"POST {one}")
    await ask("POST /campaigns", {})
    await ask(f"PATCH {one}/update", {"max_new_leads_per_day": 2000})
    await ask(f"PATCH {one}/resume")
    await ask(f"DELETE {one}/remove-sender-emails", {"sender_email_ids": first.sender_ids})
    text = {"email_subject": "x", "email_body": "x", "order": 1, "wait_in_days": 0}
    await ask(f"POST /campaigns/v1.1/{first.id}/sequence-steps", {"title": "x", "sequence_steps": [text]})
    await ask(f"PUT /campaigns/v1.1/sequence-steps/{first.sequence_id}", {"sequence_steps": [text]})
    await ask("POST /leads", {"email": "nobody"})
    await ask("POST /leads/create-or-update/multiple", {"existing_lead_behavior": "patch", "leads": [{}] * 501})
    strange = {"email": "x@acme.example.com", "custom_variables": [{"name": "colour", "value": "red"}]}
    await ask("POST /leads", strange)
    await ask("POST /custom-variables", {"name": "Hook"})
    await ask(f"POST {one}/leads/attach-leads", {"lead_ids": [1]})
    await ask("POST /webhook-url", {"name": "x", "url": "y", "events": ["email.sent"]})
    await ask("GET /leads", page=501)
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
    found = set()
    for method, pattern, _ in ROUTES:
        path = re.sub(r"\(\?P<\w+>(\\d\+|\[\^/\]\+)\)", "{id}", pattern.pattern).replace("\\", "")
        found.add(f"{method} {path}")
    return found


def test_every_route_is_one_that_the_provider_has() -> None:
    assert routes() == set(FIELDS)


async def test_every_answer_of_every_route_has_known_fields_only() -> None:
    answers = await recorded_from(everything)

    refused = [(call, answer.status_code, answer.text[:200]) for call, answer in answers if answer.status_code >= 300]
    assert refused == []
    assert {call for call, _ in answers} == routes()
    for call, answer in answers:
        assert unknown(answer.json(), FIELDS[call]) == set(), call


async def test_every_refusal_has_one_of_the_shapes_that_refusals_have() -> None:
    answers = await recorded_from(everything_wrong)

    statuses = [answer.status_code for _, answer in answers]
    assert statuses[:2] == [200, 200]  # a 200 that says no, in the wrapper and without
    assert answers[0][1].json()["data"]["success"] is answers[1][1].json()["success"] is False
    assert all(status >= 400 for status in statuses[2:])
    assert {400, 401, 403, 404, 405, 422, 429, 500} == set(statuses[2:])
    for call, answer in answers:
        assert unknown(answer.json(), ERRORS) == set(), call


def test_an_invented_field_is_noticed() -> None:
    assert unknown({"data": [{"id": 1, "colour": "red"}]}, FIELDS["GET /campaigns"]) == {"data[].colour"}
    assert unknown({"data": {"subject": "x", "email_subject": "x"}}, FIELDS["GET /replies/{id}"]) == {
        "data.email_subject"
    }


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_answers_have_known_fields_only(path: Path) -> None:
    for step in json.loads(path.read_text())["exchange"]:
        body = step["body"]
        method, _, route = step["request"].partition(" /api")
        told = body.get("data") if isinstance(body.get("data"), dict) else {}
        is_refusal = step.get("status", 200) >= 400 or False in (body.get("success"), told.get("success"))
        known = ERRORS if is_refusal else FIELDS[f"{method} {endpoint_of(route)}"]
        assert unknown(body, known) == set()
