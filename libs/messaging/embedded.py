"""A RabbitMQ node of our own, as a child process: for `make demo BROKER=rabbitmq` and for tests.

It uses the machine's programs with ports, a port mapper, a cookie and data of its own. A RabbitMQ that the system runs
is never touched.
"""

from __future__ import annotations

import atexit
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import httpx

from libs.child_process import end, free_port, start_server
from libs.errors import DependencyDown
from libs.state import FolderInUse, take_folder

_USER = "outrider"
_PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitUnavailable(DependencyDown):
    """No RabbitMQ can be started; the message says what to do."""


def find_sbin() -> Path:
    """The folder of `rabbitmq-server`: $RABBITMQ_SBIN, else the newest on the machine.

    Raises:
        RabbitUnavailable: there is none.
    """
    if given := os.environ.get("RABBITMQ_SBIN"):
        candidates = [Path(given)]
    else:
        installed = Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin")
        candidates = sorted(installed, key=lambda sbin: [int(n) for n in re.findall(r"\d+", sbin.parent.name)])[::-1]
        candidates += [Path("/opt/rabbitmq/sbin"), Path("/opt/homebrew/opt/rabbitmq/sbin")]
        candidates += [Path("/usr/local/opt/rabbitmq/sbin")]
        # /usr/sbin/rabbitmq-server is a wrapper for the system's own node, so PATH comes last and without it.
        on_path = shutil.which("rabbitmq-server")
        candidates += [Path(on_path).resolve().parent] if on_path and not on_path.startswith("/usr/sbin/") else []
    for sbin in candidates:
        if (sbin / "rabbitmq-server").exists():
            return sbin
    if given:
        raise RabbitUnavailable(f"no rabbitmq-server in RABBITMQ_SBIN={given}")
    raise RabbitUnavailable(
        "no RabbitMQ programs here: on Debian `make setup-debian`, on macOS `brew install rabbitmq`; or set AMQP_URL"
    )


