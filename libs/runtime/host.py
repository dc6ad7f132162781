"""Runs services: start-up checks, HTTP, relay, consumers, due takers, the ledger's folding, jobs; and ends them in order.

One service a process with RabbitMQ, or several in one process without a broker: the same code, another transport.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import uvloop

import libs.contracts.events  # noqa: F401 - fills the registry
from libs import crash
from libs.database import startup
from libs.database.engine import Database, DatabaseUrl
from libs.database.names import STANDALONE, database_name, dispatch_role, login_role, process_name
from libs.errors import DependencyDown, PermanentError
from libs.messaging import ledger
from libs.messaging.due import run_due
from libs.messaging.erasure import Eraser
from libs.messaging.in_process import InProcessTransport
from libs.messaging.probing import Probes
from libs.messaging.processor import Processor
from libs.messaging.rabbit import RabbitTransport
from libs.messaging.relay import Relay
from libs.messaging.replaying import Replays
from libs.messaging.retention import Retention, check_horizon
from libs.messaging.work import Units
from libs.observability import logs, metrics, tracing
from libs.observability.logs import get_logger
from libs.runtime.server import Server, make_server
from libs.runtime.service import Platform, Service
from libs.settings import PORTS, BadSetting, ServiceSettings
from libs.tenancy.signing import ContextVerifier

__all__ = ["Part", "main", "run"]

DATABASE_PATIENCE_SECONDS = 60
_RESTART_SECONDS = (0.5, 10.0)

log = get_logger()
S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Part:
    """One service to be run: `listen` says whether its HTTP face gets a port (in one process only the outer ones do)."""

    name: str
    settings: ServiceSettings
    build: Callable[[Platform, Any], Service]
    listen: bool = True


def main(name: str, settings_type: type[S], build: Callable[[Platform, S], Service]) -> None:
    """A service's `__main__`: settings in, process up. Exits 2 with one line when something must be mended first."""

    def parts() -> list[Part]:
        settings = settings_type()
        if settings.amqp_url is None:
            raise BadSetting("no broker: set AMQP_URL, or run everything in one process with `outrider up`")
        return [Part(name, settings, build)]

    start(parts, process_name(name))


def start(make: Callable[[], Sequence[Part]], process: str) -> None:
    """Run parts in this process until it is told to stop. `make` reads their settings."""
    try:
        parts = make()
        settings = parts[0].settings
        if crash_at := settings.crash():
            _arm(crash_at, process)
        logs.setup(process, settings.log_level)
        tracing.setup(process, endpoint=settings.otlp_endpoint, ratio=settings.trace_ratio)
        metrics.setup(process, endpoint=settings.otlp_endpoint)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(parts))
    except (PermanentError, DependencyDown) as error:
        sys.exit(f"{process}: {error}")
    finally:
        metrics.shutdown()
        tracing.shutdown()


def _arm(crash_at: str, process: str) -> None:
    try:
        crash.arm(crash_at, process)
    except crash.BadCrash as error:
        raise BadSetting(f"CRASH_AT {error}") from None


