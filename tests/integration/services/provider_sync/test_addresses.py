"""An account's address may name any instance, and is called only where that is public; a start that would not hold is none."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import httpcore
import httpx
import pytest

from libs.outbound.transport import GuardedTransport
from libs.state import CHECKOUT
from services.provider_sync.outgoing import make_http
from tests.integration.services.provider_sync.house import House


@pytest.fixture
async def house(database, units):
    house = House(database("provider_sync"), units("provider_sync"), "emailbison")
    yield house
    await house.http.aclose()


class Network(httpcore.AsyncNetworkBackend):
    """Notes where connections were to go; none is made."""

    def __init__(self) -> None:
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        raise httpcore.ConnectError("there is nothing")


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "fd00:ec2::254"])
async def test_an_instance_that_resolves_to_the_inside_is_not_called(house, make_org, inside):
    """Nothing was sent, so nothing is unknown; what the name resolved to is told to nobody."""
    other = await house.open_account(make_org())
    account = await house.open_account(make_org(), "https://send.example.com")
    for one in (account, other):
        await house.make_ready(one)
    network = Network()

    async def resolve(_, __):
        return [inside]

    house.worker._http = make_http(GuardedTransport(limits=httpx.Limits(), resolve=resolve, network=network))
    await house.worker.run_due()
    await house.worker._http.aclose()

    [job] = await house.jobs(account)
    assert (job["state"], job["attempts"]) == ("failed", 1)
    assert "public addresses only" in job["error"]
    endpoint = await house.endpoint(account)
    assert endpoint["status"] == "failed"
    assert inside not in f"{dict(job)} {dict(endpoint)}"
    assert network.connected == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"OUTRIDER_ENVIRONMENT": "production", "PROVIDER_SYNC_ALLOW_LOOPBACK": "true"},
            "PROVIDER_SYNC_ALLOW_LOOPBACK is for simulators",
        ),
        ({"OUTRIDER_ENVIRONMENT": "produktion"}, "OUTRIDER_ENVIRONMENT is wrong"),
    ],
)
async def test_a_setting_that_must_be_mended_is_one_line(migrated, tmp_path, environment, said):
    started = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.provider_sync"],
        env={name: value for name, value in os.environ.items() if not name.startswith("PROVIDER_SYNC_")}
        | {
            "OUTRIDER_HOME": str(tmp_path),
            "PROVIDER_SYNC_DATABASE_URL": migrated.url("provider_sync"),
            "PROVIDER_SYNC_CREDENTIAL_KEYS": "11" * 32,
            "PROVIDER_SYNC_CURSOR_KEY": "cursors",
            "OUTRIDER_CONTEXT_PUBLIC_KEYS": "22" * 32,
            "AMQP_URL": "amqp://nobody:nothing@127.0.0.1:1/",
        }
        | environment,
        cwd=CHECKOUT,
        text=True,
        capture_output=True,
        timeout=60,
    )

    assert started.returncode != 0
    assert started.stderr.count("\n") == 1, started.stderr
    assert said in started.stderr
    assert "produktion" not in started.stderr
