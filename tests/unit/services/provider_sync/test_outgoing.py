"""What counts as a write: what its caller would not repeat, whatever the method."""

from __future__ import annotations

import httpx
import pytest

from libs.errors import ProviderUnavailable
from libs.outbound.addresses import AddressRefused
from libs.outbound.transport import GuardedTransport
from libs.providers.calls import CallPolicy, call
from services.provider_sync.handlers.registration import register
from services.provider_sync.outgoing import make_http, watching


@pytest.mark.parametrize(
    ("method", "idempotent", "left"),
    [("GET", True, False), ("POST", True, False), ("POST", False, True), ("PATCH", True, False), ("GET", False, True)],
)
async def test_a_call_says_of_itself_whether_it_may_be_repeated(method, idempotent, left):
    async with make_http(httpx.MockTransport(lambda _: httpx.Response(503))) as http:
        with watching() as writes, pytest.raises(ProviderUnavailable):
            await call(
                http, method, "https://api.example.com/x", idempotent=idempotent, explain=lambda _: None,
                policy=CallPolicy(tries=1),
            )  # fmt: skip

    assert writes.left is left


async def test_a_request_that_does_not_say_is_a_write():
    async with make_http(httpx.MockTransport(lambda _: httpx.Response(200))) as http:
        with watching() as writes:
            await http.get("https://api.example.com/x")

    assert writes.left


async def test_a_write_that_was_not_let_out_is_known_not_to_have_landed():
    async def inside(_, __):
        return ["10.0.0.7"]

    class Registrar:
        async def register_webhook(self, **_):
            await call(http, "POST", "https://send.example.com", idempotent=False, explain=lambda _: None)

    async with make_http(GuardedTransport(limits=httpx.Limits(), resolve=inside)) as http:
        outcome = await register(Registrar(), "https://hooks.example.com/x", may_repeat=False)

    assert outcome.status == "failed"
    assert isinstance(outcome.error, AddressRefused)
