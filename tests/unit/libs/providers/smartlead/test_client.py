"""The client against the simulator's API, faults included."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import httpx
import pytest

from libs import clock
from libs.errors import ContractViolated, PermanentError, ProviderRefused, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.sightings import CampaignStatus, Direction, Source
from libs.providers.simulation import FaultKind, PostKind
from libs.providers.smartlead import pulls
from libs.providers.smartlead.client import REGISTERED_TYPES, SmartleadClient
from libs.providers.smartlead.simulator import Happened, SmartleadSimulator, smartlead_app
from libs.providers.smartlead.simulator.api import SmartleadApp
from libs.providers.smartlead.webhooks import SmartleadWebhooks

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
URL = "http://smartlead.example.com/api/v1"
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


@pytest.fixture
def simulator() -> SmartleadSimulator:
    return SmartleadSimulator(seed=7, now=NOW, answered_by_hand_share=0.5)


@pytest.fixture
def app(simulator: SmartleadSimulator) -> SmartleadApp:
    return smartlead_app(simulator, SmartleadSimulator(seed=8, now=NOW, api_key="another-key"))


@pytest.fixture
async def client(app: SmartleadApp, simulator: SmartleadSimulator) -> AsyncIterator[SmartleadClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        yield SmartleadClient(simulator.api_key, URL, http, policy=QUICK)


def answering(answer: Callable[[httpx.Request], object]) -> SmartleadClient:
    """A client of a provider that answers what `answer` returns, as JSON."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer(request)))
    return SmartleadClient("key", URL, httpx.AsyncClient(transport=transport), policy=QUICK)


async def test_the_lists_hold_what_happened(client: SmartleadClient, simulator: SmartleadSimulator) -> None:
    simulator.play(1500)

    campaigns = await client.list_campaign_ids()
    found = [key for campaign in campaigns for key in await client.list_message_keys(campaign)]

    assert list(campaigns) == simulator.campaign_ids
    assert {key.key for key in found if key.kind == "reply"} == simulator.journal.message_keys(Happened.REPLIED)
    sent = {key.key for key in found if key.kind == "sent"}
    by_hand = {
        mail.key for c in simulator.account.campaigns for e in c.enrolments for mail in e.sent if mail.step is None
    }
    assert by_hand
    assert sent == simulator.journal.message_keys(Happened.SENT) | by_hand
    assert len(found) == len({key.key for key in found})


async def test_what_was_withheld_is_found_and_read_back(client: SmartleadClient, simulator: SmartleadSimulator) -> None:
    plan = simulator.deliveries(800, withhold=20)
    webhooks = SmartleadWebhooks()
    told = {m.key for post in plan.to_send() for m in webhooks.read_webhook(post.body).messages}

    listed = [key for campaign in simulator.campaign_ids for key in await client.list_message_keys(campaign)]
    happened = simulator.journal.message_keys(Happened.SENT) | simulator.journal.message_keys(Happened.REPLIED)
    missing = [key for key in listed if key.key not in told and key.key in happened]  # the rest was answered by hand
    assert len(missing) == 20

    for campaign in simulator.campaign_ids:
        leads = [key.lead_key for key in missing if key.campaign_external_id == campaign]
        reading = await client.read_messages(campaign, leads)
        pulled = {message.key: message for message in reading.messages}
        for key in missing:
            if key.campaign_external_id == campaign:
                assert pulled[key.key].occurred_at == key.occurred_at
                assert pulled[key.key].lead_key == key.lead_key


async def test_a_pulled_message_says_what_its_webhook_said(
    client: SmartleadClient, simulator: SmartleadSimulator
) -> None:
    plan = simulator.deliveries(800)
    by_webhook = {
        message.key: message
        for post in plan.of(PostKind.NORMAL)
        if post.event_type in ("EMAIL_SENT", "EMAIL_REPLY")
        for message in SmartleadWebhooks().read_webhook(post.body).messages
    }
    compared = Counter[Direction]()
    for campaign in simulator.account.campaigns:
        leads = [enrolment.lead.key for enrolment in campaign.enrolments]
        for pulled in (await client.read_messages(campaign.external_id, leads)).messages:
            told = by_webhook.get(pulled.key)
            if told is None:
                assert (pulled.step_number, pulled.is_manual) == (None, True)  # an answer by hand
                continue
            compared[pulled.direction] += 1
            for name in ("conversation_key", "lead_key", "step_number", "occurred_at", "to_address", "body_html"):
                assert getattr(pulled, name) == getattr(told, name), name
            assert pulled.in_reply_to_key == told.in_reply_to_key
            assert pulled.step_source is Source.PULL
            assert pulled.seen_at == pulled.occurred_at  # no clock of ours
    assert compared[Direction.INBOUND] > 10
    assert len(by_webhook) == compared.total()


