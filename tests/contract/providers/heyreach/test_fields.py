"""The simulator answers with no field that the provider does not have, on no route that it does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from libs.providers.heyreach import events
from libs.providers.heyreach.simulator.api import ROUTES
from libs.providers.simulation import FaultKind
from tests.contract.providers.heyreach.fields import ERRORS, FIELDS, STATS
from tests.contract.providers.shapes import unknown
from tests.unit.libs.providers.heyreach.stage import HOOK, NOW, URL, Stage, frozen, make_stage, profile

RECORDED = sorted((Path(__file__).parent / "answers").glob("*.json"))
_CHATROOM = re.compile(r"(?<=/inbox/GetChatroom)/[^/]+/.+")
DAYS = {"startDate": "2026-09-01T00:00:00Z", "endDate": "2026-12-01T00:00:00Z"}


def endpoint_of(call: str) -> str:
    return _CHATROOM.sub("/{sender}/{conversation}", call)


class Recorder:
    """Calls as any third-party client does, and keeps every answer."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.answers: list[tuple[str, httpx.Response]] = []

    async def __call__(self, call: str, json: object = None, **params: object) -> Any:
        method, _, path = call.partition(" ")
        headers, query = {"X-API-KEY": self._stage.simulator.api_key}, {name: str(it) for name, it in params.items()}
        answer = await self._stage.http.request(method, URL + path, headers=headers, params=query, json=json)
        self.answers.append((endpoint_of(call), answer))
        return answer.json() if answer.content else None


Ask = Callable[..., Awaitable[Any]]


async def everything(stage: Stage, ask: Ask) -> None:
    """Every route, in a story that a third-party client might tell."""
    account = stage.simulator.account
    stage.simulator.play(600)
    one, draft, sender = stage.campaign.id, stage.draft.id, stage.campaign.senders[0].id
    await ask("GET /auth/CheckApiKey")
    await ask("POST /li_account/GetAll", {"offset": 0, "limit": 100, "keyword": ""})
    await ask("GET /li_account/GetById", accountId=sender)
    await ask("POST /campaign/GetAll", {"offset": 0, "limit": 100, "statuses": ["IN_PROGRESS"], "accountIds": []})
    await ask("GET /campaign/GetById", campaignId=one)
    tree = await ask("GET /campaign/GetCampaignSequence", campaignId=one)
    await ask("POST /campaign/UpdateSequence", {"campaignId": draft, "sequence": tree})
    await ask("POST /campaign/StartCampaign", campaignId=draft)
    people = [
        {"linkedInAccountId": sender, "lead": {"firstName": name, "lastName": "Example", "profileUrl": profile(name)}}
        for name in ("ines", "leo")
    ]
    people[0]["lead"]["customUserFields"] = [{"name": "opener", "value": "Hi"}]  # type: ignore[index]
    await ask("POST /campaign/AddLeadsToCampaignV2", {"campaignId": draft, "accountLeadPairs": people})
    assert await ask("POST /campaign/AddLeadsToCampaign", {"campaignId": draft, "accountLeadPairs": people}) == 0
    stage.simulator.advance(timedelta(hours=1))
    enrolment = stage.enrolment(profile("ines"), stage.draft)
    stage.simulator.live.accepts(stage.draft, enrolment)
    stage.simulator.advance(timedelta(days=1))
    stage.simulator.live.replies(stage.draft, enrolment, "Tell me more")
    await ask("POST /campaign/StopLeadInCampaign", {"campaignId": draft, "leadUrl": profile("leo")})
    await ask("POST /campaign/Pause", campaignId=one)
    await ask("POST /campaign/Resume", campaignId=one)
    for campaign in account.campaigns:
        await ask("POST /campaign/GetLeadsFromCampaign", {"campaignId": campaign.id, "offset": 0, "limit": 100})
    await ask("POST /campaign/GetCampaignsForLead", {"profileUrl": profile("ines"), "offset": 0, "limit": 10})
    lists = await ask("POST /list/GetAll", {"offset": 0, "limit": 100})
    for each in lists["items"]:
        await ask("GET /list/GetById", listId=each["id"])
        await ask("POST /list/GetLeadsFromList", {"listId": each["id"], "offset": 0, "limit": 1000})
    mine = (await ask("POST /list/CreateEmptyList", {"name": "Mine"}))["id"]
    people = [{"profileUrl": profile(name), "firstName": name} for name in ("ada", "bo")]
    await ask("POST /list/AddLeadsToList", {"listId": mine, "leads": people[:1]})
    await ask("POST /list/AddLeadsToListV2", {"listId": mine, "leads": people})
    (first, _) = (await ask("POST /list/GetLeadsFromList", {"listId": mine}))["items"]
    await ask("DELETE /list/DeleteLeadsFromList", {"listId": mine, "leadMemberIds": [first["linkedin_id"]]})
    urls = {"listId": mine, "profileUrls": [profile("ada"), profile("bo")]}
    assert await ask("DELETE /list/DeleteLeadsFromListByProfileUrl", urls) == {"notFoundInList": ["ada-example"]}
    await ask("POST /list/GetListsForLead", {"profileUrl": profile("ines")})
    await ask("POST /lead/GetLead", {"profileUrl": profile("ines")})
    tags = {"leadProfileUrl": profile("ines"), "tags": ["Pilot"], "createTagIfNotExisting": True}
    await ask("POST /lead/AddTags", tags)
    await ask("POST /lead/ReplaceTags", tags | {"tags": ["Later"]})
    assert await ask("POST /lead/GetTags", {"profileUrl": profile("ines")}) == {"tags": ["Later"]}
    met = await ask("POST /MyNetwork/IsConnection", {"senderAccountId": sender, "leadProfileUrl": profile("ines")})
    assert met == {"isConnection": True}
    by_offset = {"filters": {"seen": None}, "offset": 0, "limit": 100}
    await ask("POST /inbox/GetConversations", by_offset)
    await ask("POST /inbox/GetConversationsV2", by_offset)
    page = await ask("POST /inbox/GetConversationsV3", {"filters": {}, "from": "2026-10-01T00:00:00Z"})
    assert len(page["items"]) == 10
    await ask("POST /inbox/GetConversationsV3", {"filters": {}, "limit": 100, "cursor": page["nextCursor"]})
    first = page["items"][0]
    await ask(f"GET /inbox/GetChatroom/{first['linkedInAccountId']}/{quote(first['id'], safe='')}")
    thread = {"conversationId": first["id"], "linkedInAccountId": first["linkedInAccountId"]}
    await ask("POST /inbox/SendMessage", {**thread, "message": "Gladly"})
    await ask("POST /inbox/SetSeenStatus", {**thread, "seen": True})
    wanted = {"accountIds": [], "campaignIds": [], **DAYS}
    await ask("POST /stats/GetOverallStats", wanted)
    await ask("POST /stats/GetOverallStatsByCampaign", wanted)
    hook = {"webhookName": "Ops", "webhookUrl": HOOK, "eventType": events.MESSAGE_SENT}
    made = (await ask("POST /webhooks/CreateWebhook", hook))["webhookId"]
    await ask("GET /webhooks/GetWebhookById", webhookId=made)
    await ask("PATCH /webhooks/UpdateWebhook", {"isActive": False}, webhookId=made)
    await ask("POST /webhooks/GetAllWebhooks", {"offset": 0, "limit": 100})
    await ask("DELETE /webhooks/DeleteWebhook", webhookId=made)


