"""A real server on loopback, with patience cut short: who is slow, endless or too many is hung up on; the others go on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from libs.runtime import server
from libs.runtime.server import make_server

MOST = 20
SOON_SECONDS = 15
HEAD = b"GET / HTTP/1.1\r\nHost: house\r\n"


class App:
    """Answers `/` at once, `/body` when it has read the body, `/long` when told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/body":
            while (message := await receive()).get("more_body"):
                pass
            if message["type"] == "http.disconnect":
                return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        if scope["path"] == "/long":
            await self.go_on.wait()
        self.answered += 1
        await send({"type": "http.response.body", "body": b"k"})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    # Whatever is waited for comes soon or never.

    async def says(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(SOON_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            return int(head[0].split(" ")[1]), headers, await self.reader.readexactly(int(headers["content-length"]))

    async def problem(self) -> tuple[int, str]:
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == orjson.loads(body)["request_id"]
        return status, orjson.loads(body)["code"]

    async def hung_up(self) -> bool:
        """Wait until the other side has closed; whether it did without a word."""
        try:
            async with asyncio.timeout(SOON_SECONDS):
                return await self.reader.read() == b""
        except ConnectionError:
            return True

    async def goes_on(self, part: Callable[[], bytes], every_seconds: float = 0.0) -> None:
        """Send parts until nobody takes them."""
        try:
            async with asyncio.timeout(SOON_SECONDS):
                while True:
                    self.writer.write(part())
                    await self.writer.drain()
                    await asyncio.sleep(every_seconds)
        except ConnectionError:
            pass


Connect = Callable[[], Awaitable[Client]]


@pytest.fixture
async def app() -> App:
    return App()


@pytest.fixture
async def connect(app: App) -> AsyncIterator[Connect]:
    clients: list[Client] = []
    async with _running(app) as port:

        async def make() -> Client:
            clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
            return clients[-1]

        yield make
        for client in clients:
            client.writer.transport.abort()


@asynccontextmanager
async def _running(app: App) -> AsyncIterator[int]:
    running = make_server(app, host="127.0.0.1", port=0, most_connections=MOST)
    task = asyncio.create_task(running.serve())
    while not running.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.005)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        app.go_on.set()
        running.should_exit = running.force_exit = True
        await task


def patience(monkeypatch: pytest.MonkeyPatch, **bounds: Any) -> None:
    for name, value in bounds.items():
        monkeypatch.setattr(server, name, value)


async def test_requests_follow_each_other_on_one_connection(connect: Connect, monkeypatch) -> None:
    patience(monkeypatch, HEAD_BYTES=500, REQUEST_BYTES=500)  # of each, not of all
    client = await connect()
    for _ in range(50):
        await client.says(HEAD + b"\r\n")
        assert (await client.answer())[0] == 200
    await client.says(HEAD + b"\r\n" + HEAD + b"\r\n")
    assert [(await client.answer())[2] for _ in range(2)] == [b"ok", b"ok"]


async def test_a_head_that_drips_is_given_up_and_holds_nobody_else_up(connect: Connect, app, monkeypatch) -> None:
    patience(monkeypatch, HEAD_SECONDS=0.5)
    slow = [await connect() for _ in range(MOST - 1)]
    drips = []
    for client in slow:
        await client.says(HEAD)
        drips.append(asyncio.create_task(client.goes_on(lambda: b"X-a: b\r\n", every_seconds=0.02)))
    quick = await connect()

    for _ in range(20):
        await quick.says(HEAD + b"\r\n")
        assert (await quick.answer())[0] == 200
    assert [await client.problem() for client in slow] == [(408, "too_slow")] * len(slow)
    for client in slow:
        await client.hung_up()
    await asyncio.gather(*drips)
    assert app.answered == 20


async def test_whoever_connects_and_is_silent_is_hung_up_on(connect: Connect, monkeypatch) -> None:
    patience(monkeypatch, HEAD_SECONDS=0.1)
    assert await (await connect()).hung_up()


async def test_line_breaks_are_no_head(connect: Connect, monkeypatch) -> None:
    patience(monkeypatch, HEAD_SECONDS=0.2, KEEP_ALIVE_SECONDS=60)
    client = await connect()
    await client.says(HEAD + b"\r\n")
    assert (await client.answer())[0] == 200

    drip = asyncio.create_task(client.goes_on(lambda: b"\r\n", every_seconds=0.01))

    assert await client.problem() == (408, "too_slow")
    await drip


@pytest.mark.parametrize("part", [b"X-many: " + b"x" * 1000 + b"\r\n", b"x" * 1000], ids=["lines", "one line"])
async def test_an_endless_head_is_given_up(connect: Connect, part: bytes) -> None:
    client = await connect()
    await client.says(HEAD + b"X-long: ")

    endless = asyncio.create_task(client.goes_on(lambda: part))

    assert await client.problem() == (431, "headers_too_large")
    await client.hung_up()
    await endless


async def test_a_body_that_drips_is_given_up(connect: Connect, app, monkeypatch) -> None:
    patience(monkeypatch, REQUEST_SECONDS=0.2)
    client = await connect()
    await client.says(b"POST /body HTTP/1.1\r\nHost: house\r\nContent-Length: 1000\r\n\r\n")

    drip = asyncio.create_task(client.goes_on(lambda: b"x", every_seconds=0.01))

    assert await client.hung_up()
    await drip
    assert app.answered == 0


@pytest.mark.parametrize("bound", [{"REQUEST_SECONDS": 0.2}, {"REQUEST_BYTES": 1_000_000}], ids=["time", "size"])
@pytest.mark.parametrize(
    ("head", "part"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-trailer: " + b"x" * 1000 + b"\r\n"),
        (b"Content-Length: 999999999999\r\n\r\n", b"x" * 1000),
    ],
    ids=["chunks", "trailers", "length"],
)
async def test_who_goes_on_after_the_answer_is_hung_up_on(
    connect, monkeypatch, bound, head: bytes, part: bytes
) -> None:
    patience(monkeypatch, **bound)
    client = await connect()
    await client.says(b"POST / HTTP/1.1\r\nHost: house\r\n" + head)
    assert (await client.answer())[0] == 200

    await client.goes_on(lambda: part, every_seconds=0.001 if "REQUEST_SECONDS" in bound else 0)

    assert await client.hung_up()


async def test_a_long_answer_is_not_cut_short(connect: Connect, app, monkeypatch) -> None:
    patience(monkeypatch, HEAD_SECONDS=0.05, REQUEST_SECONDS=0.05, KEEP_ALIVE_SECONDS=0.05)
    client = await connect()
    await client.says(b"GET /long HTTP/1.1\r\nHost: house\r\n\r\n")
    await client.reader.readuntil(b"\r\n\r\n")
    silent = await connect()
    await silent.hung_up()  # so long at least

    app.go_on.set()

    assert await client.reader.readexactly(2) == b"ok"


async def test_who_is_one_too_many_is_told_to_come_later(connect: Connect) -> None:
    held = [await connect() for _ in range(MOST)]
    for client in held:
        await client.says(HEAD + b"\r\n")
        assert (await client.answer())[0] == 200

    late = await connect()
    await late.says(HEAD + b"\r\n")
    status, headers, body = await late.answer()

    assert (status, orjson.loads(body)["code"]) == (503, "too_busy")
    assert int(headers["retry-after"]) >= 1
    assert await late.hung_up()
    held[0].writer.close()
    while True:  # until the server has noticed
        client = await connect()
        await client.says(HEAD + b"\r\n")
        if (await client.answer())[0] == 200:
            break
        await client.hung_up()


async def test_what_is_no_request_is_told_so(connect: Connect) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS
        b"GET / HTTP/1.1\r\nHost: a\r\nX-a\x00b: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-a: b\x00c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"CONNECT house:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        client = await connect()
        await client.says(garbage)
        assert await client.problem() == (400, "malformed_request"), garbage
        await client.hung_up()


async def test_no_bytes_bring_it_down(connect: Connect, monkeypatch) -> None:
    """Requests with bytes changed, lost and doubled, and pure noise: each is answered or hung up on, never with a 5xx."""
    patience(monkeypatch, HEAD_SECONDS=0.05, REQUEST_SECONDS=0.05)
    dice = random.Random(6)
    sound = b"POST /body?a=1 HTTP/1.1\r\nHost: house\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    def hostile() -> bytes:
        data = bytearray(sound if dice.random() < 0.9 else dice.randbytes(200))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randint(0, 2)] = dice.choice(
                [b"", b"\r\n", b"\0", b"\xff", bytes(data[:20]), dice.randbytes(2)]
            )
        return bytes(data)

    async def one() -> bytes:
        client = await connect()
        await client.says(hostile())
        client.writer.write_eof()
        try:
            return await client.reader.read()
        except ConnectionError:
            return b""

    answers = [answer for _ in range(30) for answer in await asyncio.gather(*(one() for _ in range(10)))]

    statuses = {int(answer[9:12]) for answer in answers if answer}
    assert 200 in statuses
    assert statuses <= {200, 400, 408, 431}