async def test_a_lead_is_read_with_its_name_and_its_thread(
    client: SmartleadClient, simulator: SmartleadSimulator
) -> None:
    simulator.play(200)
    enrolment = simulator.account.campaigns[0].enrolments[0]
    campaign = simulator.campaign_ids[0]

    reading = await client.read_messages(campaign, [enrolment.lead.key, "email:nobody@nowhere.example.com"])

    (lead,), (conversation,) = reading.leads, reading.conversations
    assert (lead.external_id, lead.first_name) == (str(enrolment.lead.id), enrolment.lead.first_name)
    assert lead.seen_at == NOW  # the answer's Date
    assert conversation.external_id == str(enrolment.map_id)


async def test_a_campaign_is_read_with_its_steps(client: SmartleadClient, simulator: SmartleadSimulator) -> None:
    reading = await client.read_campaign(simulator.campaign_ids[1])

    (campaign,) = reading.campaigns
    assert (campaign.status, campaign.client_external_id) == (CampaignStatus.ACTIVE, "111")
    assert campaign.seen_at == NOW
    assert [(step.number, step.delay_days, step.subject) for step in reading.steps] == [
        (1, 0, "Quick question"),
        (2, 2, ""),
        (3, 3, ""),
        (4, 1, ""),
    ]


async def test_a_missing_campaign_is_a_no_though_the_status_is_200(client: SmartleadClient) -> None:
    with pytest.raises(ProviderRefused, match="there is no campaign 1"):
        await client.read_campaign("1")
    with pytest.raises(ProviderUnavailable):
        await client.list_message_keys("1")


async def test_a_wrong_key_is_refused_in_the_providers_words(app: SmartleadApp) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        with pytest.raises(ProviderRefused, match="answered 401: Invalid API Key"):
            await SmartleadClient("wrong-key", URL, http).list_campaign_ids()
        with pytest.raises(ProviderRefused, match=r"answered 401: API key is required\."):
            await SmartleadClient("", URL, http).list_campaign_ids()


async def test_each_key_sees_its_own_account(client: SmartleadClient, app: SmartleadApp) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        theirs = await SmartleadClient("another-key", URL + "/", http).list_campaign_ids()

    assert theirs == app.simulators["another-key"].campaign_ids
    assert not set(theirs) & set(await client.list_campaign_ids())


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
    kind: FaultKind, client: SmartleadClient, app: SmartleadApp
) -> None:
    app.faults.next(kind, 2)
    assert await client.list_campaign_ids()

    app.faults.next(kind, 3)
    with pytest.raises((RateLimited, ProviderUnavailable)):
        await client.list_campaign_ids()
    assert await client.list_campaign_ids()


@pytest.mark.parametrize("path", ["/statistics", "/leads", "/message-history"])
@pytest.mark.parametrize("kind", [FaultKind.EMPTY, FaultKind.PAGE, FaultKind.SERVER_ERROR])
async def test_no_partial_list(
    path: str, kind: FaultKind, client: SmartleadClient, app: SmartleadApp, simulator: SmartleadSimulator
) -> None:
    simulator.play(500)
    app.faults.next(kind, 3, path=path)

    with pytest.raises(ProviderUnavailable):
        await client.list_message_keys(simulator.campaign_ids[0])


async def test_a_hanging_provider_costs_the_deadline_and_no_more(
    app: SmartleadApp, simulator: SmartleadSimulator
) -> None:
    app.faults.next(FaultKind.HANGS)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        client = SmartleadClient(simulator.api_key, URL, http, policy=CallPolicy(deadline_seconds=0.05))
        with pytest.raises(ProviderUnavailable):
            await client.list_campaign_ids()


async def test_the_limit_is_told_and_kept(simulator: SmartleadSimulator) -> None:
    app = smartlead_app(simulator, calls_per_minute=2)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        client = SmartleadClient(simulator.api_key, URL, http, policy=QUICK)
        await client.list_campaign_ids()
        await client.list_campaign_ids()
        with pytest.raises(RateLimited) as limited:
            await client.list_campaign_ids()
        answer = await http.get(f"{URL}/campaigns", params={"api_key": simulator.api_key})

    assert limited.value.retry_after_seconds is not None
    assert 50 < limited.value.retry_after_seconds <= 60
    assert (answer.status_code, answer.headers["x-ratelimit-remaining"]) == (429, "0")