async def everything_wrong(stage: Stage, ask: Ask) -> None:
    """Every way to be refused."""
    stage.simulator.play(200)
    one, draft = stage.campaign.id, stage.draft.id
    await ask("GET /campaign/GetById", campaignId=draft)
    await ask("GET /campaign/GetById", campaignId=1)
    await ask("GET /campaign/GetById")
    await ask("POST /campaign/Pause", {"campaignId": one})  # in the body it is not found
    await ask("POST /campaign/Resume", campaignId=draft)
    await ask("POST /campaign/Pause", campaignId=draft)
    await ask("POST /campaign/StartCampaign", campaignId=one)
    pair = {"lead": {"profileUrl": profile("ines")}}
    await ask("POST /campaign/AddLeadsToCampaignV2", {"campaignId": draft, "accountLeadPairs": [pair]})
    await ask("POST /campaign/AddLeadsToCampaignV2", {"campaignId": one})
    await ask("POST /campaign/AddLeadsToCampaignV2", {"campaignId": one, "accountLeadPairs": [pair] * 101})
    odd = {"lead": {**pair["lead"], "customUserFields": [{"name": "an opener", "value": ""}]}}
    await ask("POST /campaign/AddLeadsToCampaignV2", {"campaignId": one, "accountLeadPairs": [odd]})
    await ask("POST /campaign/StopLeadInCampaign", {"campaignId": one, "leadUrl": profile("nobody")})
    await ask("POST /campaign/GetLeadsFromCampaign", {"campaignId": one, "limit": 101})
    for node in ({"nodeType": "WAIT"}, {"nodeType": "VIEW_PROFILE", "actionDelay": 1}, None):
        await ask("POST /campaign/UpdateSequence", {"campaignId": draft, "sequence": node})
    await ask("POST /campaign/UpdateSequence", {"campaignId": one, "sequence": {"nodeType": "END", "actionDelay": 3}})
    await ask("GET /list/GetById", listId=1)
    await ask("POST /lead/GetLead", {"profileUrl": profile("nobody")})
    await ask("POST /lead/AddTags", {"leadProfileUrl": stage.thread.lead.profile_url, "tags": ["Unheard"]})
    await ask("POST /inbox/GetConversationsV3", {"filters": {"leadProfileUrl": profile("nobody")}})
    await ask("POST /inbox/GetConversationsV3", {"filters": {"campaignIds": [1]}})
    await ask("POST /inbox/GetConversationsV3", {"filters": {}, "cursor": "edited"})
    await ask("POST /inbox/GetConversationsV3", {"from": "2026-10-02T00:00:00Z", "to": "2026-10-01T00:00:00Z"})
    await ask("GET /inbox/GetChatroom/1/2-nowhere%3D%3D")
    await ask("POST /inbox/SendMessage", {"message": "x", "conversationId": "2-x", "linkedInAccountId": 1})
    await ask("POST /stats/GetOverallStats", {"campaignIds": [], **DAYS})
    await ask("POST /webhooks/CreateWebhook", {"webhookName": "x", "webhookUrl": HOOK, "eventType": "MESSAGE_SENT"})
    await ask("DELETE /webhooks/DeleteWebhook", webhookId=1)
    for fault in (FaultKind.RATE_LIMITED_WITHOUT_HINT, FaultKind.SERVER_ERROR):
        stage.app.faults.next(fault)
        await ask("GET /auth/CheckApiKey")
    stage.app.revoked.add(stage.simulator.api_key)
    await ask("GET /auth/CheckApiKey")


