"""What the cells crash: a house of each transport, its services restarted by a supervisor, and told where to crash by a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from shutil import rmtree

from libs.crash import HAPPENED, Crash
from libs.database.names import process_name
from services.cli import prepare
from services.cli.processes import House, ServiceDied
from tests.crashes.points import Transport
from tests.faults.ground import FOLD_SECONDS, HEARTBEAT_SECONDS, VHOST, Ground, environment, new_folder

_LOOK_SECONDS = 0.05
_opening = asyncio.Lock()  # migrations and the environment are this process's: one house after the other
_TWICE = "provider_sync"  # two replicas: what one holds while it stalls, the other takes over


class _House(House):
    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "tests.crashes.service", name]


class CrashGround(Ground):
    """No proxies: nothing but processes fails here."""

    def __init__(self, folder: Path, say: Callable[[str], None], transport: Transport) -> None:
        super().__init__(folder, say)
        self.transport = transport
        self.ended: list[tuple[str, int]] = []  # processes and their exit codes, as the supervisor found them
        self._orders = folder / "crashes"
        self._supervisor: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._orders.mkdir()
        self.postgres.start()
        await prepare.create_database(self.postgres.dsn(), VHOST, anew=True)
        urls = {"DATABASE_URL": self.dsn}
        if self.transport == "rabbitmq":
            self.rabbit.start()
            self.rabbit.new_vhost(VHOST)
            urls["AMQP_URL"] = f"{self.vhost_url}?heartbeat={HEARTBEAT_SECONDS}"
        with environment(**urls):
            self.house = _House(
                self.folder,
                broker="rabbitmq" if self.transport == "rabbitmq" else None,
                database=VHOST,
                fixed_ports=False,
                say=self._say,
                extra_env={
                    "CRASH_AT": f"@{self._orders}",
                    "OUTRIDER_LEDGER_FOLD_SECONDS": str(FOLD_SECONDS),
                    "PROVIDER_SYNC_ALLOW_LOOPBACK": "true",
                    "PROVIDER_SYNC_CALLS_PER_MINUTE": "smartlead=60000",
                    "PROVIDER_SYNC_POLL_SECONDS": "0.1",
                    "PROVIDER_SYNC_SYNC_EVERY_SECONDS": "0",
                    "PROVIDER_SYNC_VERIFY_WEBHOOKS_EVERY_SECONDS": "0",
                    "RECONCILIATION_SCHEDULE_SECONDS": "0.3",
                },
            )
            await self.house.open()
        if self.transport == "rabbitmq":
            self.house.start(_TWICE, replica=2)
        self._supervisor = asyncio.create_task(self._supervise())

    def process_of(self, service: str) -> str:
        return process_name("standalone" if self.transport == "embedded" else service)

    def order(self, service: str, crash: Crash) -> None:
        """Tell the service's processes to crash; the first that passes the place does."""
        path = self._orders / self.process_of(service)
        path.with_name(path.name + HAPPENED).unlink(missing_ok=True)
        path.write_text(str(crash))

    def take_back(self) -> None:
        """Nothing crashes any more."""
        for path in self._orders.iterdir():
            path.unlink(missing_ok=True)

    def happened_at(self, service: str) -> float | None:
        """When it happened, by the clock of files."""
        path = self._orders / self.process_of(service)
        try:
            return path.with_name(path.name + HAPPENED).stat().st_ctime
        except FileNotFoundError:
            return None

    async def _supervise(self) -> None:
        """Start again whatever ended, as a service manager does."""
        while True:
            for called in self.house.dead():
                self.ended.append((called, self.house.exit_code(called) or 0))
                name, _, replica = called.partition("-")
                self.house.start(name, replica=int(replica or 1))
            await asyncio.sleep(_LOOK_SECONDS)

    async def all_ready(self) -> None:
        for name in self.house.names:
            while True:
                try:
                    await self.house.ready(name)
                    break
                except ServiceDied:  # it is started again in a moment
                    await asyncio.sleep(_LOOK_SECONDS)

    async def close_in_order(self) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        await asyncio.to_thread(self.close)


@asynccontextmanager
async def opened(transport: Transport, say: Callable[[str], None]) -> AsyncIterator[CrashGround]:
    folder = new_folder()
    ground = CrashGround(folder, say, transport)
    try:
        async with _opening:
            await ground.open()
        yield ground
    finally:
        await ground.close_in_order()
        rmtree(folder, ignore_errors=True)