# Statistics that cannot be trusted


def statistics_row(number: int, **fields: object) -> dict[str, object]:
    row = {
        "stats_id": f"s{number}",
        "lead_email": "ines@northpier.example.com",
        "sent_time": "2026-07-11T12:51:48.200Z",
    }
    return {**row, "reply_time": None, **fields}


def paged(
    rows: list[dict[str, object]], total: Callable[[int], str], size: int = 2
) -> Callable[[httpx.Request], object]:
    """Pages of `size`; `total(call)` is what each says of the whole."""
    calls = iter(range(10_000))

    def answer(request: httpx.Request) -> object:
        offset = int(request.url.params["offset"])
        return {
            "total_stats": total(next(calls)),
            "offset": offset,
            "limit": size,
            "data": rows[offset : offset + size],
        }

    return answer


async def test_all_pages_are_read_whatever_size_the_provider_gives_them() -> None:
    rows = [statistics_row(number) for number in range(7)]

    found = await answering(paged(rows, lambda _: "7")).list_message_keys("1")

    assert [key.key for key in found] == [f"sent:s{number}" for number in range(7)]


async def test_a_list_that_grows_once_is_read_again() -> None:
    rows = [statistics_row(number) for number in range(5)]

    found = await answering(paged(rows, lambda call: "4" if call == 0 else "5")).list_message_keys("1")

    assert len(found) == 5


async def test_pages_without_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "MOST_PAGES", 5)
    rows = [statistics_row(number) for number in range(50)]

    assert len(await answering(paged(rows[:10], lambda _: "10")).list_message_keys("1")) == 10
    with pytest.raises(ContractViolated, match="more than 5 pages"):
        await answering(paged(rows, lambda _: "50")).list_message_keys("1")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(
            paged([statistics_row(n) for n in range(9)], lambda call: str(8 + call % 2)), id="the total moves"
        ),
        pytest.param(paged([statistics_row(n) for n in (0, 1, 1, 2)], lambda _: "4"), id="a row is told twice"),
        pytest.param(paged([statistics_row(n) for n in range(3)], lambda _: "4"), id="the last page is empty"),
        pytest.param(paged([statistics_row(n) for n in range(4)], lambda _: "3"), id="more than the total"),
        pytest.param(lambda _: {"total_stats": "1", "offset": 7, "data": [statistics_row(1)]}, id="another page"),
        pytest.param(lambda _: {}, id="nothing"),
    ],
)
async def test_pages_that_make_no_list_are_an_error(answer: Callable[[httpx.Request], object]) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(answer).list_message_keys("1")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"total_stats": "1"},
        {"data": []},
        {"total_stats": "many", "data": []},
        {"total_stats": "1", "data": {}},
        {"total_stats": "1", "data": [7]},
        {"total_stats": "1", "data": [statistics_row(1, stats_id=None)]},
        {"total_stats": "1", "data": [statistics_row(1, lead_email="nobody")]},
        {"total_stats": "1", "data": [statistics_row(1, sent_time=7)]},
    ],
)
async def test_an_answer_of_another_shape_is_no_answer(body: object) -> None:
    with pytest.raises(ContractViolated):
        await answering(lambda _: body).list_message_keys("1")


async def test_campaigns_in_an_envelope_are_not_an_empty_list() -> None:
    bodies: list[object] = [{"data": []}, {"ok": True}, "none", [1], [{"name": "no id"}], [{"id": 1}, {"id": "1"}]]
    for body in bodies:
        with pytest.raises(PermanentError):
            await answering(partial(_same, body)).list_campaign_ids()


def _same(body: object, request: httpx.Request) -> object:
    return body


def one_reply(history: list[dict[str, object]], replied_at: datetime) -> Callable[[httpx.Request], object]:
    def answer(request: httpx.Request) -> object:
        if request.url.path.endswith("/statistics"):
            row = statistics_row(1, reply_time=replied_at.isoformat())
            return {"total_stats": "1", "offset": 0, "limit": 1000, "data": [row]}
        if request.url.path.endswith("/message-history"):
            return {"history": history, "from": "leo@reach.example.com", "to": "ines@northpier.example.com"}
        return {"id": "5", "email": "Ines@NorthPier.example.com"}

    return answer


