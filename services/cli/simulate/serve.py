"""The simulated providers on one port, until a signal ends them."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
import uvicorn
from rich.console import Console
from rich.table import Table
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope
from starlette.types import Send as Answer

from libs.errors import PermanentError
from libs.providers.simulation import http_sender
from libs.runtime.server import Server
from services.cli.simulate.control import control_app, described
from services.cli.simulate.world import World

_WEBHOOK_SECONDS = 30.0  # how long a provider waits for an answer to its post
_DRAIN_SECONDS = 1  # calls that hang on purpose are not waited for


class PortTaken(PermanentError):
    code = "port_taken"


class Simulated:
    """The ASGI app: `/<provider>/…` is that provider's API as if it had the host for itself, `/control` moves its world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._control: ASGIApp = control_app(world)

    async def __call__(self, scope: Scope, receive: Receive, send: Answer) -> None:
        first = scope["path"].split("/", 2)[1]
        if first == "control":
            await self._control(scope, receive, send)
        elif first in self.world.providers:
            # A provider says its paths in errors and links: it must not see where it is mounted.
            cut = len(first) + 1
            raw = scope.get("raw_path") or scope["path"].encode()
            inner = {**scope, "path": scope["path"][cut:] or "/", "raw_path": raw[cut:] or b"/"}
            try:
                await self.world.providers[first].app(inner, receive, send)
            finally:
                self.world.changed()
        else:
            there = [*(f"/{name}" for name in self.world.providers), "/control"]
            await JSONResponse({"detail": f"there are: {', '.join(there)}"}, 404)(scope, receive, send)


async def serve(
    *,
    host: str,
    port: int,
    seed: int,
    reactions: float,
    speed: float,
    limited: bool,
    holds_webhooks: bool,
    as_json: bool,
) -> None:
    """Serve, say where, and return once SIGINT or SIGTERM came.

    Raises:
        PortTaken: the port cannot be listened on.
    """
    listening = _listen(host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    url = f"http://{_in_url(host)}:{listening.getsockname()[1]}"
    async with http_sender(timeout_seconds=_WEBHOOK_SECONDS) as send:
        world = World(url, send, seed=seed, reactions=reactions, limited=limited, holds_webhooks=holds_webhooks)
        async with _served(Simulated(world), listening):
            living = asyncio.create_task(world.live(speed=speed))
            _say(world, url, as_json=as_json)
            await stop.wait()
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living


@asynccontextmanager
async def _served(app: ASGIApp, listening: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, log_level="critical",  # what hangs up on purpose is no news
        access_log=False, server_header=False, date_header=False, timeout_graceful_shutdown=_DRAIN_SECONDS,
    )  # fmt: skip
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn sets a flag, no event
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise PortTaken(f"cannot listen on {host} port {port}: {error}") from error


def _in_url(host: str) -> str:
    """An address to call; one that means all of the machine's is called by its own name."""
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            return "[::1]" if address.version == 6 else "127.0.0.1"
        return f"[{host}]" if address.version == 6 else host
    return host


def _say(world: World, url: str, *, as_json: bool) -> None:
    if as_json:
        print(orjson.dumps({"control_url": f"{url}/control", **described(world)}).decode(), flush=True)
        return
    table = Table("provider", "base URL", "key", "travels as")
    for provider in world.providers.values():
        table.add_row(provider.kind.title, provider.base_url, provider.kind.key, provider.kind.how_to_log_in)
    console = Console()
    console.print(table)
    console.print(f"control   {url}/control\nCtrl-C ends it", highlight=False)
