from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from libs.providers.simulation import (
    CallBook,
    FaultKind,
    Faults,
    Plan,
    PlannedPost,
    PostFaults,
    PostKind,
    SimulatedApi,
    SimulatedClock,
    SlidingWindow,
    WebhookPoster,
    post_all,
)
from libs.providers.simulation.api import page_fault
from libs.providers.simulation.faults import cut


def plan_of(count: int, *kinds: PostKind) -> Plan:
    kinds = kinds or (PostKind.NORMAL,)
    return Plan([PlannedPost(number=n, kind=kinds[n % len(kinds)], body=b"%d" % n) for n in range(count)])


async def test_every_post_is_sent_and_what_is_withheld_is_not() -> None:
    plan, got = plan_of(30, PostKind.NORMAL, PostKind.WITHHELD, PostKind.GARBAGE), Counter[bytes]()
    progress: list[tuple[int, int]] = []

    async def send(url: str, body: bytes) -> int:
        assert url == "http://door/smartlead"
        got[body] += 1
        return 200

    journal = await post_all(
        plan, lambda _: "http://door/smartlead", send=send, on_progress=lambda done, of: progress.append((done, of))
    )

    assert got == Counter(post.body for post in plan if post.kind is not PostKind.WITHHELD)
    assert set(journal.acknowledged) == {post.number for post in plan.to_send()}
    assert progress == [(n, 20) for n in range(1, 21)]
    assert len(plan.acknowledged(PostKind.GARBAGE)) == 10


async def test_a_post_whose_answer_was_lost_is_sent_again_byte_for_byte() -> None:
    plan, got = plan_of(3), Counter[bytes]()

    async def send(url: str, body: bytes) -> int:
        got[body] += 1
        if got[body] == 1:
            raise TimeoutError
        return 200

    journal = await post_all(plan, lambda _: "u", send=send, first_wait_seconds=0)

    assert got == {b"0": 2, b"1": 2, b"2": 2}
    assert journal.answers == {"TimeoutError": 3, "200": 3}


async def test_only_200_acknowledges_and_tries_end() -> None:
    plan = plan_of(1)

    async def send(url: str, body: bytes) -> int:
        return 202

    journal = await post_all(plan, lambda _: "u", send=send, retries=2, first_wait_seconds=0)

    assert (journal.attempts[0], journal.acknowledged[0]) == (3, 0)


