"""One organization's flood leaves the others' webhooks as fast as twice the idle time. For a machine that does nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from libs.state import CHECKOUT
from tests.servers import RabbitServer

_PATIENCE_SECONDS = 900


@pytest.mark.heavy
def test_a_flood_costs_the_others_at_most_twice_their_idle_time(rabbit_server: RabbitServer) -> None:
    """`make fairness` in a process of its own; prints its table. `rabbit_server` says, or fails, when there is no broker."""
    del rabbit_server
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fairness"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    print(done.stdout)  # noqa: T201 - the figures are what it is for
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
