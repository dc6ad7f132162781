"""What the rows break: PostgreSQL and RabbitMQ of our own, a fault proxy before each, and the services as processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from libs.database.embedded import PostgresNode
from libs.messaging.embedded import RabbitNode
from services.cli import prepare
from services.cli.processes import House
from tests.faults import disk
from tests.faults.cluster import Cluster
from tests.faults.disk import SmallDisk
from tests.faults.proxy import FaultProxy

FOLD_SECONDS = 0.4
# A fault lasts three times the time-out that it tests.
HEARTBEAT_SECONDS = 2  # 20 as shipped
PUBLISH_SECONDS = 4  # 15 as shipped
LETTER_RETRY_SECONDS = 2  # after which the broker offers a refused dead letter again; 180 as shipped
_ADVANCED = f"[{{rabbit, [{{dead_letter_worker_publisher_confirm_timeout, {LETTER_RETRY_SECONDS * 1000}}}]}}]."
_SMALL = {"max_wal_size": "64MB", "min_wal_size": "32MB"}  # on a small disk
VHOST = _DATABASE = "faults"


class Ground:
    """`database` and `broker` are the proxies; `dsn` is the administrator's, past the proxy.

    A `large` one has a broker of three nodes, of which `rabbit` is the first, and a database on a disk that can be filled.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, large: bool = False) -> None:
        self.folder = folder
        self.cluster = Cluster(folder / "cluster", advanced=_ADVANCED) if large else None
        self.disk = SmallDisk(folder / "disk") if large and not disk.why_not() else None
        self.postgres = PostgresNode(
            (self.disk.folder if self.disk else folder) / "postgres", settings=_SMALL if self.disk else None
        )
        self.rabbit = self.cluster.first if self.cluster else RabbitNode(folder / "rabbitmq", advanced=_ADVANCED)
        self._say = say
        self.database: FaultProxy
        self.broker: FaultProxy
        self.house: House
        self.later: set[str] = set()  # services that are started as of a later release

    @property
    def dsn(self) -> str:
        return self.postgres.dsn(_DATABASE)

    @property
    def vhost_url(self) -> str:
        """Of the broker, past the proxy."""
        return self.rabbit.amqp_url(_DATABASE)

    async def open(self) -> None:
        if self.disk is not None:
            self.disk.mount()
        self.postgres.start()
        (self.cluster or self.rabbit).start()
        self.rabbit.new_vhost(_DATABASE)
        await prepare.create_database(self.postgres.dsn(), _DATABASE, anew=True)
        self.database = FaultProxy("127.0.0.1", urlsplit(self.dsn).port or 0).start()
        self.broker = FaultProxy("127.0.0.1", self.rabbit.port).start()
        with environment(
            DATABASE_URL=_through(self.dsn, self.database.port),
            AMQP_URL=_through(self.vhost_url, self.broker.port) + f"?heartbeat={HEARTBEAT_SECONDS}",
        ):
            house = _Releases(
                self.folder,
                broker="rabbitmq",
                database=_DATABASE,
                fixed_ports=False,
                say=self._say,
                extra_env={
                    "OUTRIDER_PUBLISH_TIMEOUT_SECONDS": str(PUBLISH_SECONDS),
                    "OUTRIDER_LEDGER_FOLD_SECONDS": str(FOLD_SECONDS),
                    "PROVIDER_SYNC_ALLOW_LOOPBACK": "true",
                    "PROVIDER_SYNC_CALLS_PER_MINUTE": "smartlead=60000,emailbison=60000,heyreach=60000",
                },
            )
            house.later = self.later
            self.house = house
            await house.open()

    def close(self) -> None:
        for node in ("house", "database", "broker"):
            if opened := getattr(self, node, None):
                opened.close()
        (self.cluster or self.rabbit).kill()
        self.postgres.kill()
        if self.disk is not None:
            self.disk.unmount()


class _Releases(House):
    later: Collection[str] = ()

    def command(self, name: str) -> list[str]:
        if name in self.later:
            return [sys.executable, "-m", "tests.faults.next_release", name]
        return super().command(name)


@contextlib.asynccontextmanager
async def opened(say: Callable[[str], None], *, large: bool = False) -> AsyncIterator[Ground]:
    folder = new_folder()
    ground = Ground(folder, say, large=large)
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