async def test_a_receiver_that_is_down_for_a_while_gets_everything_in_the_end() -> None:
    plan, calls = plan_of(40), 0

    async def send(url: str, body: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls < 400:
            raise ConnectionRefusedError
        return 200

    journal = await post_all(
        plan, lambda _: "u", send=send, retries=0, until_acknowledged=True, first_wait_seconds=0, concurrency=8
    )

    assert len(journal.acknowledged) == 40


async def test_no_more_posts_are_under_way_than_asked_for() -> None:
    under_way = most = 0

    async def send(url: str, body: bytes) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 200

    await post_all(plan_of(50), lambda _: "u", send=send, concurrency=7)

    assert most == 7


def test_faults_come_in_turn_and_only_where_they_are_asked_for() -> None:
    faults = Faults()
    faults.next(FaultKind.PAGE, path="/statistics")
    faults.next(FaultKind.EMPTY, 2)

    met = [faults.take("/campaigns"), faults.take("/campaigns/1/statistics"), faults.take("/x"), faults.take("/x")]

    assert met == [FaultKind.EMPTY, FaultKind.PAGE, FaultKind.EMPTY, None]


def test_a_window_lets_so_many_through_per_key() -> None:
    window = SlidingWindow(2, 60)

    assert [window.take("a"), window.take("a"), window.take("a"), window.take("b")] == [True, True, False, True]
    assert window.left("b") == 1
    assert window.free_in_seconds("a") == pytest.approx(60, abs=5)


# The frame of every simulated API


class Echo(SimulatedApi):
    """A provider that counts what it was told to do, and lists numbers."""

    prefix = "/api"

    def __init__(self, limit: SlidingWindow | None = None) -> None:
        super().__init__(limit=limit)
        self.done = 0

    def key_of(self, request: Request) -> str:
        return request.headers.get("key", "")

    async def route(self, request: Request, path: str, key: str) -> Response:
        self.done += 1
        offset = int(request.query_params.get("offset", "0"))
        return JSONResponse({"rows": cut(range(100), offset, 10, page_fault(request)), "path": path})

    def key_refused(self, key: str) -> Response:
        return JSONResponse({"message": "no such key"}, 401)

    def rate_limited(self, seconds: int) -> Response:
        return JSONResponse({"message": "slow down"}, 429)


@asynccontextmanager
async def served(app: Echo) -> AsyncIterator[httpx.AsyncClient]:
    """The same over TCP, where a connection can really end."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, log_level="critical"))
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag, no event
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}/api", headers={"key": "k"}, trust_env=False
        ) as http:
            yield http
    finally:
        server.should_exit = True
        await running


def http_to(app: Echo) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://echo.example.com/api", headers={"key": "k"}
    )


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [
        (FaultKind.RATE_LIMITED, 429, "1"),
        (FaultKind.RATE_LIMITED_WITHOUT_HINT, 429, None),
        (FaultKind.RATE_LIMITED_BROKEN_HINT, 429, "in a while"),
        (FaultKind.RATE_LIMITED_PAGE, 429, None),
        (FaultKind.SERVER_ERROR, 500, None),
        (FaultKind.BAD_GATEWAY, 502, None),
        (FaultKind.PAGE, 200, None),
        (FaultKind.EMPTY, 200, None),
        (FaultKind.GARBAGE, 200, None),
    ],
)
async def test_what_is_answered_instead_is_not_done(kind: FaultKind, status: int, retry_after: str | None) -> None:
    app = Echo()
    app.faults.next(kind)
    async with http_to(app) as http:
        answer = await http.post("/things/7")
        again = await http.post("/things/7")

    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert app.faults.met == [(kind, "POST /things/7")]
    assert (again.json()["path"], app.done) == ("/things/7", 1)


@pytest.mark.parametrize(("kind", "done"), [(FaultKind.DROPPED, 0), (FaultKind.DONE_AND_DROPPED, 1)])
@pytest.mark.parametrize("over", ["asgi", "tcp"])
async def test_a_dropped_answer_looks_the_same_whether_the_call_was_done_or_not(
    kind: FaultKind, done: int, over: str
) -> None:
    app = Echo()
    app.faults.next(kind, path="POST")
    async with http_to(app) if over == "asgi" else served(app) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/things")
        assert app.done == done
        assert (await http.post("/things")).status_code == 200
    assert [call.status for call in app.book.of("k")] == [None, 200]


async def test_a_failure_after_the_deed_is_a_deed() -> None:
    app = Echo()
    app.faults.next(FaultKind.DONE_AND_FAILED)
    async with http_to(app) as http:
        assert (await http.post("/things")).status_code == 500
    assert app.done == 1


async def test_an_answer_may_be_cut_off_or_hold_other_types() -> None:
    app = Echo()
    app.faults.next(FaultKind.TRUNCATED)
    app.faults.next(FaultKind.WRONG_TYPES)
    async with http_to(app) as http:
        whole = '{"rows":[0,1,2,3,4,5,6,7,8,9],"path":"/things"}'
        assert (await http.get("/things")).text == whole[: len(whole) // 2]
        assert (await http.get("/things", params={"offset": 99})).json() == {"rows": [[99]], "path": ["/things"]}


async def test_a_slow_drip_is_the_answer_in_pieces() -> None:
    app = Echo()
    app.faults.drip_seconds, app.faults.drip_bytes = 0.0, 7
    app.faults.next(FaultKind.SLOW_DRIP)
    async with served(app) as http, http.stream("GET", "/things") as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert len(pieces) > 1
    assert b"".join(pieces) == b'{"rows":[0,1,2,3,4,5,6,7,8,9],"path":"/things"}'


@pytest.mark.parametrize(
    ("kind", "pages"),
    [
        (FaultKind.PAGE_LOOP, [0, 0, 0]),
        (FaultKind.PAGE_SKIPS, [0, 11, 21]),
        (FaultKind.PAGE_REPEATS, [0, 9, 19]),
    ],
)
async def test_lists_that_move_until_they_calm_down(kind: FaultKind, pages: list[int]) -> None:
    app = Echo()
    app.faults.always(kind)
    async with http_to(app) as http:
        met = [(await http.get("/things", params={"offset": offset})).json()["rows"][0] for offset in (0, 10, 20)]
        app.faults.calm()
        calm = (await http.get("/things", params={"offset": 10})).json()["rows"][0]
    assert (met, calm) == (pages, 10)


async def test_a_burst_fails_a_share_of_the_calls() -> None:
    app = Echo()
    app.faults.always(FaultKind.SERVER_ERROR, share=0.3)
    async with http_to(app) as http:
        met = Counter([(await http.get("/things")).status_code for _ in range(200)])
    assert 35 < met[500] < 85
    assert met.total() == 200


async def test_a_revoked_key_opens_nothing_any_more() -> None:
    app = Echo()
    async with http_to(app) as http:
        assert (await http.get("/things")).status_code == 200
        app.revoked.add("k")
        assert (await http.get("/things")).status_code == 401
        assert (await http.get("/things", headers={"key": "another"})).status_code == 200


async def test_the_call_book_counts_by_account_endpoint_and_window() -> None:
    clock = SimulatedClock(datetime(2026, 7, 1, tzinfo=UTC))
    app = Echo(SlidingWindow(2, 60, clock.seconds))
    app.book = CallBook(clock.seconds)
    async with http_to(app) as http:
        paths = ("/things/7/parts/8", "/things/9", "/things/9")
        statuses = [(await http.get(path)).status_code for path in paths]
        clock.advance(timedelta(seconds=60))
        statuses.append((await http.get("/things/9")).status_code)
        await http.get("/things/9", headers={"key": "another"})

    assert statuses == [200, 200, 429, 200]
    assert app.book.by_endpoint("k") == {"GET /things/{id}/parts/{id}": 1, "GET /things/{id}": 3}
    assert (app.book.most_in(60, "k"), app.book.most_in(61, "k"), app.book.most_in(60, "another")) == (3, 4, 1)
    assert len(app.book.of("k", endpoint="GET /things/{id}")) == 3


# Webhooks told as things happen


def poster(**faults: object) -> tuple[WebhookPoster, SimulatedClock]:
    clock = SimulatedClock(datetime(2026, 7, 1, tzinfo=UTC))
    return WebhookPoster(clock, faults=PostFaults(**faults)), clock  # type: ignore[arg-type]


async def test_what_is_told_is_posted_once_and_in_order() -> None:
    telling, _ = poster()
    got: list[tuple[str, bytes]] = []

    async def send(url: str, body: bytes) -> int:
        got.append((url, body))
        return 204

    for number in range(5):
        telling.tell(f"u{number}", b"%d" % number, event_type="SENT")
    assert await telling.send_due() == 0  # nobody to send: nothing is lost
    telling.send = send
    assert await telling.send_due() == 5
    assert await telling.send_due() == 0

    assert got == [(f"u{number}", b"%d" % number) for number in range(5)]


async def test_what_is_not_heard_is_posted_again_as_long_as_the_provider_has_patience() -> None:
    telling, clock = poster()
    telling.retry_after = (timedelta(minutes=1), timedelta(minutes=5))
    got: list[bytes] = []

    async def send(url: str, body: bytes) -> int:
        got.append(body)
        raise TimeoutError

    telling.send = send
    telling.tell("u", b"x", event_type="SENT")
    sent = []
    for minutes in (0, 1, 4, 1, 60):
        clock.advance(timedelta(minutes=minutes))
        sent.append(await telling.send_due())

    assert sent == [1, 1, 0, 1, 0]
    assert got == [b"x"] * 3
    assert telling.journal.answers == {"TimeoutError": 3}


async def test_posts_are_silenced_doubled_delayed_and_reordered() -> None:
    telling, clock = poster(
        silent_types=frozenset({"OPEN"}), duplicates=0.5, longest_delay=timedelta(hours=1), reorders=True
    )
    got: list[bytes] = []

    async def send(url: str, body: bytes) -> int:
        got.append(body)
        return 200

    telling.send = send
    for number in range(40):
        telling.tell("u", b"%d" % number, event_type="OPEN" if number % 4 == 0 else "SENT")
    assert await telling.send_due() < 40
    clock.advance(timedelta(hours=1))
    await telling.send_due()

    assert telling.waiting == 0
    assert {int(body) for body in got} == {number for number in range(40) if number % 4}
    assert 30 < len(got) < 60
    assert [int(body) for body in dict.fromkeys(got)] != sorted({int(body) for body in got})
    assert len([post for post in telling.posts if post.kind is PostKind.WITHHELD]) == 10
