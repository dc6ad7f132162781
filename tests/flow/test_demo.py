"""The demo is the main job: it checks itself, so its exit code is the test. Small here; `make demo` is the whole of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.state import CHECKOUT

_LAST = re.compile(
    r"demo: ok accepted=(\d+) applied=(\d+) duplicate=(\d+) quarantined=(\d+) dead=(\d+) in_flight=0 unaccounted=0 seconds=\d+"
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder that PostgreSQL's user may enter also when we are root, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="outrider-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("options", [["--kill"], ["--broker", "rabbitmq", "--kill"]], ids=["one-process", "rabbitmq"])
def test_the_books_balance_at_the_end(home: Path, options: list[str], request: pytest.FixtureRequest) -> None:
    if "rabbitmq" in options:
        request.getfixturevalue("rabbit_server")  # says, or fails, when there is no broker to be had
    env = {name: value for name, value in os.environ.items() if name not in ("AMQP_URL", "DATABASE_URL")}

    done = subprocess.run(
        [sys.executable, "-m", "services.cli", "demo", "--webhooks", "480", *options],
        env=env | {"OUTRIDER_HOME": str(home)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=900,  # it ends by itself, and says why; this only ends what hangs
        check=False,
    )

    found = _LAST.search(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert found, done.stdout[-500:]
    accepted, *others = map(int, found.groups())
    assert accepted == sum(others)
    assert accepted >= 480
