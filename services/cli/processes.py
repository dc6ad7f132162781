"""The house as processes on this machine: a database, perhaps a broker, and the services; used by `demo` and `up`.

Everything is a child of this process and ends with it, also when this process is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import httpx

from libs.child_process import end, free_port, start_server
from libs.database.embedded import PostgresNode
from libs.database.names import SERVICES, process_name
from libs.errors import PermanentError
from libs.messaging import topology
from libs.messaging.embedded import RabbitNode
from libs.settings import PORTS
from libs.state import CHECKOUT
from services.cli import prepare

READY_SECONDS = 60
STOP_SECONDS = 15


class ServiceDied(PermanentError):
    code = "service_died"


class House:
    """`folder` holds data, secrets and logs. `broker` is None (one process) or "rabbitmq" (a process per service)."""

    def __init__(
        self,
        folder: Path,
        *,
        broker: str | None,
        database: str,
        fixed_ports: bool,
        say: Callable[[str], None],
        extra_env: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.names = ["standalone"] if broker is None else list(SERVICES)
        self._broker = broker
        self._database = database
        self._say = say
        self._postgres: PostgresNode | None = None
        self._rabbit: RabbitNode | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: list[IO[bytes]] = []
        self._ports = {service: PORTS[service] if fixed_ports else free_port() for service in SERVICES}
        self._env = dict(os.environ) | {"OUTRIDER_HOME": str(folder)} | (extra_env or {})
        self.platform_key = ""

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['gateway']}"

    @property
    def door_url(self) -> str:
        return f"http://127.0.0.1:{self._ports['webhook_ingest']}"

    async def open(self) -> None:
        """Start servers, bring the schema up to date, start services and wait until they are ready."""
        given = os.environ.get("DATABASE_URL")
        if given:
            admin_url = given
            self._say("PostgreSQL: the one at DATABASE_URL")
        else:
            self._postgres = PostgresNode(self.folder / "postgres").start()
            await prepare.create_database(self._postgres.dsn(), self._database, anew=self._database == "demo")
            admin_url = self._postgres.dsn(self._database)
            self._say(f"PostgreSQL {self._postgres.version}: our own, in {self.folder / 'postgres'}")
        await prepare.prepare_database(admin_url, self.folder)
        self.platform_key = await prepare.first_key(admin_url, self.folder)
        self._env |= {"OUTRIDER_DATABASE_ADDRESS": admin_url, "DATABASE_URL": ""}
        self._env.pop("DATABASE_URL")
        for service, port in self._ports.items():
            self._env[f"{service.upper()}_PORT"] = str(port)
            self._env[f"GATEWAY_{service.upper()}_URL"] = f"http://127.0.0.1:{port}"
        self._env["PROVIDER_SYNC_PUBLIC_WEBHOOK_URL"] = self.door_url
        if self._broker is not None:
            await self._open_broker()
        for name in self.names:
            self.start(name)
        for name in self.names:
            await self.ready(name)

    async def _open_broker(self) -> None:
        amqp_url = os.environ.get("AMQP_URL")
        if amqp_url:
            self._say("RabbitMQ: the one at AMQP_URL")
        else:
            self._rabbit = RabbitNode(self.folder / "rabbitmq").start()
            vhost = f"{self._database}-{os.getpid()}"
            self._rabbit.new_vhost(vhost)
            amqp_url = self._rabbit.amqp_url(vhost)
            self._say(f"RabbitMQ {self._rabbit.version}: our own, in {self.folder / 'rabbitmq'}")
        await topology.declare(amqp_url)
        self._env["AMQP_URL"] = amqp_url

    def start(self, name: str, *, replica: int = 1, env: Mapping[str, str] | None = None) -> str:
        """Start a service (or `standalone`); its log goes to `logs/<name>.log`. Answers what it is called here.

        Replicas after the first are `<name>-2` and so on, on ports of their own. `env` is for this process alone.
        """
        called = name if replica == 1 else f"{name}-{replica}"
        port = {} if replica == 1 else {f"{name.upper()}_PORT": str(free_port())}
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        log = (logs / f"{called}.log").open("ab")
        self._logs.append(log)
        self._children[called] = start_server(
            self.command(name),
            death_signal=signal.SIGTERM,
            env={**self._env, **port, **(env or {})},
            cwd=CHECKOUT,
            output=log,
        )
        return called

    def command(self, name: str) -> list[str]:
        """What runs a service (or `standalone`)."""
        return [sys.executable, "-m", f"services.{name}"]

    async def ready(self, name: str) -> None:
        """Wait until the service says that it is ready.

        Raises:
            ServiceDied: it ended instead; the message holds its last words.
        """
        services = ("gateway", "webhook_ingest") if name == "standalone" else (name,)
        deadline = time.monotonic() + READY_SECONDS
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            for service in services:
                url = f"http://127.0.0.1:{self._ports[service]}/health/ready"
                while not await _is_ready(http, url):
                    if self._children[name].poll() is not None or time.monotonic() > deadline:
                        raise ServiceDied(
                            f"{process_name(name)} did not get ready; its log ends:\n{self.last_words(name)}"
                        )
                    await asyncio.sleep(0.1)

    def last_words(self, name: str, lines: int = 15) -> str:
        path = self.folder / "logs" / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def kill(self, name: str) -> None:
        """kill -9, as a crash would."""
        child = self._children[name]
        child.kill()
        child.wait()

    def stop(self, name: str) -> None:
        """End it in good order, as a deployment would; at the latest after 15 s."""
        end(self._children[name], (signal.SIGTERM, STOP_SECONDS))

    def forget(self, name: str) -> None:
        """It ended, and is not missed."""
        del self._children[name]

    def freeze(self, name: str, *, frozen: bool = True) -> None:
        """Stall the process (SIGSTOP), or let it go on."""
        self._children[name].send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def dead(self) -> list[str]:
        """Services that ended without being told to."""
        return [name for name, child in self._children.items() if child.poll() is not None]

    def exit_code(self, name: str) -> int | None:
        """None while it runs; -9 when SIGKILL ended it."""
        return self._children[name].poll()

    def close(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for child in self._children.values():
            end(child, (signal.SIGTERM, STOP_SECONDS))
        self._children.clear()
        if self._rabbit is not None:
            self._rabbit.kill()
        if self._postgres is not None:
            self._postgres.stop()
        for log in self._logs:
            log.close()


async def _is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.HTTPError:
        return False
