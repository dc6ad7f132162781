"""Asking a provider's MCP server: within our guard on addresses, our bounds and our words."""

from __future__ import annotations

import asyncio
import logging

import httpx
import orjson
import pytest

from libs.outbound.transport import GuardedTransport
from libs.providers.emailbison.client import TOOLS
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.emailbison.simulator.on_tools import TOOLS as OFFERED
from libs.providers.tool_servers import LARGEST_ANSWER_BYTES, list_tools

URL = "https://mcp.example.com/mcp"
HEADERS = {"Authorization": "Bearer 7|a-token-of-ours", "Instance-URL": "https://send.example.com"}


async def asked(handler, **more):
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        return await list_tools(URL, HEADERS, http, **more)


def answering(request, **result):
    message = orjson.loads(request.content or b"{}")
    if "id" not in message:
        return httpx.Response(202)
    return httpx.Response(200, json={"jsonrpc": "2.0", "id": message["id"], "result": result})


def hello(request):
    return answering(request, protocolVersion="2025-06-18", capabilities={}, serverInfo={"name": "n", "version": "1"})


async def test_every_page_of_tools_is_read_with_the_tokens_headers():
    simulator = EmailBisonSimulator(seed=5)
    headers = TOOLS.headers({"api_key": simulator.api_key}, "https://send.example.com/api")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=emailbison_app(simulator))) as http:
        found = await list_tools(URL, headers, http)

    assert headers == {"Authorization": f"Bearer {simulator.api_key}", "Instance-URL": "https://send.example.com"}
    assert (found.error, found.tools) == (None, OFFERED)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer 1|wrong", "Instance-URL": "https://x.example.com"}])
async def test_a_wrong_token_is_told_by_its_status(headers):
    simulator = EmailBisonSimulator(seed=5)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=emailbison_app(simulator))) as http:
        assert (await list_tools(URL, headers, http)).error == "answered 401"


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://send.example.com", TOOLS.url),
        (None, TOOLS.url),
        ("http://127.0.0.1:8080/emailbison/api", "http://127.0.0.1:8080/emailbison/mcp"),
        ("http://localhost:8080", "http://localhost:8080/mcp"),
    ],
)
def test_a_simulated_accounts_key_never_goes_to_the_vendor(base_url, url):
    assert TOOLS.url_for(base_url) == url


async def test_only_public_addresses_are_connected_to():
    async def inside(host, port):
        return ["10.0.0.7"]

    async with httpx.AsyncClient(
        transport=GuardedTransport(limits=httpx.Limits(), resolve=inside), trust_env=False
    ) as http:
        found = await list_tools(URL, HEADERS, http)

    assert found.error == "not asked: address_refused"


async def test_a_redirect_elsewhere_is_not_followed():
    seen = []

    def handler(request):
        seen.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://169.254.169.254/latest"})

    found = await asked(handler)

    assert found.error == "answered 307"
    assert set(seen) == {"mcp.example.com"}


async def test_an_endless_answer_is_cut_off():
    async def endless():
        while True:
            yield b" " * 65536

    found = await asked(
        lambda request: httpx.Response(200, headers={"content-type": "application/json"}, content=endless())
    )

    assert found.error == "answered what is no MCP (RemoteProtocolError)"
    assert LARGEST_ANSWER_BYTES < 8 * 1024 * 1024


async def test_a_packed_answer_is_not_unpacked():
    found = await asked(lambda _: httpx.Response(200, headers={"content-encoding": "gzip"}, content=b"\x1f\x8b"))

    assert found.error == "no answer (RemoteProtocolError)"


async def test_tools_without_an_end_are_not_asked_for_for_ever():
    pages = []

    def handler(request):
        if b'"initialize"' in request.content:
            return hello(request)
        pages.append(request.content)
        return answering(request, tools=[{"name": "t" * 500, "inputSchema": {}}], nextCursor="again")

    found = await asked(handler)

    assert found.error is None
    assert {len(name) for name in found.tools} == {100}
    assert len(found.tools) == 20


async def test_a_server_that_never_answers_takes_no_longer_than_it_may():
    async def never(_):
        await asyncio.Event().wait()

    assert (await asked(never, within_seconds=0.05)).error == "no answer in 0.05 s"


async def test_nothing_that_it_says_reaches_our_log(caplog):
    caplog.set_level(logging.DEBUG)

    found = await asked(lambda _: httpx.Response(200, json={"jsonrpc": "2.0", "secret": "word-of-theirs"}))

    assert found.error is not None
    assert "word-of-theirs" not in found.error + caplog.text
