"""The broker's management API and command, as the rows need them. Calls block: milliseconds, the command seconds."""

from __future__ import annotations

import subprocess
from typing import Any

import httpx

from libs.messaging import topology
from libs.messaging.embedded import find_sbin
from tests.faults.ground import VHOST, Ground

WEBHOOKS = "provider-sync.webhooks"
_EVERYTHING_BYTES = "1GB"


def ask(ground: Ground, method: str, path: str) -> Any:
    response = httpx.request(method, f"{ground.rabbit.management_url}{path}", timeout=20, trust_env=False)
    response.raise_for_status()
    return response.json() if response.content else None


def depth(ground: Ground, queue: str = WEBHOOKS) -> int:
    """Messages in a queue, as the broker counts them (it lags a second)."""
    return int(ask(ground, "GET", f"/api/queues/{VHOST}/{queue}").get("messages") or 0)


def has_alarm(ground: Ground) -> bool:
    return any(node.get("mem_alarm") for node in ask(ground, "GET", "/api/nodes"))


def set_memory(ground: Ground, amount: str = _EVERYTHING_BYTES) -> None:
    """Below what the broker uses it raises its alarm and takes no more from publishers."""
    subprocess.run(
        [find_sbin() / "rabbitmqctl", "-q", "set_vm_memory_high_watermark", "absolute", amount],
        env=ground.rabbit.environment,
        check=True,
        capture_output=True,
        timeout=60,
    )


def unbind(ground: Ground, queue: str = WEBHOOKS) -> int:
    """Take away all that binds the exchange of events to a queue; answers how many bindings went."""
    path = f"/api/bindings/{VHOST}/e/{topology.EVENTS}/q/{queue}"
    bindings = ask(ground, "GET", path)
    for one in bindings:
        ask(ground, "DELETE", f"{path}/{one['properties_key']}")
    return len(bindings)
