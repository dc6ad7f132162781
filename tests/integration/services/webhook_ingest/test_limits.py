"""What the door refuses before it looks at a token, over ASGI and over a real socket."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from libs.ids import new_id
from libs.runtime.server import make_server
from libs.web import bodies
from libs.web.bodies import MAX_BODY_BYTES
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox, ask, mailbox, sent


@asynccontextmanager
async def served(door: Door) -> AsyncIterator[int]:
    server = make_server(door.front, host="127.0.0.1", port=0, most_connections=10)
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


async def spoken(port: int, *parts: bytes) -> bytes:
    """What a socket answers until it closes, or until a whole answer is there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return head + await reader.readexactly(length)
    finally:
        writer.transport.abort()


def head(path: str, *headers: bytes) -> bytes:
    return b"\r\n".join([b"POST %s HTTP/1.1" % path.encode(), b"Host: door", *headers, b"", b""])


async def test_a_post_over_a_socket(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    body = sent(1)
    async with served(door) as port:
        answer = await spoken(port, head(boxes[0].path, b"Content-Length: %d" % len(body)) + body)
        health = await spoken(port, b"GET /health/live HTTP/1.1\r\nHost: door\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n{}")
    assert b"x-request-id: req_" in answer
    assert health.startswith(b"HTTP/1.1 200 ")
    assert b"x-request-id: req_" in health


@pytest.mark.parametrize("length", [MAX_BODY_BYTES, MAX_BODY_BYTES + 1])
async def test_the_body_is_counted_while_it_streams(door: Door, boxes: tuple[Mailbox, Mailbox], length: int) -> None:
    whole = b"x" * length
    chunks = [whole[start : start + 1000] for start in range(0, length, 1000)]

    answer = await ask(door.front, boxes[0].path, chunks)

    if length == MAX_BODY_BYTES:
        assert answer.status == 200
        [row] = await door.rows("SELECT body FROM deliveries")
        assert row["body"] == whole
    else:
        assert (answer.status, answer.problem["code"]) == (413, "too_large")
        assert await door.rows("SELECT 1 FROM deliveries") == []


async def test_the_largest_payload_still_fits_an_event(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    body = sent(1, padding="")
    body = sent(1, padding="x" * (MAX_BODY_BYTES - len(body)))
    assert len(body) == MAX_BODY_BYTES

    assert (await door.post(boxes[0], body)).status == 200
    [event] = await door.told()
    assert event.body == body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"content-length", b"9")], 400),
        ([(b"content-length", b"1")], 400),
        ([(b"content-length", b"-2")], 400),
        ([(b"content-length", b"2"), (b"content-length", b"3")], 400),
        ([(b"content-length", str(MAX_BODY_BYTES + 1).encode())], 413),
        ([(b"content-encoding", b"gzip")], 415),
        ([(b"content-encoding", b"identity, gzip")], 415),
        ([(b"x-long", b"x" * 16_384)], 431),
        ([(b"x-many", b"x" * 100)] * 200, 431),
        ([(b"content-encoding", b"Identity"), (b"content-length", b"2")], 200),
    ],
)
async def test_headers_are_judged_before_the_body(
    door: Door, boxes: tuple[Mailbox, Mailbox], headers: list[tuple[bytes, bytes]], status: int
) -> None:
    answer = await ask(door.front, boxes[0].path, headers=headers)

    assert answer.status == status
    assert answer.headers["x-request-id"].startswith("req_")
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.problem["status"] == status
        assert answer.problem["request_id"] == answer.headers["x-request-id"]
    assert len(await door.rows("SELECT 1 FROM deliveries")) == (status == 200)


async def test_a_slow_body_is_given_up(
    door: Door, boxes: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.1)
    async with served(door) as port:
        answer = await spoken(port, head(boxes[0].path, b"Content-Length: 100"), b"only this")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    assert await door.rows("SELECT 1 FROM deliveries") == []