async def recorded_from(story: Callable[[Stage, Ask], Awaitable[None]]) -> list[tuple[str, httpx.Response]]:
    with frozen():
        stage = make_stage(now=NOW)
        async with stage.http:
            recorder = Recorder(stage)
            await story(stage, recorder)
            return recorder.answers


def routes() -> set[str]:
    return {f"{method} {path}" for path, methods in ROUTES.items() for method in methods}


def test_every_route_is_one_that_the_provider_has() -> None:
    assert routes() == set(FIELDS)


async def test_every_answer_of_every_route_has_known_fields_only() -> None:
    answers = await recorded_from(everything)

    refused = [(call, answer.status_code, answer.text[:200]) for call, answer in answers if answer.status_code != 200]
    assert refused == []
    assert {call for call, _ in answers} == routes()
    for call, answer in answers:
        if answer.content:
            assert unknown(answer.json(), FIELDS[call]) == set(), call
            assert FIELDS[call] or isinstance(answer.json(), int), call
        days = answer.json()["byDayStats"].values() if "Stats" in call else ()
        rows = [row for day in days for row in (day if isinstance(day, list) else [day])]
        assert all(unknown(row, f"campaignId {STATS}") == set() for row in rows)


async def test_every_refusal_has_one_of_the_shapes_that_refusals_have() -> None:
    answers = await recorded_from(everything_wrong)

    statuses = [answer.status_code for _, answer in answers]
    assert [call for call, answer in answers if answer.status_code < 400] == []
    assert set(statuses) == {400, 401, 404, 429, 500}
    for call, answer in answers:
        if answer.content:
            assert unknown(answer.json(), ERRORS) == set(), call
        assert not [name for name in answer.headers if "rate" in name or "retry" in name]


def test_an_invented_field_is_noticed() -> None:
    assert unknown({"items": [{"id": 1, "colour": "red"}]}, FIELDS["POST /campaign/GetAll"]) == {"items[].colour"}
    message = {"messages": [{"id": "7", "body": "x", "campaignId": 1}]}
    chatroom = FIELDS["GET /inbox/GetChatroom/{sender}/{conversation}"]
    assert unknown(message, chatroom) == {"messages[].id", "messages[].campaignId"}
    with_address = {"items": [{"correspondentProfile": {"emailAddress": "x"}}]}
    assert unknown(with_address, FIELDS["POST /inbox/GetConversationsV2"]) == set()
    assert unknown(with_address, FIELDS["POST /inbox/GetConversationsV3"]) != set()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_answers_have_known_fields_only(path: Path) -> None:
    for step in json.loads(path.read_text())["exchange"]:
        if "body" in step:
            known = ERRORS if step.get("status", 200) >= 400 else FIELDS[endpoint_of(step["request"])]
            assert unknown(step["body"], known) == set()