def start_mapper(port: int, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Erlang's port mapper, as a child: one that a node has to start for itself would stay behind as a daemon."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERL_")}
    command = [_find_epmd(), "-port", str(port), "-address", "127.0.0.1"]
    return start_server(command, death_signal=signal.SIGKILL, env=environment, cwd=Path("/"), output=output)


def _find_epmd() -> str:
    if found := shutil.which("epmd"):
        return found
    for place in sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"), reverse=True):
        return str(place)
    raise RabbitUnavailable("no epmd (Erlang's port mapper) here; it comes with RabbitMQ's Erlang packages")


def server_version(host: str, port: int, *, timeout_seconds: float = 2.0) -> str | None:
    """The version of the broker at this address, e.g. "3.10.8", or None when none answers.

    Read from the protocol's first frame, Connection.Start: a node opens its listeners last, so an answer means ready.
    """
    try:
        with socket.create_connection((host, port), timeout_seconds) as connection:
            connection.sendall(_PROTOCOL_HEADER)
            answer = connection.recv(4096)
    except OSError:
        return None
    if not answer.startswith(b"\x01"):
        return None
    found = re.search(rb"\x07versionS...(.)", answer, re.DOTALL)  # field name, type S, length in four bytes
    return answer[found.end() : found.end() + found[1][0]].decode() if found else "of unknown version"


class RabbitNode:
    """One node in `root`: data, log, password. Synchronous; start it from the main thread.

    Ends with this process, however that ends. Ports are chosen at the first `start` and kept for those after it.
    `settings` are further lines of its configuration, `advanced` are Erlang's terms. The nodes of a cluster share a port
    mapper (`mapper_port`: of one that runs) and the files `password` and `.erlang.cookie`.
    """

    def __init__(
        self,
        root: Path,
        *,
        plugins: Sequence[str] = ("rabbitmq_management",),
        name: str = "outrider",
        settings: Sequence[str] = (),
        advanced: str = "[].",
        mapper_port: int = 0,
    ) -> None:
        self.root = root
        self.port = 0
        self.management_port = 0
        self.version = ""
        self._plugins = plugins
        self._name = name
        self._settings = settings
        self._advanced = advanced
        self._mapper_port = mapper_port
        self._mapper_is_shared = bool(mapper_port)
        self._inner_port = 0
        self._password = ""
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def pid(self) -> int | None:
        """Of the node's first process, while it runs; the session of that number holds all of it."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def amqp_url(self, vhost: str = "/") -> str:
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}/{quote(vhost, safe='') if vhost != '/' else ''}"

    @property
    def management_url(self) -> str:
        """Of the management plugin's HTTP API, with user and password, no slash at the end."""
        return f"http://{_USER}:{self._password}@127.0.0.1:{self.management_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the node's own commands (`rabbitmqctl`) want to be run with."""
        return self._environment()

    def start(self, *, timeout_seconds: float = 90.0) -> Self:
        """Return when the node takes connections: 4 to 7 seconds, more on a busy machine.

        Raises:
            RabbitUnavailable: no programs, a folder in use, or the log's last lines.
        """
        sbin = find_sbin()
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = take_folder(self.root)
        except FolderInUse as in_use:
            raise RabbitUnavailable(
                f"{in_use}: an Outrider runs there already; `make down` ends it, OUTRIDER_HOME chooses another folder"
            ) from None
        try:
            self._start(sbin, time.monotonic() + timeout_seconds)
        except BaseException:
            self.kill()
            raise
        atexit.register(self.kill)  # for systems which do not tell a child that its parent is gone
        return self

    def stop(self) -> None:
        """Stop in good order: seconds. Nothing happens when it does not run."""
        if self._process:
            end(self._process, (signal.SIGTERM, 30.0))
        self._let_go()

    def kill(self) -> None:
        """Crash it, as a power cut would, in no time; `start` brings back what was durable.

        A quorum queue declared right before the crash is known afterwards, but has no leader ever again, and each call
        on it times out (3.10.8, seen in November 2026 with a queue of 0.6 s; one of 2 s came back).
        """
        if self._process:
            end(self._process)
        self._let_go()

    def new_vhost(self, name: str) -> str:
        """Make an empty vhost and return its AMQP URL; milliseconds. Needs the management plugin."""
        with self._management() as http:
            for path, body in (
                (f"/api/vhosts/{quote(name, safe='')}", {}),
                (f"/api/permissions/{quote(name, safe='')}/{_USER}", {"configure": ".*", "write": ".*", "read": ".*"}),
            ):
                http.put(path, json=body).raise_for_status()
        return self.amqp_url(name)

    def delete_vhost(self, name: str) -> None:
        """Remove a vhost with all queues, messages and connections in it."""
        with self._management() as http:
            http.delete(f"/api/vhosts/{quote(name, safe='')}").raise_for_status()

    def _management(self) -> httpx.Client:
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.management_port}",
            auth=(_USER, self._password),
            timeout=20,
            trust_env=False,  # a proxy for the world is none for 127.0.0.1
        )

    def _let_go(self) -> None:
        atexit.unregister(self.kill)
        if self._mapper:
            end(self._mapper)
        if self._lock is not None:
            os.close(self._lock)
        self._process = self._mapper = self._lock = None

    def _start(self, sbin: Path, deadline: float) -> None:
        log = self.root / "server.log"
        while not self._started(sbin, log, deadline):
            said = log.read_text(errors="replace")
            self._end_processes()
            if time.monotonic() > deadline:
                raise RabbitUnavailable(f"RabbitMQ was not ready in time: {said[-1500:]}")
            if not re.search(r"eaddrinuse|address already in use|epmd: .*in use", said):
                raise RabbitUnavailable(f"RabbitMQ ended at its start: {said[-1500:]}")
            self.port = 0  # a free port is closed before the server binds it: another was faster

    def _end_processes(self) -> None:
        for process in (self._process, self._mapper):
            if process:
                end(process)

    def _started(self, sbin: Path, log: Path, deadline: float) -> bool:
        if not self.port:
            self.port, self.management_port, mapper_port, self._inner_port = _distinct_ports(4)
            if not self._mapper_is_shared:
                self._mapper_port = mapper_port
        self._write_files()
        env = self._environment()
        assert self._lock is not None
        with log.open("wb") as output:
            if not self._mapper_is_shared:
                self._mapper = start_mapper(self._mapper_port, output)
            self._process = start_server(
                [sbin / "rabbitmq-server"],
                death_signal=signal.SIGTERM,
                env=env,
                cwd=self.root,
                output=output,
                pass_fds=[self._lock],
            )
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._mapper is not None and self._mapper.poll() is not None:
                return False
            if version := server_version("127.0.0.1", self.port):
                self.version = version
                return True
            time.sleep(0.05)
        return False

    def _write_files(self) -> None:
        self._password = self._kept("password", mode=0o600)
        self._kept(".erlang.cookie", mode=0o400)  # Erlang refuses one that others may read
        plugins = f"[{','.join(self._plugins)}].\n"
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"default_user = {_USER}",
            f"default_pass = {self._password}",
            "loopback_users = none",
            "log.console = false",
            "log.file.level = warning",
            "disk_free_limit.absolute = 50MB",
            "vm_memory_high_watermark.absolute = 1GB",
        ]
        if "rabbitmq_management" in self._plugins:
            lines += ["collect_statistics_interval = 1000", "management.tcp.ip = 127.0.0.1"]
            lines += [f"management.tcp.port = {self.management_port}"]
        lines += self._settings
        (self.root / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (self.root / "rabbitmq.conf").chmod(0o600)
        (self.root / "enabled_plugins").write_text(plugins)
        (self.root / "env.conf").touch()
        (self.root / "advanced.config").write_text(f"{self._advanced}\n")

    def _kept(self, name: str, *, mode: int) -> str:
        file = self.root / name
        if not file.exists():
            new = self.root / f"{name}.new"
            new.unlink(missing_ok=True)
            new.touch(mode=0o600)
            new.write_text(secrets.token_hex(16))
            new.chmod(mode)
            new.rename(file)
        return file.read_text()

    def _environment(self) -> dict[str, str]:
        root = self.root
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("RABBITMQ_", "ERL_"))}
        quiet = "+sbwt none +sbwtdcpu none +sbwtdio none"  # schedulers that spin while idle starve a small machine
        return inherited | {
            "HOME": str(root),  # where .erlang.cookie is looked for
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self._name}@localhost",
            "RABBITMQ_USE_LONGNAME": "false",
            "RABBITMQ_DIST_PORT": str(self._inner_port),
            "RABBITMQ_CONF_ENV_FILE": f"{root}/env.conf",  # empty; without it the system's file is read
            "RABBITMQ_CONFIG_FILE": f"{root}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{root}/advanced.config",
            "RABBITMQ_MNESIA_BASE": f"{root}/data",
            "RABBITMQ_LOG_BASE": f"{root}/log",
            "RABBITMQ_PID_FILE": f"{root}/pid",
            "RABBITMQ_SCHEMA_DIR": f"{root}/schema",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{root}/generated",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{root}/enabled_plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"+S 2:2 {quiet} -kernel inet_dist_use_interface {{127,0,0,1}}",
        }


def _distinct_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)
