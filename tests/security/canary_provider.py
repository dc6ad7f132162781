"""Providers that give away what they are asked with: in every error, every body and every exception on the way to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app

SIMULATED: Mapping[str, tuple[Any, Any, str]] = {
    "smartlead": (SmartleadSimulator, smartlead_app, "/api/v1"),
    "heyreach": (HeyReachSimulator, heyreach_app, "/api/public"),
    "emailbison": (EmailBisonSimulator, emailbison_app, ""),
}
PERSON = "zanary.person@example.com"  # whoever reads of this person in a log, a span or a reason has found a leak
_TOKEN = re.compile(r"[0-9a-f]{32}_[\w-]{43}")


def told_back(request: httpx.Request, key: str) -> str:
    """All that a careless provider could say of a request. The key comes early, as texts are cut at their end."""
    spellings = f"{key} {quote(key, safe='')} {key!r} {key.upper()} {key.lower()}"
    return f"{spellings} for Zanary Person <{PERSON}> at {request.url} in {request.content.decode()} {dict(request.headers)}"


def _error(status: int, **headers: str) -> Callable[[httpx.Request, str], httpx.Response]:
    def answer(request: httpx.Request, key: str) -> httpx.Response:
        said = told_back(request, key)
        body = {"message": said, "error": said, "detail": said, "data": {"success": False, "message": said}}
        return httpx.Response(status, json=body, headers=headers)

    return answer


def _page(status: int) -> Callable[[httpx.Request, str], httpx.Response]:
    return lambda request, key: httpx.Response(
        status, text=f"<html>{told_back(request, key)}", headers={"content-type": f"text/html; key={key}"}
    )


def _raises(make: Callable[[str], Exception]) -> Callable[[httpx.Request, str], httpx.Response]:
    def answer(request: httpx.Request, key: str) -> httpx.Response:
        raise make(f"{request.method} {request.url} {request.content.decode()}")

    return answer


def _shape(body: Callable[[str], object]) -> Callable[[httpx.Request, str], httpx.Response]:
    return lambda request, key: httpx.Response(200, json=body(told_back(request, key)))


FAULTS: Mapping[str, Callable[[httpx.Request, str], httpx.Response]] = {
    "401": _error(401),
    "403": _error(403),
    "404": _error(404),
    "422": _error(422),
    "429": _error(429, **{"retry-after": "0"}),
    "500": _error(500),
    "page 502": _page(502),
    "page 404": _page(404),
    "page 200": _page(200),
    "odd type": lambda request, key: httpx.Response(200, text=key, headers={"content-type": key}),
    "redirect": lambda request, key: httpx.Response(302, headers={"location": f"https://{key}.example.com/?k={key}"}),
    "cut off": lambda request, key: httpx.Response(200, content=orjson.dumps([told_back(request, key)])[:-1]),
    "text": _shape(lambda said: said),
    "list": _shape(lambda said: [said, {"id": said, "email": said}]),
    "object": _shape(lambda said: {"data": {"id": said, "workspace": {"id": {said: said}}}, "id": [said], said: said}),
    "timeout": _raises(httpx.ReadTimeout),
    "refused": _raises(httpx.ConnectError),
    "hung up": _raises(httpx.RemoteProtocolError),
    "bug": _raises(RuntimeError),
    "bug in a value": _raises(lambda said: ValueError({"url": said})),
}


class Providers(httpx.AsyncBaseTransport):
    """All providers at once, told apart by the account's key: simulated ones, each with a fault of its own.

    `when` says which requests meet it: "all", "writes", or "later" (all once the account is `turned`).
    """

    def __init__(self) -> None:
        self.accounts: dict[str, tuple[Any, str | None, str]] = {}
        self.turned = False
        self.tokens: set[str] = set()  # of our webhook URLs, as providers were told them
        self.met: set[tuple[str, str]] = set()  # key, fault
        self.simulators: dict[str, Any] = {}
        self.provider_of: dict[str, str] = {}

    def add(self, provider: str, key: str, *, fault: str | None = None, when: str = "all", seed: int = 1) -> None:
        simulator, app, _ = SIMULATED[provider]
        self.provider_of[key] = provider
        self.accounts[key] = (None, fault, when)
        if when != "all":
            self.simulators[key] = simulator(api_key=key, seed=seed)
            self.accounts[key] = (httpx.ASGITransport(app(self.simulators[key])), fault, when)

    def renew(self, key: str, fresh: str) -> str:
        """Another key for the same account."""
        self.accounts[fresh] = self.accounts[key]
        self.simulators[key].account.api_key = fresh
        self.accounts[key][0].app.add(self.simulators[key])
        return fresh

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.tokens.update(_TOKEN.findall(request.content.decode()))
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.url.params.get("api_key") or request.headers.get("x-api-key") or given
        simulated, fault, when = self.accounts[key]
        meets = when == "all" or (when == "later" and self.turned)
        if when == "writes":
            meets = request.extensions["idempotent"] is False
        if fault is not None and meets:
            self.met.add((key, fault))
            return FAULTS[fault](request, key)
        answer: httpx.Response = await simulated.handle_async_request(request)
        return answer