async def test_a_reply_that_is_not_in_the_history_yet_is_waited_for() -> None:
    with pytest.raises(ProviderUnavailable, match="lags"):
        await answering(one_reply([], NOW - timedelta(minutes=1))).list_message_keys("1")


async def test_a_reply_that_is_gone_from_the_history_is_gone() -> None:
    found = await answering(one_reply([], NOW - timedelta(days=1))).list_message_keys("1")

    assert [key.kind for key in found] == ["sent"]


async def test_a_history_row_that_names_nothing_is_an_error() -> None:
    rows: list[dict[str, object]] = [{"type": "REPLY", "time": "2026-07-11T12:00:00Z"}, {"type": "NOTE"}]
    rows.append({"type": "SENT", "stats_id": "s"})
    for row in rows:
        with pytest.raises(ContractViolated):
            await answering(one_reply([row], NOW)).list_message_keys("1")


# Registration


async def test_a_webhook_is_registered_for_the_whole_account(
    client: SmartleadClient, simulator: SmartleadSimulator
) -> None:
    made = await client.register_webhook(url="https://hooks.example.com/t/abc", name="Outrider")

    (registration,) = simulator.account.registrations
    assert made == str(registration.id)
    assert (registration.url, registration.event_types) == ("https://hooks.example.com/t/abc", REGISTERED_TYPES)


async def test_a_registration_is_never_repeated(client: SmartleadClient, app: SmartleadApp) -> None:
    app.faults.next(FaultKind.SERVER_ERROR, path="/webhook/create")

    with pytest.raises(ProviderUnavailable):
        await client.register_webhook(url="https://hooks.example.com/t/abc", name="Outrider")

    assert app.calls.count("POST /webhook/create") == 1


# The simulated API's own manners


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, '"colour" is not allowed'),
        ({"name": None}, '"name" is required'),
        ({"association_type": "1"}, '"association_type" must be one of [user, client, campaign]'),
        ({"event_type_map": {"EMAIL_OPENED": True}}, "Invalid event_types - EMAIL_OPENED"),
    ],
)
async def test_the_api_is_strict(
    change: dict[str, object], message: str, app: SmartleadApp, simulator: SmartleadSimulator
) -> None:
    body: dict[str, object] = {"name": "x", "webhook_url": "https://h.example.com", "association_type": "user"}
    body |= {"event_type_map": {"EMAIL_REPLY": True}, **change}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        answer = await http.post(f"{URL}/webhook/create", params={"api_key": simulator.api_key}, json=body)

    assert answer.status_code == 400
    assert message in (answer.json().get("message"), answer.json().get("error"))


async def test_the_api_has_the_providers_oddities(app: SmartleadApp, simulator: SmartleadSimulator) -> None:
    simulator.play(300)
    campaign, key = simulator.campaign_ids[0], {"api_key": simulator.api_key}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        unknown_route = await http.patch(f"{URL}/campaigns/{campaign}/status", params=key)
        with_slash = await http.get(f"{URL}/campaigns/", params=key)
        without_slash = await http.get(f"{URL}/campaigns", params=key)
        unknown_lead = await http.get(f"{URL}/leads", params={**key, "email": "nobody@nowhere.example.com"})
        statistics = await http.get(f"{URL}/campaigns/{campaign}/statistics", params={**key, "limit": 5})
        too_many = await http.get(f"{URL}/campaigns/{campaign}/statistics", params={**key, "limit": 1001})
        roster = await http.get(f"{URL}/campaigns/{campaign}/leads", params=key)

    assert unknown_route.status_code == 404
    assert f"Cannot PATCH /api/v1/campaigns/{campaign}/status" in unknown_route.text
    assert "html" in unknown_route.headers["content-type"]
    assert with_slash.json() == without_slash.json()
    assert (unknown_lead.status_code, unknown_lead.json()) == (200, {})
    assert isinstance(statistics.json()["total_stats"], str)
    assert len(statistics.json()["data"]) == 5
    assert too_many.json()["validation"] == {"source": "query", "keys": ["limit"]}
    first = roster.json()["data"][0]
    assert isinstance(first["campaign_lead_map_id"], str)
    assert first["lead"]["id"] > 2**31
    assert simulator.account.mailboxes[0].password not in json.dumps(roster.json())
