"""What the gateway refuses before a request means anything, on its own routes and on those it forwards alike."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from libs.web import bodies
from libs.web.bodies import MAX_BODY_BYTES, MAX_HEADER_BYTES
from tests.integration.services.gateway.house import House
from tests.integration.services.webhook_ingest.conftest import Answer, ask

OWN, FORWARDED = "/v1/companies", "/v1/provider-accounts"
JSON = (b"content-type", b"application/json")

both = pytest.mark.parametrize("path", [OWN, FORWARDED])


async def post(
    house: House, path: str, body: bytes | Sequence[bytes] = b"{}", *more: tuple[bytes, bytes], **how: Any
) -> Answer:
    headers = [(b"authorization", f"Bearer {house.first.admin}".encode()), *more]
    chunks = [body] if isinstance(body, bytes) else body
    return await ask(house.app, path, chunks, headers=headers, **how)


def nothing_was_done(house: House) -> bool:
    return not any(owner.heard for owner in house.owners.values())


def refusal(answer: Answer) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.problem["request_id"] == answer.headers["x-request-id"]
    return answer.status, answer.problem["code"]


REFUSED: list[tuple[list[tuple[bytes, bytes]], bytes, tuple[int, str]]] = [
    ([], b"{}", (415, "unsupported_media_type")),
    ([(b"content-type", b"text/plain")], b"{}", (415, "unsupported_media_type")),
    ([(b"content-type", b"application/x-www-form-urlencoded")], b"name=a", (415, "unsupported_media_type")),
    ([(b"content-type", b"multipart/form-data; boundary=x")], b"--x--", (415, "unsupported_media_type")),
    ([(b"content-type", b"application/merge-patch+json")], b"{}", (415, "unsupported_media_type")),
    ([(b"content-type", b"application/json; charset=utf-16")], b"{}", (415, "unsupported_media_type")),
    ([JSON, (b"content-type", b"text/plain")], b"{}", (415, "unsupported_media_type")),
    ([JSON, (b"content-encoding", b"gzip")], gzip.compress(b"{}"), (415, "content_encoding_unsupported")),
    ([JSON, (b"content-encoding", b"identity, gzip")], b"{}", (415, "content_encoding_unsupported")),
    ([JSON, (b"content-length", b"9")], b"{}", (400, "bad_content_length")),
    ([JSON, (b"content-length", b"1")], b"{}", (400, "bad_content_length")),
    ([JSON, (b"content-length", b"-2")], b"{}", (400, "bad_content_length")),
    ([JSON, (b"content-length", b"\xb2")], b"{}", (400, "bad_content_length")),
    ([JSON, (b"content-length", b"2"), (b"content-length", b"3")], b"{}", (400, "bad_content_length")),
    ([JSON, (b"content-length", b"%d" % (MAX_BODY_BYTES + 1))], b"{}", (413, "too_large")),
    ([JSON, (b"x-long", b"x" * MAX_HEADER_BYTES)], b"{}", (431, "headers_too_large")),
    ([JSON, *[(b"x-many", b"x" * 100)] * 200], b"{}", (431, "headers_too_large")),
    ([JSON], b"garbage", (400, "malformed_json")),
    ([JSON], b'{"name": "caf\xe9"}', (400, "malformed_json")),
    ([JSON], b'{"name": NaN}', (400, "malformed_json")),
    ([JSON], b'{"name": "a", "name": "b"}', (400, "duplicate_field")),
    ([JSON], b'{"name": ' + b"[" * 70 + b"]" * 70 + b"}", (400, "json_too_deep")),
    ([JSON], b'{"name": ' + b"9" * 5000 + b"}", (400, "number_out_of_range")),
    ([JSON], b'{"name": "\\u0000"}', (400, "invalid_text")),
    ([JSON], b'{"name": "\\ud800"}', (400, "invalid_text")),
]


@both
async def test_a_request_is_refused_by_name_before_it_is_handed_on(house: House, path: str) -> None:
    for headers, body, expected in REFUSED:
        assert refusal(await post(house, path, body, *headers)) == expected, (headers[-1:], body[:50])
    assert nothing_was_done(house)


@both
async def test_what_is_well_formed_is_taken(house: House, path: str) -> None:
    for kind in (b"application/json", b"Application/JSON; charset=utf-8", b' application/json ;charset="UTF-8" '):
        headers = [(b"content-type", kind), (b"content-encoding", b"Identity")]
        answer = await post(house, path, b'{"name": "\xc3\xa9 \\ud83d\\ude00"}', *headers)
        assert answer.status in (200, 201), answer.body


@both
async def test_who_is_unknown_hears_nothing_about_the_body(house: House, path: str) -> None:
    unread: list[bool] = []

    async def receive() -> dict[str, Any]:
        unread.append(False)
        return {"type": "http.request", "body": b"{", "more_body": True}

    assert refusal(await ask(house.app, path, receive=receive)) == (401, "unauthenticated")
    assert unread == []


@both
async def test_a_slow_body_is_given_up(house: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.05)
    parts = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def stalls() -> dict[str, Any]:
        if not parts:
            await asyncio.Event().wait()
        return parts.pop()

    assert refusal(await post(house, path, b"", JSON, receive=stalls)) == (408, "too_slow")
    assert nothing_was_done(house)


@both
async def test_endless_chunks_and_bombs_cost_no_memory(house: House, path: str) -> None:
    given = 0

    async def endless() -> dict[str, Any]:
        nonlocal given
        given += 1
        return {"type": "http.request", "body": b"x" * 16, "more_body": True}

    bomb = gzip.compress(b"\0" * 100_000_000)
    tracemalloc.start()
    try:
        drip = await post(house, path, b"", JSON, receive=endless)
        bombed = await post(house, path, bomb, JSON, (b"content-encoding", b"gzip"))
        unnamed = await post(house, path, bomb, JSON)
        wide = await post(house, path, b"[" + b"{}," * (MAX_BODY_BYTES // 3 - 2) + b"{}]", JSON)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [refusal(answer) for answer in (drip, bombed, unnamed, wide)] == [
        (413, "too_large"),
        (415, "content_encoding_unsupported"),
        (400, "malformed_json"),
        (400, "json_too_large"),
    ]
    assert given == MAX_BODY_BYTES // 16 + 1
    assert peak < 10 * 1024 * 1024
    assert nothing_was_done(house)


async def test_a_header_cannot_smuggle_another_one_inside(house: House) -> None:
    for value in (b"*/*\r\nOutrider-Context: forged", b"a\nb", b"a\0b", b"a\x7fb", b"caf\xe9"):
        for name in (b"accept", b"idempotency-key", b"if-match", b"prefer"):
            answer = await post(house, FORWARDED, b"{}", JSON, (name, value))
            assert refusal(answer) == (422, "invalid_request"), (name, value)
    assert nothing_was_done(house)


async def test_an_organization_is_named_once(house: House) -> None:
    named = (b"outrider-org", house.first.org.encode())
    for path in (OWN, FORWARDED):
        answer = await post(house, path, b"{}", JSON, named, (b"outrider-org", house.second.org.encode()))
        assert refusal(answer) == (422, "invalid_request")
    assert nothing_was_done(house)


async def test_another_method_is_told_which_there_are(house: House) -> None:
    allowed = {
        "/v1/me": "GET",
        "/v1/companies": "GET, POST",
        f"/v1/users/usr_{'9' * 32}": "DELETE, GET, PATCH",
        f"/v1/api-keys/key_{'9' * 32}/rotations": "POST",
        "/v1/provider-accounts": "GET, POST",
        "/v1/leads/led_1": "GET",
    }
    for path, methods in allowed.items():
        for method in ("PUT", "TRACE", "PROPFIND", "X" * 100):
            answer = await post(house, path, b"", method=method)
            assert refusal(answer) == (405, "method_not_allowed"), (method, path)
            assert answer.headers["allow"] == methods, path
    assert nothing_was_done(house)