async def test_endless_chunks_and_bombs_cost_no_memory(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    given = 0

    async def endless() -> dict[str, Any]:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    bomb = gzip.compress(b"\0" * 100_000_000)
    tracemalloc.start()
    try:
        drip = await ask(door.front, boxes[0].path, receive=endless)
        bombed = await ask(door.front, boxes[0].path, [bomb], headers=[(b"content-encoding", b"gzip")])
        unnamed = await ask(door.front, boxes[0].path, [bomb])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (drip.status, bombed.status, unnamed.status) == (413, 415, 200)  # unnamed it is garbage as it stands
    assert given == MAX_BODY_BYTES + 1
    assert peak < 10 * 1024 * 1024


async def test_a_client_that_leaves_while_it_speaks_is_forgotten(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def leave() -> dict[str, Any]:
        return messages.pop(0)

    answer = await ask(door.front, boxes[0].path, receive=leave)

    assert answer.status == 0
    assert await door.rows("SELECT 1 FROM deliveries") == []


async def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, theirs = boxes
    closed = mailbox(mine.org_id)
    await door.open(closed)
    await door.processor.deliver([closed.changed(2, status="closed")])
    other_secret = theirs.token.partition("_")[2]
    paths = {
        "unknown id": f"/webhooks/smartlead/{new_id().hex}_{other_secret}",
        "another endpoint's secret": f"/webhooks/smartlead/{mine.id.hex}_{other_secret}",
        "another provider": mine.path.replace("smartlead", "heyreach"),
        "closed": closed.path,
        "no token": "/webhooks/smartlead/",
        "short secret": f"/webhooks/smartlead/{mine.id.hex}_{'x' * 42}",
        "longer path": f"{mine.path}/x",
        "line break": f"{mine.path}\n",
        "no provider": f"/webhooks//{mine.token}",
        "upper case id": f"/webhooks/smartlead/{mine.token.partition('_')[0].upper()}_{mine.token.partition('_')[2]}",
    }
    assert len(set(paths.values())) == len(paths)

    with structlog.testing.capture_logs() as logs:
        answers = {name: await ask(door.front, path) for name, path in paths.items()}

    shown = {}
    for name, answer in answers.items():
        number = answer.headers.pop("x-request-id")
        shown[name] = (answer.status, answer.headers, answer.body.replace(number.encode(), b"*"))
    assert shown["closed"][0] == 404
    assert all(one == shown["closed"] for one in shown.values())
    assert await door.rows("SELECT 1 FROM deliveries") == []
    assert not [line for line in logs if other_secret in str(line)]
    assert (await door.post(mine, sent(1))).status == 200


async def test_an_unknown_id_costs_what_a_wrong_secret_costs(
    door: Door, boxes: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same work: one comparison of digests, one wait for one look."""
    mine, theirs = boxes
    looks: list[bool] = []
    compared: list[int] = []
    look_again, compare = door.endpoints.look_again, hmac.compare_digest

    async def noted_look() -> None:
        looks.append(True)
        await look_again()

    def noted_compare(one: bytes, other: bytes) -> bool:
        compared.append(len(one))
        return compare(one, other)

    monkeypatch.setattr(door.endpoints, "look_again", noted_look)
    monkeypatch.setattr(hmac, "compare_digest", noted_compare)
    secret = theirs.token.partition("_")[2]

    await ask(door.front, f"/webhooks/smartlead/{new_id().hex}_{secret}")
    unknown, looks[:], compared[:] = (len(looks), compared.count(32)), [], []
    await ask(door.front, f"/webhooks/smartlead/{mine.id.hex}_{secret}")

    assert unknown == (len(looks), compared.count(32)) == (1, 2)


async def test_other_methods_and_other_paths(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    got = await ask(door.front, boxes[0].path, method="GET")
    elsewhere = await ask(door.front, "/nothing", method="GET")
    alive = await ask(door.front, "/health/live", method="GET")

    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert (elsewhere.status, elsewhere.problem["code"]) == (404, "not_found")
    assert alive.status == 200