async def run(parts: Sequence[Part]) -> None:
    """Until SIGTERM or SIGINT.

    Raises:
        PermanentError: a setting or the schema must be mended first.
        DependencyDown: the database did not answer within DATABASE_PATIENCE_SECONDS.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = await _Host.open(parts)
    try:
        await host.serve(stop)
    finally:
        await host.close()


class _Host:
    def __init__(self) -> None:
        self._databases: list[Database] = []
        self._services: list[Service] = []
        self._loops: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._servers: list[Server] = []
        self._transports: list[RabbitTransport | InProcessTransport] = []

    @classmethod
    async def open(cls, parts: Sequence[Part]) -> _Host:
        host = cls()
        in_one_process = parts[0].settings.amqp_url is None
        shared = None
        if in_one_process:
            shared = InProcessTransport(_database(STANDALONE, parts[0].settings))
            host._transports.append(shared)
        apps: dict[str, Any] = {}
        for part in parts:
            database = _database(part.name, part.settings)
            host._databases.append(database)
            await _checked(database)
            process = process_name(part.name)
            platform = Platform(
                database=database,
                units=Units(database, process),
                verifier=ContextVerifier(part.settings.verify_keys(), process),
                owners=apps if in_one_process else {},
            )
            service = part.build(platform, part.settings)
            apps[process] = service.app
            host._services.append(service)
            transport = shared or RabbitTransport(
                _amqp_url(part.settings), process, publish_timeout_seconds=part.settings.publish_timeout_seconds
            )
            if shared is None:
                host._transports.append(transport)
            host._add(part, service, database, transport)
        return host

    def _add(
        self, part: Part, service: Service, database: Database, transport: RabbitTransport | InProcessTransport
    ) -> None:
        process = process_name(part.name)
        processors = {one.queue: Processor(database, one, process) for one in service.consumers}
        self._loops.append((f"{process} relay", Relay(database, transport).run))
        for processor in processors.values():
            due = run_due
            if isinstance(transport, InProcessTransport):
                transport.attach(processor)
                due = _run_due_alone
            self._loops.append((f"{processor.queue} due", partial(due, processor)))
            self._loops.append((processor.queue, partial(transport.serve, processor)))
        if isinstance(transport, RabbitTransport) and processors:
            self._loops.append((f"{process} dead letters", lambda: transport.drain(database, processors)))
        replays = Replays(database, process, processors, effect_tables=service.effect_tables)
        self._loops.append((f"{process} replays", replays.run))
        self._loops.append((f"{process} probes", Probes(database, processors).run))
        seconds = part.settings.ledger_fold_seconds
        self._loops.append((f"{process} ledger", lambda: _fold(database, process, seconds)))
        keep_days = {"inbox": part.settings.inbox_days, **service.keep_days}
        check_horizon(service.consumers, part.settings.inbox_days)
        self._loops.append((f"{process} retention", Retention(database, keep_days).run))
        self._loops.append((f"{process} erasure", Eraser(database, process).run))
        self._loops.extend((f"{process} {job.name}", job.run) for job in service.jobs)
        if part.listen:
            port = part.settings.port or PORTS[part.name]
            self._servers.append(
                make_server(
                    service.app, host=part.settings.host, port=port, most_connections=part.settings.http_connections
                )
            )

    async def serve(self, stop: asyncio.Event) -> None:
        servers = [asyncio.create_task(server.serve()) for server in self._servers]
        loops = [asyncio.create_task(_kept_running(name, run), name=name) for name, run in self._loops]
        log.info("started", ports=[server.config.port for server in self._servers])
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({waiting, *servers}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        failed = [server for server in servers if server.done()]
        log.info("stopping")
        for server in self._servers:
            server.should_exit = True
        await asyncio.gather(*servers, return_exceptions=True)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        if failed and not stop.is_set():
            ports = ", ".join(str(server.config.port) for server in self._servers)
            raise BadSetting(f"cannot listen on port {ports}: another program has it, or the address is not ours")

    async def close(self) -> None:
        for service in self._services:
            if service.closing is not None:
                await service.closing()
        for transport in self._transports:
            await transport.close()
        for database in self._databases:
            await database.close()


def _database(service: str, settings: ServiceSettings) -> Database:
    if service == STANDALONE:  # its URL is always derived: the setting, if any, is that of a service
        settings = settings.model_copy(update={"database_url": None})
    url = settings.url_of(service, role_of=login_role)
    return Database(
        DatabaseUrl(url, service),
        service=service,
        dispatch_role=dispatch_role(database_name(url), service),
        pool_size=settings.database_pool,
    )


def _amqp_url(settings: ServiceSettings) -> str:
    assert settings.amqp_url is not None
    return settings.amqp_url.get_secret_value()


async def _checked(database: Database) -> None:
    deadline = time.monotonic() + DATABASE_PATIENCE_SECONDS
    while True:
        try:
            await startup.check(database)
        except DependencyDown:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(random.uniform(0.1, 0.5))
        else:
            return


async def _run_due_alone(processor: Processor) -> None:
    if released := await processor.release():
        log.info("leases_released", queue=processor.queue, rows=released)
    await run_due(processor)


async def _fold(database: Database, process: str, seconds: float) -> None:
    while True:
        with suppress(DependencyDown):
            await ledger.fold(database, process)
        await asyncio.sleep(seconds)


async def _kept_running(name: str, loop: Callable[[], Awaitable[None]]) -> None:
    """A loop that ends with an error is a bug, but never a reason for the others to stop: say so, wait, start again."""
    wait = _RESTART_SECONDS[0]
    while True:
        try:
            await loop()
        except Exception as error:
            log.error("loop_failed", loop=name, exc_info=error)
        await asyncio.sleep(random.uniform(wait / 2, wait))
        wait = min(wait * 2, _RESTART_SECONDS[1])
