"""Where the tests' servers come from: one tier per session, the first that works.

A URL in the environment → a Docker engine that answers → the machine's programs as a private node → the PostgreSQL
wheel → as root on Debian, the distribution's packages (`SETUP=no` refuses). The system's own servers are never used.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote, urlsplit

import httpx

from libs.database.embedded import PostgresNode, PostgresUnavailable, find_bindir
from libs.messaging.embedded import RabbitNode, RabbitUnavailable, find_sbin, server_version

_T = TypeVar("_T")

POSTGRES_IMAGE = "postgres:17.6"
RABBIT_IMAGE = "rabbitmq:4.1.4-management"
# An image from afar may hang; then the next tier is nearer.
_IMAGE_PATIENCE_SECONDS = 180.0
_PLENTY_BYTES = 6 * 1024**3  # of memory; the heaviest tests fill about two


class Unavailable(Exception):
    """No tier gives this server; the message names them all."""


class RabbitServer(Protocol):
    """A broker for the whole session; tests take a vhost of their own."""

    can_stop: bool
    amqp_url: str

    def new_vhost(self, name: str | None = None) -> str:
        """Make an empty vhost and return its AMQP URL."""

    def stop(self) -> None:
        """Crash the broker (as kill -9). Only where `can_stop`."""

    def start(self) -> None:
        """Bring it back on the same port with the same data, and return when it takes connections."""


class PrivateRabbit:
    can_stop = True

    def __init__(self, node: RabbitNode) -> None:
        self.node = node
        self.amqp_url = node.amqp_url()

    def new_vhost(self, name: str | None = None) -> str:
        return self.node.new_vhost(name or _vhost_name())

    def stop(self) -> None:
        self.node.kill()

    def start(self) -> None:
        self.node.start()


class GivenRabbit:
    """A broker that is not ours to stop. Vhosts are made through its management API."""

    can_stop = False

    def __init__(self, amqp_url: str, management_url: str | None = None) -> None:
        self.amqp_url = amqp_url
        self._at = urlsplit(amqp_url)
        self._auth = (unquote(self._at.username or "guest"), unquote(self._at.password or "guest"))
        self._management_url = management_url or f"http://{self._at.hostname}:15672"

    def new_vhost(self, name: str | None = None) -> str:
        vhost = quote(name or _vhost_name(), safe="")
        with httpx.Client(base_url=self._management_url, auth=self._auth, timeout=20, trust_env=False) as management:
            management.put(f"/api/vhosts/{vhost}", json={}).raise_for_status()
            everything = {"configure": ".*", "write": ".*", "read": ".*"}
            management.put(f"/api/permissions/{vhost}/{quote(self._auth[0])}", json=everything).raise_for_status()
        return self._at._replace(path=f"/{vhost}").geturl()

    def check(self) -> None:
        """Raise Unavailable unless vhosts can be made."""
        try:
            httpx.get(
                f"{self._management_url}/api/whoami", auth=self._auth, timeout=10, trust_env=False
            ).raise_for_status()
        except httpx.HTTPError as error:
            raise Unavailable(
                f"AMQP_URL is given, but not its management API at {self._management_url} ({error}); "
                "AMQP_MANAGEMENT_URL says where it is"
            ) from error

    def stop(self) -> None:
        raise RuntimeError("this broker is not ours to stop: ask `can_stop` first")

    def start(self) -> None:
        raise RuntimeError("this broker is not ours to start")


def _vhost_name() -> str:
    return f"test-{secrets.token_hex(4)}"


@contextmanager
def postgres(say: Callable[[str], None]) -> Iterator[str]:
    """Yield the administrator's DSN; `say` gets one line: version and tier."""
    if given := os.environ.get("DATABASE_URL"):
        say("PostgreSQL at DATABASE_URL")
        yield given
        return
    passed_over = ["no DATABASE_URL"]
    if docker_answers():
        try:
            container, dsn = _within(_IMAGE_PATIENCE_SECONDS, _docker_postgres)
        except Exception as error:  # noqa: BLE001 - whatever an engine does, the next tier is tried, and the cause is printed
            passed_over.append(f"Docker failed: {error!r:.200}")
        else:
            say(f"PostgreSQL from the image {POSTGRES_IMAGE} ({_listed(passed_over)})")
            try:
                yield dsn
            finally:
                container.stop()
            return
    else:
        passed_over.append("no Docker engine")
    with _node_folder() as folder:
        node = PostgresNode(folder, prefer_wheel=False, durable=False)
        try:
            find_bindir(prefer_wheel=False)
        except PostgresUnavailable as error:
            if "PG_BINDIR" in os.environ or not install_from_debian("postgresql", str(error)):
                raise Unavailable(f"PostgreSQL: {_listed([*passed_over, str(error)])}") from error
        try:
            node.start()
            say(f"PostgreSQL {node.version} as a private node ({_listed(passed_over)})")
            yield node.dsn()
        except PostgresUnavailable as error:
            raise Unavailable(f"PostgreSQL: {_listed([*passed_over, str(error)])}") from error
        finally:
            node.kill()


