"""What the rows break: PostgreSQL and RabbitMQ of our own, a fault proxy before each, and the services as processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from libs.database.embedded import PostgresNode
from libs.messaging.embedded import RabbitNode
from services.cli import prepare
from services.cli.processes import House
from tests.faults.proxy import FaultProxy

FOLD_SECONDS = 0.4
HEARTBEAT_SECONDS = 2  # 20 as shipped; a fault lasts three times the time-out that it tests
VHOST = _DATABASE = "faults"


class Ground:
    """`database` and `broker` are the proxies; `dsn` is the administrator's, past the proxy."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.postgres = PostgresNode(folder / "postgres")
        self.rabbit = RabbitNode(folder / "rabbitmq")
        self._say = say
        self.database: FaultProxy
        self.broker: FaultProxy
        self.house: House

    @property
    def dsn(self) -> str:
        return self.postgres.dsn(_DATABASE)

    @property
    def vhost_url(self) -> str:
        """Of the broker, past the proxy."""
        return self.rabbit.amqp_url(_DATABASE)

    async def open(self) -> None:
        self.postgres.start()
        self.rabbit.start()
        self.rabbit.new_vhost(_DATABASE)
        await prepare.create_database(self.postgres.dsn(), _DATABASE, anew=True)
        self.database = FaultProxy("127.0.0.1", urlsplit(self.dsn).port or 0).start()
        self.broker = FaultProxy("127.0.0.1", self.rabbit.port).start()
        with environment(
            DATABASE_URL=_through(self.dsn, self.database.port),
            AMQP_URL=_through(self.vhost_url, self.broker.port) + f"?heartbeat={HEARTBEAT_SECONDS}",
        ):
            self.house = House(
                self.folder,
                broker="rabbitmq",
                database=_DATABASE,
                fixed_ports=False,
                say=self._say,
                extra_env={
                    "OUTRIDER_LEDGER_FOLD_SECONDS": str(FOLD_SECONDS),
                    "PROVIDER_SYNC_ALLOW_LOOPBACK": "true",
                    "PROVIDER_SYNC_CALLS_PER_MINUTE": "smartlead=60000,emailbison=60000,heyreach=60000",
                },
            )
            await self.house.open()

    def close(self) -> None:
        for node in ("house", "database", "broker"):
            if opened := getattr(self, node, None):
                opened.close()
        self.rabbit.kill()
        self.postgres.kill()


@contextlib.asynccontextmanager
async def opened(say: Callable[[str], None]) -> AsyncIterator[Ground]:
    folder = new_folder()
    ground = Ground(folder, say)
    try:
        await ground.open()
        yield ground
    finally:
        ground.close()
        shutil.rmtree(folder, ignore_errors=True)


def new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="outrider-faults-", dir="/tmp"))
    folder.chmod(0o711)  # PostgreSQL's user enters it, when we are root
    return folder


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rsplit("@", 1)[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
