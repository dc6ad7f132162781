"""The client against the simulator's API, faults included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest

from libs import clock
from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.heyreach import events
from libs.providers.heyreach.client import NEEDED_TYPES, HeyReachClient
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.heyreach.simulator.api import Created, HeyReachApp
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.sightings import CampaignStatus, Channel
from libs.providers.simulation import FaultKind

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
URL = "http://heyreach.example.com/api/public"
HOOK = "https://hooks.example.com/webhooks/heyreach/t0ken"
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
CREATE = "/webhooks/CreateWebhook"


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


@pytest.fixture
def simulator() -> HeyReachSimulator:
    return HeyReachSimulator(seed=7, now=NOW, drafts=1)


@pytest.fixture
def app(simulator: HeyReachSimulator) -> HeyReachApp:
    return heyreach_app(simulator, HeyReachSimulator(seed=8, now=NOW, api_key="another-key"))


@asynccontextmanager
async def client_of(app: HeyReachApp, api_key: str) -> AsyncIterator[HeyReachClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        yield HeyReachClient(api_key, URL, http, policy=QUICK)


@pytest.fixture
async def client(app: HeyReachApp, simulator: HeyReachSimulator) -> AsyncIterator[HeyReachClient]:
    async with client_of(app, simulator.api_key) as found:
        yield found


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> HeyReachClient:
    return HeyReachClient("key", URL, httpx.AsyncClient(transport=httpx.MockTransport(answer)), policy=QUICK)


# Campaigns


async def test_a_campaign_is_read_as_of_the_answer(client: HeyReachClient, simulator: HeyReachSimulator) -> None:
    readings = [await client.read_campaign(campaign) for campaign in simulator.campaign_ids]

    campaigns = [campaign for reading in readings for campaign in reading.campaigns]
    assert [campaign.status for campaign in campaigns] == [
        CampaignStatus.ACTIVE,
        CampaignStatus.ACTIVE,
        CampaignStatus.COMPLETED,
        CampaignStatus.DRAFT,
    ]
    assert [campaign.external_id for campaign in campaigns] == simulator.campaign_ids
    assert {(campaign.channel, campaign.seen_at) for campaign in campaigns} == {(Channel.LINKEDIN, NOW)}
    assert campaigns[0].name == "Q4 Ops Leaders"
    assert all(not reading.steps for reading in readings)


async def test_a_draft_is_found_in_the_list(
    client: HeyReachClient, app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    await client.read_campaign(simulator.campaign_ids[-1])

    assert app.calls == ["GET /campaign/GetById", "POST /campaign/GetAll"]


async def test_a_draft_is_found_on_any_page() -> None:
    simulator = HeyReachSimulator(seed=7, now=NOW, campaigns=1, drafts=240)
    async with client_of(heyreach_app(simulator), simulator.api_key) as client:
        (found,) = (await client.read_campaign(simulator.campaign_ids[-1])).campaigns

    assert found.status is CampaignStatus.DRAFT


async def test_a_missing_campaign_is_a_no(client: HeyReachClient) -> None:
    with pytest.raises(ProviderRefused, match="there is no campaign 1"):
        await client.read_campaign("1")


async def test_each_key_sees_its_own_workspace(app: HeyReachApp, simulator: HeyReachSimulator) -> None:
    async with client_of(app, "another-key") as theirs:
        with pytest.raises(ProviderRefused):
            await theirs.read_campaign(simulator.campaign_ids[0])


async def test_a_wrong_key_is_a_no_without_the_key(app: HeyReachApp, simulator: HeyReachSimulator) -> None:
    async with client_of(app, "wrong-key") as client:
        with pytest.raises(ProviderRefused, match="answered 401") as refusal:
            await client.read_campaign(simulator.campaign_ids[0])

    assert "wrong-key" not in str(refusal.value)


async def test_an_organizations_key_is_a_no_though_the_status_is_200(simulator: HeyReachSimulator) -> None:
    app = heyreach_app(simulator, organization_keys=("org-key",))
    async with client_of(app, "org-key") as client:
        with pytest.raises(ProviderRefused, match="a workspace's is needed"):
            await client.read_campaign(simulator.campaign_ids[0])
        with pytest.raises(ProviderRefused, match="a workspace's is needed"):
            await client.register_webhook(url=HOOK, name="Outrider")

    assert not simulator.account.registrations


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.RATE_LIMITED_WITHOUT_HINT,
        FaultKind.RATE_LIMITED_PAGE,
        FaultKind.SERVER_ERROR,
        FaultKind.PAGE,
    ],
)
async def test_a_fault_is_bridged_twice_and_told_the_third_time(
    kind: FaultKind, client: HeyReachClient, app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    app.faults.next(kind, 2)
    await client.read_campaign(simulator.campaign_ids[0])

    app.faults.next(kind, 3)
    with pytest.raises((RateLimited, ProviderUnavailable)):
        await client.read_campaign(simulator.campaign_ids[0])
    await client.read_campaign(simulator.campaign_ids[0])


@pytest.mark.parametrize("path", ["GetById", "GetAll"])
async def test_an_empty_answer_is_no_campaign(
    path: str, client: HeyReachClient, app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    app.faults.next(FaultKind.EMPTY, path=path)

    with pytest.raises(ProviderUnavailable, match="an empty answer"):
        await client.read_campaign(simulator.campaign_ids[-1])


async def test_the_limit_is_told_without_a_hint(simulator: HeyReachSimulator) -> None:
    app = heyreach_app(simulator, calls_per_minute=2)
    async with client_of(app, simulator.api_key) as client:
        await client.read_campaign(simulator.campaign_ids[0])
        await client.read_campaign(simulator.campaign_ids[0])
        with pytest.raises(RateLimited) as limited:
            await client.read_campaign(simulator.campaign_ids[0])

    assert limited.value.retry_after_seconds is None


@pytest.mark.parametrize(
    "body", [[], {"id": 2}, {"name": "no id"}, {"id": 1, "status": 7.5}, {"id": {}}, {"id": 1, "name": []}]
)
async def test_an_answer_of_another_shape_is_no_answer(body: object) -> None:
    with pytest.raises(ContractViolated):
        await answering(lambda _: httpx.Response(200, json=body)).read_campaign("1")


@pytest.mark.parametrize("body", [{}, {"items": {}}, {"totalCount": "many", "items": []}, {"items": [1]}])
async def test_a_list_of_another_shape_is_no_list(body: object) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=body) if request.method == "POST" else httpx.Response(404)

    with pytest.raises(ContractViolated):
        await answering(answer).read_campaign("1")


async def test_a_list_without_a_total_ends_with_its_empty_page() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(404)
        offset = json.loads(request.read())["offset"]
        rows = [{"id": offset, "creationTime": "2026-09-01T08:06:15.463169Z"}] if offset < 5 else []
        return httpx.Response(200, json={"totalCount": 0, "items": rows})

    client = answering(answer)

    (found,) = (await client.read_campaign("4")).campaigns
    assert found.seen_at == datetime(2026, 9, 1, 8, 6, 15, 463169, tzinfo=UTC)  # no clock of ours
    with pytest.raises(ProviderRefused, match="there is no campaign 7"):
        await client.read_campaign("7")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.Response(400, json={"errorMessage": "The list does not exist!"}), "400: The list does not exist!"),
        (
            httpx.Response(400, json={"title": "t", "errors": {"Limit": ["The Limit is wrong."]}}),
            "400: The Limit is wrong.",
        ),
        (httpx.Response(400, json={"detail": "Too long"}), "400: Too long"),
        (httpx.Response(400, text="no"), "answered 400"),
        (httpx.Response(400), "answered 400"),
    ],
)
async def test_a_no_is_told_in_the_providers_words(answer: httpx.Response, sentence: str) -> None:
    with pytest.raises(ProviderRefused, match=sentence):
        await answering(lambda _: answer).register_webhook(url=HOOK, name="Outrider")


# Registration


def registered(simulator: HeyReachSimulator) -> Counter[str]:
    return Counter(made.event_type for made in simulator.account.registrations if made.url == HOOK)


@pytest.mark.parametrize("created", list(Created))
async def test_every_type_is_registered_once_whatever_creation_answers(
    created: Created, simulator: HeyReachSimulator
) -> None:
    app = heyreach_app(simulator, created=created)
    async with client_of(app, simulator.api_key) as client:
        made = await client.register_webhook(url=HOOK, name="Outrider for Northlight Outreach")
        again = await client.register_webhook(url=HOOK, name="Outrider for Northlight Outreach")

    assert registered(simulator) == Counter(events.EVENT_TYPES)
    assert made == again == ",".join(str(found.id) for found in simulator.account.registrations)
    assert {found.name for found in simulator.account.registrations} == {"Outrider for Northlight O"}
    assert {tuple(found.campaign_ids) for found in simulator.account.registrations} == {()}
    assert simulator.account.registrations[-1].url == HOOK


async def test_a_creation_is_never_repeated_on_a_guess(
    client: HeyReachClient, app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    app.faults.next(FaultKind.SERVER_ERROR, path=CREATE)  # before it was done

    with pytest.raises(ProviderUnavailable):
        await client.register_webhook(url=HOOK, name="Outrider")
    assert app.calls.count(f"POST {CREATE}") == 1
    assert not simulator.account.registrations

    await client.register_webhook(url=HOOK, name="Outrider")
    assert registered(simulator) == Counter(events.EVENT_TYPES)


async def test_a_creation_whose_answer_was_lost_is_found_in_the_list(
    app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    lost: list[str] = []

    class Losing(httpx.ASGITransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if request.url.path.endswith(CREATE) and not lost:
                lost.append(request.url.path)
                raise httpx.ReadTimeout("lost")
            return response

    async with httpx.AsyncClient(transport=Losing(app=app)) as http:
        await HeyReachClient(simulator.api_key, URL, http, policy=QUICK).register_webhook(url=HOOK, name="Outrider")

    assert lost
    assert registered(simulator) == Counter(events.EVENT_TYPES)


async def test_what_was_paused_or_bound_to_campaigns_is_made_whole(
    client: HeyReachClient, simulator: HeyReachSimulator
) -> None:
    account = simulator.account
    account.registrations += [
        Registration(1, "Outrider", HOOK, events.MESSAGE_SENT, [], is_active=False),
        Registration(2, "Outrider", HOOK, events.INMAIL_SENT, [account.campaigns[0].id]),
        Registration(3, "Somebody's", "https://elsewhere.example.com/", events.LIKED_POST, [], is_active=False),
    ]

    made = await client.register_webhook(url=HOOK, name="Outrider")

    assert {"1", "2"} < set(made.split(","))
    assert registered(simulator) == Counter(events.EVENT_TYPES)
    assert all(found.is_active and not found.campaign_ids for found in account.registrations if found.url == HOOK)
    assert not account.registrations[2].is_active


@pytest.mark.parametrize("refused", events.EVENT_TYPES)
async def test_a_type_that_this_workspace_lacks_stops_only_what_cannot_do_without(refused: str) -> None:
    made: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = request.read().decode()
        if request.url.path.endswith("GetAllWebhooks"):
            return httpx.Response(200, json={"totalCount": 0, "items": []})
        if f'"{refused}"' in body:
            return httpx.Response(400, json={"errorMessage": "Not in this workspace"})
        made.append(body)
        return httpx.Response(200, json={"webhookId": len(made)})

    if refused in NEEDED_TYPES:
        with pytest.raises(ProviderRefused, match="Not in this workspace"):
            await answering(answer).register_webhook(url=HOOK, name="Outrider")
    else:
        found = await answering(answer).register_webhook(url=HOOK, name="Outrider")
        assert len(found.split(",")) == len(made) == len(events.EVENT_TYPES) - 1


@pytest.mark.parametrize("name", ["", "x", "Outrider", "A name that is far too long for this provider"])
async def test_any_name_is_made_one_that_the_provider_takes(
    name: str, client: HeyReachClient, simulator: HeyReachSimulator
) -> None:
    await client.register_webhook(url=HOOK, name=name)

    assert all(3 <= len(found.name) <= 25 for found in simulator.account.registrations)


# The simulated API's own manners


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"webhookName": "ab"}, "The WebhookName field must be between 3 and 25 characters long."),
        ({"webhookName": "a" * 26}, "The WebhookName field must be between 3 and 25 characters long."),
        ({"webhookUrl": "nowhere"}, "The WebhookUrl field is not a valid URL."),
        ({"eventType": events.NEVER_POSTED}, f"The event type {events.NEVER_POSTED} is not supported."),
        ({"eventType": "message_sent"}, "The event type message_sent is not supported."),
    ],
)
async def test_the_api_is_strict(
    change: dict[str, object], sentence: str, app: HeyReachApp, simulator: HeyReachSimulator
) -> None:
    body = {"webhookName": "Outrider", "webhookUrl": HOOK, "eventType": events.MESSAGE_SENT, **change}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        answer = await http.post(URL + CREATE, headers={"x-api-key": simulator.api_key}, json=body)

    assert answer.status_code == 400
    assert sentence in answer.text
    assert not simulator.account.registrations


async def test_the_api_has_the_providers_oddities(app: HeyReachApp, simulator: HeyReachSimulator) -> None:
    simulator.play(300)
    key = {"X-API-KEY": simulator.api_key}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        checked = await http.get(f"{URL}/auth/CheckApiKey", headers=key)
        bearer = await http.get(f"{URL}/auth/CheckApiKey", headers={"Authorization": f"Bearer {simulator.api_key}"})
        no_such_path = await http.post(f"{URL}/linkedinaccount/GetAll", headers=key, json={})
        wrong_method = await http.get(f"{URL}/campaign/GetAll", headers=key)
        unknown_members = await http.post(f"{URL}/campaign/GetAll", headers=key, json={"colour": "red", "limit": 2})
        too_many = await http.post(f"{URL}/campaign/GetAll", headers=key, json={"limit": 101})
        senders = await http.post(f"{URL}/li_account/GetAll", headers=key, json={})
        webhook: dict[str, object] = {
            "webhookName": "Outrider",
            "webhookUrl": HOOK,
            "eventType": events.LEAD_TAG_UPDATED,
        }
        webhook |= {"campaignIds": [7]}
        made = await http.post(URL + CREATE, headers=key, json=webhook)
        webhook_id = {"webhookId": made.json()["webhookId"]}
        shown = await http.get(f"{URL}/webhooks/GetWebhookById", headers=key, params=webhook_id)
        deleted = await http.delete(f"{URL}/webhooks/DeleteWebhook", headers=key, params=webhook_id)
        gone = await http.delete(f"{URL}/webhooks/DeleteWebhook", headers=key, params=webhook_id)

    assert (checked.status_code, checked.content) == (200, b"")
    assert bearer.status_code == 401
    assert (no_such_path.status_code, wrong_method.status_code) == (404, 405)
    assert (unknown_members.json()["totalCount"], len(unknown_members.json()["items"])) == (4, 2)
    assert too_many.json()["errors"] == {"Limit": ["The Limit field is out of range."]}
    assert len(senders.json()["items"]) == 3
    assert shown.json()["campaignIds"] == []  # this type cannot be bound to campaigns
    assert (deleted.status_code, deleted.content, gone.status_code) == (200, b"", 404)
    assert not [name for name in checked.headers if "rate" in name or "retry" in name]