@contextmanager
def rabbit(say: Callable[[str], None]) -> Iterator[RabbitServer]:
    """Yield the broker; `say` gets one line: version and tier."""
    if given := os.environ.get("AMQP_URL"):
        broker = GivenRabbit(given, os.environ.get("AMQP_MANAGEMENT_URL"))
        broker.check()
        at = urlsplit(given)
        version = server_version(at.hostname or "localhost", at.port or 5672) if at.scheme == "amqp" else None
        say(f"RabbitMQ {version or ''} at AMQP_URL")
        yield broker
        return
    passed_over = ["no AMQP_URL"]
    if docker_answers():
        try:
            container, broker = _within(_IMAGE_PATIENCE_SECONDS, _docker_rabbit)
        except Exception as error:  # noqa: BLE001 - as above
            passed_over.append(f"Docker failed: {error!r:.200}")
        else:
            say(f"RabbitMQ from the image {RABBIT_IMAGE} ({_listed(passed_over)})")
            try:
                yield broker
            finally:
                container.stop()
            return
    else:
        passed_over.append("no Docker engine")
    try:
        find_sbin()
    except RabbitUnavailable as error:
        if "RABBITMQ_SBIN" in os.environ or not install_from_debian("rabbitmq-server", str(error)):
            raise Unavailable(f"RabbitMQ: {_listed([*passed_over, str(error)])}") from error
    with _node_folder() as folder:
        node = RabbitNode(folder)
        try:
            node.start()
            say(f"RabbitMQ {node.version} as a private node ({_listed(passed_over)})")
            yield PrivateRabbit(node)
        except RabbitUnavailable as error:
            raise Unavailable(f"RabbitMQ: {_listed([*passed_over, str(error)])}") from error
        finally:
            node.kill()


def docker_answers() -> bool:
    """Whether an engine answers within a second; a `docker` on PATH proves nothing."""
    address = urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
    connection = http.client.HTTPConnection(address.hostname or "localhost", address.port or 2375, timeout=1)
    try:
        if address.scheme == "unix":
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(1)
            connection.sock.connect(address.path)
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def install_from_debian(package: str, why: str) -> bool:
    """As root on Debian and unless SETUP=no: install `package`, after saying so. False when that is not ours to do."""
    if os.geteuid() != 0 or not shutil.which("apt-get") or os.environ.get("SETUP") == "no":
        return False
    print(f"\n{why}\ninstalling {package} with apt-get (SETUP=no refuses)", file=sys.__stderr__)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    commands = (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", package])
    with Path(tempfile.gettempdir(), "outrider-apt.lock").open("w") as lock:
        fcntl.flock(
            lock, fcntl.LOCK_EX
        )  # each worker of the tests finds it missing; for the second there is little to do
        return all(
            subprocess.run(
                ["apt-get", *command], check=False, env=env, stdout=subprocess.DEVNULL, timeout=600
            ).returncode
            == 0
            for command in commands
        )


@contextmanager
def _node_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="outrider-", dir=_node_parent()))
    if os.geteuid() == 0:
        folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _node_parent() -> str | None:
    """In memory where there is plenty: each test's database is a copy of hundreds of files, 0.02 s there, 0.2 s on a disk."""
    memory = "/dev/shm"
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= _PLENTY_BYTES:
        return memory
    # As root PostgreSQL runs as `nobody`, whom a private TMPDIR would lock out.
    return "/tmp" if os.geteuid() == 0 else None


def _docker_postgres() -> tuple[Any, str]:
    from testcontainers.community.postgres import PostgresContainer  # 1.4 s, so only when an engine answers

    container = PostgresContainer(POSTGRES_IMAGE, username="postgres", dbname="postgres", driver=None)
    container.with_command("postgres -c fsync=off -c max_connections=200")
    container.start()
    return container, re.sub(r"^postgresql\+\w+", "postgresql", container.get_connection_url())


def _docker_rabbit() -> tuple[Any, GivenRabbit]:
    from testcontainers.core.container import DockerContainer  # its RabbitMQ class wants pika; this needs nothing of it

    password = secrets.token_hex(8)
    container = DockerContainer(RABBIT_IMAGE).with_exposed_ports(5672, 15672)
    container.with_env("RABBITMQ_DEFAULT_USER", "outrider").with_env("RABBITMQ_DEFAULT_PASS", password)
    container.start()
    try:
        host, port = container.get_container_host_ip(), int(container.get_exposed_port(5672))
        management = f"http://{host}:{container.get_exposed_port(15672)}"
        broker = GivenRabbit(f"amqp://outrider:{password}@{host}:{port}/", management)
        deadline = time.monotonic() + 60
        while not server_version(host, port):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{RABBIT_IMAGE} did not answer in 60 s")
            time.sleep(0.2)
        broker.check()
    except BaseException:
        container.stop()
        raise
    return container, broker


def _within(seconds: float, start: Callable[[], _T]) -> _T:
    """What `start` returns, or TimeoutError; then it goes on behind our back, for an image pull cannot be stopped."""
    outcome: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(start())
        except BaseException as error:  # noqa: BLE001 - carried to the other thread
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not outcome:
        raise TimeoutError(f"not ready after {seconds:.0f} s")
    return outcome[0]


def _listed(reasons: list[str]) -> str:
    return ", ".join(reasons)
