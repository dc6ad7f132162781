"""The client against the simulator's API, faults and odd habits included."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from libs import clock
from libs.errors import ContractViolated, ProviderRefused, ProviderUnavailable, RateLimited
from libs.providers.calls import CallPolicy
from libs.providers.emailbison import events
from libs.providers.emailbison.client import EmailBisonClient
from libs.providers.emailbison.simulator import EmailBisonSimulator, Happened, emailbison_app
from libs.providers.emailbison.simulator.api import EmailBisonApp, Habits
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from libs.providers.sightings import CampaignStatus, Direction, MessageSighting, Source
from libs.providers.simulation import FaultKind, PostKind

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
URL = "https://send.example.com"
HOOK = "https://hooks.example.com/t/abc"
QUICK = CallPolicy(tries=3, first_wait_seconds=0.001, longest_wait_seconds=0.002, deadline_seconds=5)
WEBHOOKS = EmailBisonWebhooks()

HABITS = [
    pytest.param(Habits(), id="as most say"),
    pytest.param(Habits(has_cursors=False, has_event_types=False, has_v11_steps=False), id="before 2026"),
    pytest.param(Habits(honours_per_page=True, tells_bounce=True), id="long pages"),
    pytest.param(Habits(team="workspace", title_case_statuses=True), id="as the documents say"),
]


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


@pytest.fixture
def simulator() -> EmailBisonSimulator:
    return EmailBisonSimulator(seed=7, now=NOW, answered_by_hand_share=0.5)


@pytest.fixture
def app(simulator: EmailBisonSimulator) -> EmailBisonApp:
    return emailbison_app(simulator, EmailBisonSimulator(seed=8, now=NOW, api_key="13|another"))


@pytest.fixture
async def client(app: EmailBisonApp, simulator: EmailBisonSimulator) -> AsyncIterator[EmailBisonClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        yield EmailBisonClient(simulator.api_key, URL, http, policy=QUICK)


def answering(answer: Callable[[httpx.Request], object], status: int = 200) -> EmailBisonClient:
    """A client of a provider that answers what `answer` returns, as JSON."""
    transport = httpx.MockTransport(lambda request: httpx.Response(status, json=answer(request)))
    return EmailBisonClient("1|key", URL, httpx.AsyncClient(transport=transport), policy=QUICK)


@pytest.mark.parametrize("habits", HABITS)
async def test_the_lists_hold_what_happened(
    habits: Habits, client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    app.habits = habits
    simulator.play(1500)

    campaigns = await client.list_campaign_ids()
    found = [key for campaign in campaigns for key in await client.list_message_keys(campaign)]

    journal, account = simulator.journal, simulator.account
    assert sorted(campaigns) == simulator.campaign_ids
    by_hand = {row.key for row in account.inbox if row.type == "Outgoing Email" and row.campaign is not None}
    assert by_hand
    assert {key.key for key in found if key.kind == "reply"} == journal.message_keys(Happened.REPLIED)
    assert {key.key for key in found if key.kind == "sent"} == journal.message_keys(Happened.SENT) | by_hand
    assert len(found) == len({key.key for key in found})
    assert any(mail.sent_at is None for c in account.campaigns for e in c.enrolments for mail in e.mails)


async def test_what_was_withheld_is_found_and_read_back(
    client: EmailBisonClient, simulator: EmailBisonSimulator
) -> None:
    plan = simulator.deliveries(800, withhold=20)
    told = {m.key for post in plan.to_send() for m in WEBHOOKS.read_webhook(post.body).messages}

    listed = [key for campaign in simulator.campaign_ids for key in await client.list_message_keys(campaign)]
    missing = [key for key in listed if key.key not in told]
    assert len(missing) == 20

    for campaign in simulator.campaign_ids:
        wanted = [key for key in missing if key.campaign_external_id == campaign]
        reading = await client.read_messages(campaign, [key.lead_key for key in wanted])
        pulled = {message.key: message for message in reading.messages}
        for key in wanted:
            assert pulled[key.key].occurred_at == key.occurred_at
            assert pulled[key.key].lead_key == key.lead_key


async def test_a_pulled_message_says_what_its_webhook_said(
    client: EmailBisonClient, simulator: EmailBisonSimulator
) -> None:
    plan = simulator.deliveries(800)
    newest: dict[str, MessageSighting] = {}
    for post in plan.of(PostKind.NORMAL):
        for message in WEBHOOKS.read_webhook(post.body).messages:
            if message.campaign_external_id and message.body_html:
                known = newest.get(message.key, message)
                newest[message.key] = max(known, message, key=lambda m: m.seen_at)
    compared = Counter[tuple[Direction, bool | None]]()
    for campaign in simulator.account.campaigns:
        leads = [enrolment.lead.key for enrolment in campaign.enrolments]
        for pulled in (await client.read_messages(campaign.external_id, leads)).messages:
            compared[pulled.direction, pulled.is_manual] += 1
            told = replace(newest[pulled.key], seen_at=pulled.seen_at, step_source=pulled.step_source)
            assert pulled == told
            assert pulled.step_source is (None if pulled.is_manual else Source.PULL)
    assert compared[Direction.INBOUND, None] > 10
    assert compared[Direction.OUTBOUND, True]
    assert len(newest) == compared.total()


async def test_a_lead_is_read_with_its_name_and_what_its_replies_were_judged_to_be(
    client: EmailBisonClient, simulator: EmailBisonSimulator
) -> None:
    simulator.play(1500)
    campaign = simulator.account.campaigns[0]
    keen = next(enrolment for enrolment in campaign.enrolments if enrolment.is_interested)
    other = next(enrolment for enrolment in campaign.enrolments if not enrolment.is_interested)

    keys = [keen.lead.key, other.lead.key, "email:nobody@nowhere.example.com", keen.lead.key]
    reading = await client.read_messages(campaign.external_id, keys)

    assert [lead.external_id for lead in reading.leads] == [str(keen.lead.id), str(other.lead.id)]
    assert reading.leads[0].first_name == keen.lead.first_name
    assert {lead.seen_at for lead in reading.leads} == {NOW}  # the answer's Date
    assert [conversation.category for conversation in reading.conversations] == ["Interested", ""]


@pytest.mark.parametrize("habits", HABITS)
async def test_a_campaign_is_read_with_its_steps_but_not_their_variants(
    habits: Habits, client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    app.habits = habits

    reading = await client.read_campaign(simulator.campaign_ids[1])

    (campaign,) = reading.campaigns
    assert (campaign.name, campaign.status, campaign.seen_at) == ("Leeds lines", CampaignStatus.ACTIVE, NOW)
    # The wait is told behind a step, the delay is before one.
    assert [(step.number, step.delay_days, step.subject) for step in reading.steps] == [
        (1, 0, "A spare part idea"),
        (2, 2, "A spare part idea"),
        (3, 3, "A spare part idea"),
    ]
    assert [step.external_id for step in reading.steps] == [
        str(step.id) for step in simulator.account.campaigns[1].steps
    ]


async def test_a_campaign_without_a_sequence_has_no_steps(
    client: EmailBisonClient, simulator: EmailBisonSimulator
) -> None:
    simulator.account.campaigns[0].steps.clear()  # the provider says so with a 200 and success: false

    assert (await client.read_campaign(simulator.campaign_ids[0])).steps == ()


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("draft", CampaignStatus.DRAFT),
        ("Queued", CampaignStatus.ACTIVE),
        ("launching", CampaignStatus.ACTIVE),
        ("Paused", CampaignStatus.PAUSED),
        ("failed", CampaignStatus.STOPPED),
        ("completed", CampaignStatus.COMPLETED),
        ("archived", CampaignStatus.ARCHIVED),
        ("deleted", CampaignStatus.ARCHIVED),
        ("dreaming", CampaignStatus.UNKNOWN),
    ],
)
async def test_a_status_is_read_in_either_case(
    word: str, status: CampaignStatus, client: EmailBisonClient, simulator: EmailBisonSimulator
) -> None:
    simulator.account.campaigns[0].status = word

    assert (await client.read_campaign(simulator.campaign_ids[0])).campaigns[0].status is status


async def test_no_is_said_in_the_providers_words(client: EmailBisonClient, app: EmailBisonApp) -> None:
    theirs = app.simulators["13|another"].campaign_ids[0]

    with pytest.raises(ProviderRefused, match="answered 404: Record not found"):
        await client.read_campaign("1")
    with pytest.raises(ProviderRefused, match="answered 403: This action is unauthorized"):
        await client.list_message_keys(theirs)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        with pytest.raises(ProviderRefused, match=r"answered 401: Unauthenticated\."):
            await EmailBisonClient("1|wrong", URL, http).list_campaign_ids()
        with pytest.raises(ProviderRefused, match="could not be found"):
            await EmailBisonClient("13|another", f"{URL}/api/v9", http).list_campaign_ids()


async def test_a_campaign_on_its_way_out_is_gone(client: EmailBisonClient, simulator: EmailBisonSimulator) -> None:
    simulator.account.campaigns[0].status = "pending deletion"  # 200 with empty data

    with pytest.raises(ProviderRefused, match="there is no campaign"):
        await client.read_campaign(simulator.campaign_ids[0])


async def test_a_missing_route_is_no_missing_lead() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "sequence-steps" in request.url.path:
            return httpx.Response(200, json={"data": {"sequence_id": 1, "sequence_steps": []}})
        message = "The route api/leads could not be found."
        return httpx.Response(404, json={"data": {"success": False, "message": message}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(ProviderRefused, match="could not be found") as refusal:
            await EmailBisonClient("1|key", URL, http, policy=QUICK).read_messages("1", ["email:dana@acme.example.com"])

    assert "dana" not in str(refusal.value)  # no address in an error


@pytest.mark.parametrize("suffix", ["", "/", "/api", "/api/"])
async def test_the_address_may_be_given_with_or_without_api(
    suffix: str, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        assert await EmailBisonClient(simulator.api_key, URL + suffix, http).list_campaign_ids()


async def test_a_token_that_moves_to_another_workspace_is_noticed() -> None:
    workspaces = iter(range(10_000))

    def answer(request: httpx.Request) -> object:
        if request.url.path == "/api/users":
            return {"data": {"id": 1, "team": {"id": next(workspaces)}}}
        return {"data": [], "meta": {"next_cursor": None}}

    with pytest.raises(ProviderUnavailable, match="workspace changed"):
        await answering(answer).list_campaign_ids()


async def test_the_workspace_is_told_under_either_name(client: EmailBisonClient, app: EmailBisonApp) -> None:
    first = await client.read_workspace_id()
    app.habits = Habits(team="workspace")

    assert await client.read_workspace_id() == first is not None


@pytest.mark.parametrize(
    "kind",
    [FaultKind.RATE_LIMITED_WITHOUT_HINT, FaultKind.RATE_LIMITED_PAGE, FaultKind.SERVER_ERROR, FaultKind.PAGE],
)
async def test_a_fault_is_bridged_twice_and_told_the_third_time(
    kind: FaultKind, client: EmailBisonClient, app: EmailBisonApp
) -> None:
    app.faults.next(kind, 2)
    assert await client.list_campaign_ids()

    app.faults.next(kind, 3)
    with pytest.raises((RateLimited, ProviderUnavailable)):
        await client.list_campaign_ids()


@pytest.mark.parametrize("path", ["/scheduled-emails", "/replies"])
@pytest.mark.parametrize("kind", [FaultKind.EMPTY, FaultKind.PAGE, FaultKind.SERVER_ERROR])
async def test_no_partial_list(
    path: str, kind: FaultKind, client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    simulator.play(500)
    app.faults.next(kind, 3, path=path)

    with pytest.raises(ProviderUnavailable):
        await client.list_message_keys(simulator.campaign_ids[0])


async def test_the_limit_is_told_and_kept(simulator: EmailBisonSimulator) -> None:
    app = emailbison_app(simulator, calls_per_minute=3)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as http:
        client = EmailBisonClient(simulator.api_key, URL, http, policy=QUICK)
        await client.list_campaign_ids()
        with pytest.raises(RateLimited, match="Too Many Attempts") as limited:
            await client.list_campaign_ids()

    assert limited.value.retry_after_seconds is not None
    assert 50 < limited.value.retry_after_seconds <= 61


# Pages that cannot be trusted


def mail(number: int, **fields: object) -> dict[str, object]:
    row = {"id": number, "sent_at": "2026-07-11T14:00:09.000000Z", "lead": {"email": "dana.ruiz@acme.example.com"}}
    return {**row, **fields}


def numbered(
    rows: list[dict[str, object]], size: int = 2, **wrong: Callable[[int], object]
) -> Callable[[httpx.Request], object]:
    """Numbered pages of `size` for the mails, nothing for the replies; `wrong` is what meta says, by the call."""
    calls = iter(range(10_000))

    def answer(request: httpx.Request) -> object:
        told = [] if request.url.path.endswith("/replies") else rows
        page = int(request.url.params.get("page", 1))
        meta: dict[str, object] = {"current_page": page, "last_page": max(1, -(-len(told) // size)), "total": len(told)}
        if told:
            call = next(calls)
            meta |= {name: say(call) for name, say in wrong.items()}
        return {"data": told[(page - 1) * size : page * size], "meta": meta}

    return answer


def by_cursor(pages: list[object]) -> Callable[[httpx.Request], object]:
    """These pages, one for each cursor "1", "2", ..."""

    def answer(request: httpx.Request) -> object:
        if request.url.path.endswith("/replies"):
            return {"data": [], "meta": {"next_cursor": None}}
        return pages[int(request.url.params.get("cursor", 0))]

    return answer


async def test_all_numbered_pages_are_read_though_another_size_was_wished_for() -> None:
    found = await answering(numbered([mail(number) for number in range(7)])).list_message_keys("1")

    assert [key.key for key in found] == [f"sent:{number}" for number in range(7)]


async def test_a_list_that_grows_once_is_read_again() -> None:
    rows = [mail(number) for number in range(5)]

    found = await answering(numbered(rows, total=lambda call: 4 if call == 0 else 5)).list_message_keys("1")

    assert len(found) == 5


async def test_a_total_that_counts_too_few_is_not_believed() -> None:
    found = await answering(numbered([mail(n) for n in range(5)], total=lambda _: 3)).list_message_keys("1")

    assert len(found) == 5


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(numbered([mail(n) for n in range(9)], total=lambda call: 8 + call % 2), id="the total moves"),
        pytest.param(numbered([mail(n) for n in (0, 1, 1, 2)]), id="a row is told twice"),
        pytest.param(numbered([mail(n) for n in range(3)], last_page=lambda _: 3), id="an empty page before the last"),
        pytest.param(numbered([mail(n) for n in range(4)], current_page=lambda _: 1), id="another page"),
        pytest.param(
            by_cursor([{"data": [mail(1)], "meta": {"next_cursor": "1"}}, {"data": [], "meta": {"next_cursor": "1"}}]),
            id="a cursor leads back",
        ),
    ],
)
async def test_pages_that_make_no_list_are_an_error(answer: Callable[[httpx.Request], object]) -> None:
    with pytest.raises(ProviderUnavailable):
        await answering(answer).list_message_keys("1")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"meta": {"next_cursor": None}},
        {"data": []},
        {"data": {}, "meta": {"next_cursor": None}},
        {"data": [7], "meta": {"next_cursor": None}},
        {"data": [mail(1)], "meta": {"last_page": 1}},
        {"data": [mail(1)], "meta": {"next_cursor": "1"}},  # and then a page without meta
        {"data": [mail(1, id=None)], "meta": {"next_cursor": None}},
        {"data": [mail(1, lead=None)], "meta": {"next_cursor": None}},
        {"data": [mail(1, sent_at=7)], "meta": {"next_cursor": None}},
    ],
)
async def test_an_answer_of_another_shape_is_no_answer(body: object) -> None:
    with pytest.raises(ContractViolated):
        await answering(by_cursor([body, {"data": []}])).list_message_keys("1")


async def test_a_200_that_says_no_is_a_no() -> None:
    no: dict[str, object] = {"success": False, "message": "Not today"}
    for body in ({"data": no}, no):
        with pytest.raises(ProviderRefused, match="answered 200: Not today"):
            await answering(by_cursor([body])).read_campaign("1")


# Rows of the inbox that are not what they look like


def inbox(*rows: dict[str, object]) -> Callable[[httpx.Request], object]:
    def answer(request: httpx.Request) -> object:
        if request.url.path.startswith("/api/leads/"):
            return {"data": {"id": 5, "email": "Lee@Initech.example.com"}}
        is_inbox = request.url.path.endswith("/replies")
        assert not is_inbox or request.url.params["folder"] == "all"
        mails = [mail(1, lead_id=4, raw_message_id="<m-1@mail.example.com>")]
        return {"data": list(rows) if is_inbox else mails, "meta": {"next_cursor": None}}

    return answer


def row(number: int, **fields: object) -> dict[str, object]:
    told = {"id": number, "type": "Tracked Reply", "date_received": "2026-07-12T08:31:05.000000Z", "lead_id": 4}
    return {**told, **fields}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (row(7), ("reply:7", "reply", "email:dana.ruiz@acme.example.com")),
        (row(7, lead_id=None, scheduled_email_id=1), ("reply:7", "reply", "email:dana.ruiz@acme.example.com")),
        (row(7, lead={"email": "other@acme.example.com"}), ("reply:7", "reply", "email:other@acme.example.com")),
        (row(7, lead_id=5), ("reply:7", "reply", "email:lee@initech.example.com")),
        (row(7, type=None, folder="Spam"), ("reply:7", "reply", "email:dana.ruiz@acme.example.com")),
        (row(7, type="Outgoing Email"), ("manual:7", "sent", "email:dana.ruiz@acme.example.com")),
        (row(7, type="Outgoing Email", raw_message_id="<m-1@mail.example.com>"), None),  # the sequence's own
        (row(7, type="Bounced", lead_id=None), None),
    ],
)
async def test_a_row_of_the_inbox_is_what_its_type_says(
    found: dict[str, object], expected: tuple[str, str, str] | None
) -> None:
    _, *rest = await answering(inbox(found)).list_message_keys("1")

    assert [(key.key, key.kind, key.lead_key) for key in rest] == ([expected] if expected else [])


@pytest.mark.parametrize(
    "found",
    [row(7, type="Poem"), row(7, lead_id=None), row(7, date_received=None), row(7, date_received="soon")],
)
async def test_a_row_that_says_too_little_is_an_error(found: dict[str, object]) -> None:
    with pytest.raises(ContractViolated):
        await answering(inbox(found)).list_message_keys("1")


# Registration


@pytest.mark.parametrize("habits", HABITS)
async def test_a_webhook_is_registered_for_every_type(
    habits: Habits, client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    app.habits = habits

    made = await client.register_webhook(url=HOOK, name="Outrider")

    (registration,) = simulator.account.registrations
    assert made == str(registration.id)
    assert registration.url == HOOK
    assert registration.event_ids == tuple(name.lower() for name in events.EVENT_TYPES)


async def test_a_url_that_is_registered_is_not_registered_again(
    client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    first = await client.register_webhook(url=HOOK, name="Outrider")
    simulator.account.registrations[0].event_ids = ("email_sent",)  # somebody took the others away

    assert await client.register_webhook(url=HOOK, name="Outrider") == first
    assert len(simulator.account.registrations[0].event_ids) == len(events.EVENT_TYPES)
    assert await client.register_webhook(url=HOOK + "2", name="Outrider") != first
    assert app.calls.count("POST /webhook-url") == 2


async def test_a_registration_whose_answer_was_lost_is_found_in_the_list(
    client: EmailBisonClient, app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    app.faults.next(FaultKind.DONE_AND_FAILED, path="POST /webhook-url")

    made = await client.register_webhook(url=HOOK, name="Outrider")

    assert [str(found.id) for found in simulator.account.registrations] == [made]
    assert app.calls.count("POST /webhook-url") == 1


async def test_a_creation_without_proof_is_told_and_not_repeated() -> None:
    posts: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posts.append(request.url.path)
            return httpx.Response(503, json={"message": "Server Error"})
        if request.url.path.endswith("event-types"):
            return httpx.Response(200, json={"data": [{"id": "email_sent", "name": "Email Sent"}]})
        return httpx.Response(200, json={"data": []})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(ProviderUnavailable):
            await EmailBisonClient("1|key", URL, http, policy=QUICK).register_webhook(url=HOOK, name="Outrider")

    assert posts == ["/api/webhook-url"]


# The simulated API's own manners


async def test_the_api_has_the_providers_oddities(app: EmailBisonApp, simulator: EmailBisonSimulator) -> None:
    simulator.play(600)
    campaign = simulator.campaign_ids[0]
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=f"{URL}/api", headers=headers
    ) as http:
        mails = (await http.get(f"/campaigns/{campaign}/scheduled-emails", params={"per_page": 100})).json()
        inbox_rows = (await http.get("/replies", params={"per_page": 100, "pagination_type": "cursor"})).json()
        asked_in_body = (await http.request("GET", "/campaigns", json={"status": "paused"})).json()
        wrong_verb = await http.post(f"/campaigns/{campaign}/scheduled-emails")
        too_deep = await http.get("/leads", params={"page": 501})
        lead = simulator.account.campaigns[0].enrolments[0].lead
        by_address = (await http.get(f"/leads/{lead.address}")).json()["data"]
        told = (await http.get("/events", params={"type": "lead_replied"})).json()["data"]
        invalid = await http.post("/webhook-url", json={"name": "x", "url": HOOK, "events": ["email.sent"]})
        deleted = await http.delete("/webhook-url/1")

    assert len(mails["data"]) == 15
    assert mails["links"]["next"].startswith(simulator.account.instance_url)
    assert "next_cursor" not in mails["meta"]
    assert len(inbox_rows["data"]) > 15
    assert "last_page" not in inbox_rows["meta"]
    assert {"Tracked Reply", "Outgoing Email"} <= {found["type"] for found in inbox_rows["data"]}
    assert asked_in_body["data"] == []
    assert (wrong_verb.status_code, too_deep.status_code) == (405, 422)
    assert by_address["id"] == lead.id
    assert {found["payload"]["event"]["type"] for found in told} == {"LEAD_REPLIED"}
    assert invalid.json()["errors"] == {"events.0": ["The selected events.0 is invalid."]}
    assert deleted.json()["data"]["record_not_found"] == {"webhook_url": "1"}


async def test_a_cursor_neither_repeats_nor_skips_when_the_list_grows(
    app: EmailBisonApp, simulator: EmailBisonSimulator
) -> None:
    simulator.play(300)
    headers = {"Authorization": f"Bearer {simulator.api_key}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url=f"{URL}/api", headers=headers
    ) as http:
        params = {"pagination_type": "cursor"}
        before = {lead.id for lead in simulator.account.leads.values()}
        page = (await http.get("/leads", params=params)).json()
        seen = [found["id"] for found in page["data"]]
        simulator.play(300)
        while cursor := page["meta"]["next_cursor"]:
            page = (await http.get("/leads", params={**params, "cursor": cursor})).json()
            seen += [found["id"] for found in page["data"]]

    assert len(seen) == len(set(seen))
    assert set(seen) == before
