"""`outrider simulate` as a process: it says where it is, serves, and ends when told to."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import orjson
import pytest

from libs.state import CHECKOUT


@contextmanager
def started(*options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "services.cli", "simulate", *options]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.heavy)])
def test_it_says_where_it_is_serves_and_ends_well(number: signal.Signals) -> None:
    with started("--port", "0", "--json", "--speed", "0") as process:
        assert process.stdout is not None
        told = orjson.loads(process.stdout.readline())
        smartlead = told["providers"]["smartlead"]
        url, key = smartlead["base_url"], smartlead["api_key"]
        with httpx.Client() as http:
            assert len(http.get(f"{url}/campaigns", params={"api_key": key}).json()) == 3
            http.post(
                f"{told['control_url']}/smartlead/faults", json={"kind": "dropped", "times": 1}
            ).raise_for_status()
            with pytest.raises(httpx.RemoteProtocolError):  # over a real connection, which the server closes
                http.get(f"{url}/campaigns", params={"api_key": key})
            assert len(http.get(f"{url}/campaigns", params={"api_key": key}).headers.get_list("date")) == 1

            process.send_signal(number)
            rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest, errors) == (0, "", "")
