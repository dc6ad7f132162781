"""What passes the inner hop, and what happens when it breaks: once in process, once over sockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import orjson
import pytest
from starlette.responses import Response, StreamingResponse

from libs.tenancy.signing import ContextVerifier, new_private_key, public_key_of
from libs.web import problems
from libs.web.bodies import MAX_BODY_BYTES
from tests.integration.services.gateway.house import House, without_request_id


async def test_bytes_pass_untouched_both_ways(either_house):
    sent = b'{"provider": "smartlead",\n  "name":"caf\xc3\xa9" }'
    given = b'{"id":"acc_1","odd":  1.50}'

    async def reply(heard):
        return Response(given, 201, {"Location": "/v1/provider-accounts/acc_1", "ETag": '"7"'}, "application/json")

    either_house.owners["provider-sync"].reply = reply
    response = await either_house.ask(
        "POST",
        "/v1/provider-accounts?dry=%C3%A9+1&x=&x=a%2Fb",
        either_house.first.admin,
        content=sent,
        headers={"Content-Type": "application/json", "Idempotency-Key": "once-1"},
    )

    heard = either_house.last("provider-sync")
    assert heard.body == sent
    assert heard.query == "dry=%C3%A9+1&x=&x=a%2Fb"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["idempotency-key"] == "once-1"
    assert response.status_code == 201
    assert response.content == given
    assert response.headers["content-type"] == "application/json"
    assert response.headers["location"] == "/v1/provider-accounts/acc_1"
    assert response.headers["etag"] == '"7"'
    assert response.headers["content-length"] == str(len(given))


async def test_only_listed_headers_go_in(either_house):
    await either_house.ask(
        "GET",
        "/v1/leads",
        either_house.first.viewer,
        headers={
            "Cookie": "session=1",
            "X-Forwarded-For": "203.0.113.9",
            "Outrider-Context": "forged",
            "X-Request-Id": "req_" + "a" * 32,
            "If-None-Match": '"7"',
            "Prefer": "return=minimal",
            "Accept": "application/json",
        },
    )

    headers = either_house.last("provider-sync").headers
    assert set(headers) == {
        "host", "accept", "if-none-match", "prefer", "outrider-context", "x-request-id", "traceparent"
    }  # fmt: skip
    assert headers["outrider-context"] != "forged"
    assert headers["if-none-match"] == '"7"'


async def test_one_request_has_one_id_which_the_caller_cannot_choose(either_house):
    chosen = "req_" + "a" * 32
    for path in ("/v1/leads", "/v1/me", "/v1/nothing"):
        response = await either_house.ask("GET", path, either_house.first.viewer, headers={"X-Request-Id": chosen})
        ids = response.headers.get_list("x-request-id")
        assert len(ids) == 1
        assert ids[0] != chosen
        assert re.fullmatch(r"req_[0-9a-f]{32}", ids[0])
    response = await either_house.ask("GET", "/v1/leads", either_house.first.viewer)
    assert either_house.last("provider-sync").headers["x-request-id"] == response.headers["x-request-id"]


async def test_the_trace_goes_on_inside(either_house):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await either_house.ask(
        "GET", "/v1/leads", either_house.first.viewer, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )

    assert either_house.last("provider-sync").headers["traceparent"].split("-")[1] == trace


async def test_only_listed_headers_come_out(either_house):
    async def reply(heard):
        headers = {"Set-Cookie": "a=1", "Server": "inner", "X-Internal": "10.0.0.7", "Retry-After": "3"}
        return Response(b"{}", 200, headers, "application/json")

    either_house.owners["provider-sync"].reply = reply
    response = await either_house.ask("GET", "/v1/leads", either_house.first.viewer)

    limits = {"ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert set(response.headers) == {"content-type", "content-length", "retry-after", "x-request-id"} | limits


async def test_cookies_of_an_owner_are_not_kept_for_the_next_tenant(either_house):
    async def reply(heard):
        return Response(b"{}", 200, {"Set-Cookie": "tenant=first; Path=/"}, "application/json")

    either_house.owners["provider-sync"].reply = reply
    await either_house.ask("GET", "/v1/leads", either_house.first.viewer)
    await either_house.ask("GET", "/v1/leads", either_house.second.viewer)

    assert "cookie" not in either_house.last("provider-sync").headers


async def test_any_status_passes(either_house):
    async def reply(heard):
        status = int(heard.query)
        return Response(b"" if status in (204, 304) else b'{"a":1}', status, {"Location": "/elsewhere"})

    either_house.owners["provider-sync"].reply = reply
    for status in (200, 202, 204, 304, 301, 400, 403, 404, 409, 422, 429, 500, 503):
        response = await either_house.ask("GET", f"/v1/leads?{status}", either_house.first.viewer)

        assert response.status_code == status
        assert response.headers["location"] == "/elsewhere"
        assert ("content-length" in response.headers) == (status not in (204, 304))


async def test_an_answer_in_pieces_arrives_whole(either_house):
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(50):
            yield b"%d," % number
            await asyncio.sleep(0)

    async def reply(heard):
        return StreamingResponse(pieces(), media_type="text/plain")

    either_house.owners["provider-sync"].reply = reply
    response = await either_house.ask("GET", "/v1/leads", either_house.first.viewer)

    assert response.text == "".join(f"{number}," for number in range(50))


async def test_an_owners_404_for_anothers_object_stays_the_same_byte_for_byte(either_house):
    theirs = "cam_" + "1" * 32

    async def reply(heard):
        mine = heard.context.org_id == either_house.second.org_id and heard.path.endswith(theirs)
        if mine:
            return Response(orjson.dumps({"id": theirs}), 200, media_type="application/json")
        request_id = heard.headers["x-request-id"]
        return problems.problem(404, "not_found", "there is no campaign with this id", request_id=request_id)

    either_house.owners["provider-sync"].reply = reply
    for channel in ("email", "linkedin"):
        owned = await either_house.ask("GET", f"/v1/{channel}/campaigns/{theirs}", either_house.second.admin)
        foreign = await either_house.ask("GET", f"/v1/{channel}/campaigns/{theirs}", either_house.first.admin)
        missing = await either_house.ask("GET", f"/v1/{channel}/campaigns/cam_{'2' * 32}", either_house.first.admin)
        assert owned.status_code == 200
        assert without_request_id(foreign) == without_request_id(missing)
        assert foreign.status_code == 404


@pytest.mark.parametrize("hop", ["asgi", "socket"])
async def test_one_owner_down_leaves_the_others_up(make_house, hop):
    house: House = await make_house(hop, absent=("analytics",))

    down = await house.ask("GET", "/v1/analytics/ledger", house.first.admin)
    up = [
        await house.ask("GET", path, house.first.admin)
        for path in ("/v1/provider-accounts", "/v1/reconciliations", "/v1/deliveries", "/v1/companies")
    ]

    assert down.status_code == 503
    assert down.json()["code"] == "upstream_unavailable"
    assert down.json()["retryable"] is True
    assert "retry-after" in down.headers
    assert "127.0.0.1" not in down.text
    assert "analytics" not in down.json()["detail"]
    assert [response.status_code for response in up] == [200, 200, 200, 200]


@pytest.mark.parametrize("hop", ["asgi", "socket"])
async def test_a_slow_owner_is_given_up(make_house, hop):
    house: House = await make_house(hop, deadline_seconds=0.1)
    left = asyncio.Event()

    async def reply(heard):
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    house.owners["provider-sync"].reply = reply
    response = await house.ask("GET", "/v1/leads", house.first.viewer)

    assert response.status_code == 504
    assert response.json()["code"] == "upstream_timeout"
    house.owners["provider-sync"].reply = house.owners["analytics"].reply
    assert (await house.ask("GET", "/v1/leads", house.first.viewer)).status_code == 200
    if hop == "asgi":
        assert left.is_set()


async def test_an_owner_that_refuses_our_signature_is_our_failure_not_the_callers(either_house):
    other = public_key_of(new_private_key())
    either_house.owners["provider-sync"].verifier = ContextVerifier([other], "provider-sync")

    response = await either_house.ask("GET", "/v1/leads", either_house.first.viewer)

    assert response.status_code == 503
    assert response.json()["code"] == "upstream_unavailable"


async def test_a_body_over_the_limit_is_refused_and_one_at_it_passes(either_house):
    headers = {"Content-Type": "application/json"}

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 4096):
            yield b"x" * 4096
        yield b"x" * (size % 4096)

    async def post(path: str, content):
        return await either_house.ask("POST", path, either_house.first.admin, content=content, headers=headers)

    largest = b'"' + b"x" * (MAX_BODY_BYTES - 2) + b'"'
    assert (await post("/v1/provider-accounts", largest)).status_code == 200
    assert len(either_house.last("provider-sync").body) == MAX_BODY_BYTES
    heard = len(either_house.owners["provider-sync"].heard)
    for path in ("/v1/provider-accounts", "/v1/companies"):
        for content in (b"x" * (MAX_BODY_BYTES + 1), pieces(MAX_BODY_BYTES + 1)):
            response = await post(path, content)
            assert response.status_code == 413
            assert response.json()["code"] == "too_large"
    assert len(either_house.owners["provider-sync"].heard) == heard


async def test_other_methods_and_strange_paths_are_not_forwarded(either_house):
    viewer = either_house.first.viewer
    wrong_method = await either_house.ask("DELETE", "/v1/leads", viewer)
    assert wrong_method.status_code == 405
    assert wrong_method.headers["allow"] == "GET"
    for path in ("/v1/leads/", "/v1/leads/a%2fb", "/v1/leads/..%2fhealth", "/v1/leads/%00", "/leads", "/v1/leads/a.b"):
        response = await either_house.ask("GET", path, viewer)
        assert response.status_code == 404, path
        assert response.json()["code"] == "not_found"
    assert not either_house.owners["provider-sync"].heard


async def test_a_header_that_is_not_ascii_is_refused_alike(either_house):
    response = await either_house.ask(
        "GET", "/v1/leads", either_house.first.viewer, headers={b"If-Match": "é".encode()}
    )

    assert response.status_code == 422
