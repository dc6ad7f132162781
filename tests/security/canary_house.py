"""All services in this process, on real ports and a database of their own, with everything they say written down."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import orjson
import pytest
import structlog
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.child_process import free_port
from libs.client.client import OutriderClient
from libs.messaging import outbox
from libs.messaging.processor import Processor
from libs.observability import logs, tracing
from libs.providers import calls
from libs.runtime.host import _Host
from libs.tenancy.signing import ContextSigner
from services.cli import prepare
from services.provider_sync.app import build as build_provider_sync
from services.provider_sync.jobs import SyncWorker
from services.standalone.parts import parts
from tests.security.canary_provider import Providers
from tests.security.sinks import Sinks

_PUBLIC = ("database_address", "context_public_key")


class House:
    def __init__(self, sinks: Sinks, providers: Providers, gateway: str, door: str, admin_url: str, key: str) -> None:
        self.sinks, self.providers = sinks, providers
        self.gateway, self.door, self.admin_url = gateway, door, admin_url
        self.platform_key = key
        self.http = httpx.AsyncClient(trust_env=False, timeout=60, event_hooks={"response": [self._heard]})

    async def _heard(self, response: httpx.Response) -> None:
        await response.aread()
        self.sinks.answers.append(response)

    def client(self, key: str, org: str | None = None) -> OutriderClient:
        return OutriderClient(self.gateway, key, org, http=self.http)

    async def made_key(self, client: OutriderClient) -> str:
        """An organization's key; the one answer that may show it is remembered."""
        made: str = (await client.create_api_key("canary", role="org_admin"))["key"]
        self.sinks.secrets.add(made)
        self.sinks.shown_once[made] = self.sinks.answers[-1]
        return made

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.admin_url)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def until(self, sql: str, *arguments: Any) -> None:
        """Until the query gives a row."""
        async with asyncio.timeout(90):
            while not await self.rows(sql, *arguments):  # noqa: ASYNC110 - another connection's work
                await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def canary_house(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """`server`: an administrator's URL. At the end of the block all have ended and `sinks` holds what was said."""
    sinks, providers = Sinks(), Providers()
    name = f"canary_{secrets.token_hex(4)}"
    admin_url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    ports = {service: free_port() for service in ("gateway", "webhook_ingest")}
    gateway, door = (f"http://127.0.0.1:{ports[one]}" for one in ports)
    for variable in ("AMQP_URL", "DATABASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {
        "OUTRIDER_HOME": str(folder),
        "OUTRIDER_DATABASE_ADDRESS": admin_url,
        "OUTRIDER_LEDGER_FOLD_SECONDS": "0.2",
        "PROVIDER_SYNC_ALLOW_LOOPBACK": "true",
        "PROVIDER_SYNC_POLL_SECONDS": "0.05",
        "PROVIDER_SYNC_PUBLIC_WEBHOOK_URL": door,
        **{f"{service.upper()}_PORT": str(port) for service, port in ports.items()},
    }.items():
        monkeypatch.setenv(variable, value)
    await _on(server, f"CREATE DATABASE {name}")
    try:
        await prepare.prepare_database(admin_url, folder)
        key = await prepare.first_key(admin_url, folder)
        kept = orjson.loads((folder / "secrets.json").read_bytes())
        sinks.secrets |= {key, *(value for field, value in kept.items() if field not in _PUBLIC)}
        with _listened_to(sinks, monkeypatch):
            async with _serving(providers):
                house = House(sinks, providers, gateway, door, admin_url, key)
                async with house.http:
                    await _ready(house)
                    yield house
        sinks.secrets |= providers.tokens
    finally:
        await _on(server, f"DROP DATABASE {name} WITH (FORCE)")
        for role in await _on(server, f"SELECT rolname FROM pg_roles WHERE rolname LIKE '{name}\\_%'"):
            await _on(server, f'DROP ROLE "{role["rolname"]}"')


@contextlib.contextmanager
def _listened_to(sinks: Sinks, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log lines, prints, spans, events, failures and signed contexts are noted; retries at providers do not wait."""
    insert, sign = outbox.insert, ContextSigner.sign
    failures = {Processor: Processor._fail, SyncWorker: SyncWorker._fail}

    async def inserted(driver: Any, schema: str, events: Any) -> None:
        sinks.events += events
        await insert(driver, schema, events)

    def signed(self: ContextSigner, *arguments: Any, **more: Any) -> str:
        made = sign(self, *arguments, **more)
        sinks.secrets.add(made)
        return made

    def noted(original: Any) -> Any:
        async def fail(self: Any, *arguments: Any) -> Any:
            sinks.errors += [one for one in arguments if isinstance(one, BaseException)]
            return await original(self, *arguments)

        return fail

    monkeypatch.setattr(outbox, "insert", inserted)
    monkeypatch.setattr(ContextSigner, "sign", signed)
    for where, original in failures.items():
        monkeypatch.setattr(where, "_fail", noted(original))
    monkeypatch.setattr(calls, "_waits", _at_once)
    exporter = InMemorySpanExporter()
    traced = (tracing._State.provider, tracing._State.tracer, tracing._State.exporting)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with contextlib.redirect_stderr(sinks.log), contextlib.redirect_stdout(sinks.log):
        logs.setup("canary", "debug")
        tracing.setup("canary", endpoint=None, ratio=1.0, exporter=exporter)
        try:
            yield
        finally:
            tracing.shutdown()
            sinks.spans += exporter.get_finished_spans()
            tracing._State.provider, tracing._State.tracer, tracing._State.exporting = traced
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.reset_defaults()
            structlog.contextvars.clear_contextvars()


def _at_once(policy: calls.CallPolicy) -> Iterator[float]:
    while True:
        yield 0.0


@contextlib.asynccontextmanager
async def _serving(providers: Providers) -> AsyncIterator[None]:
    made = [
        dataclasses.replace(part, build=partial(build_provider_sync, transport=providers))
        if part.name == "provider_sync"
        else part
        for part in parts()
    ]
    host = await _Host.open(made)
    stop = asyncio.Event()
    running = asyncio.create_task(host.serve(stop))
    try:
        yield
    finally:
        stop.set()
        await running
        await host.close()


async def _ready(house: House) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as http:
        for url in (house.gateway, house.door):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"{url}/health/ready")).status_code == 200:
                        break
                await asyncio.sleep(0.05)


async def _on(url: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()
