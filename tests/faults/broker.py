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
_DISK_BYTES = "50MB"


def ask(ground: Ground, method: str, path: str, body: object = None) -> Any:
    url = f"{ground.rabbit.management_url}{path}"
    response = httpx.request(method, url, json=body, timeout=20, trust_env=False)
    response.raise_for_status()
    return response.json() if response.content else None


def depth(ground: Ground, queue: str = WEBHOOKS) -> int:
    """Messages in a queue, as the broker counts them (it lags a second)."""
    return int(ask(ground, "GET", f"/api/queues/{VHOST}/{queue}").get("messages") or 0)


def has_alarm(ground: Ground) -> bool:
    return any(node.get("mem_alarm") or node.get("disk_free_alarm") for node in ask(ground, "GET", "/api/nodes"))


def set_memory(ground: Ground, amount: str = _EVERYTHING_BYTES) -> None:
    """Below what the broker uses it raises its alarm and takes no more from publishers."""
    command(ground, "set_vm_memory_high_watermark", "absolute", amount)


def set_disk(ground: Ground, amount: str = _DISK_BYTES) -> None:
    """With less than this free it raises its alarm."""
    command(ground, "set_disk_free_limit", amount)


def set_patience(ground: Ground, seconds: float, *, look_seconds: float) -> None:
    """How long a channel that is opened from now on may keep a delivery, and how often the broker looks."""
    for name, value in (("consumer_timeout", seconds), ("channel_tick_interval", look_seconds)):
        command(ground, "eval", f"application:set_env(rabbit, {name}, {int(value * 1000)}).")


def leader_of(ground: Ground, queue: str = WEBHOOKS) -> str:
    """The node that leads a quorum queue: `r2@localhost`."""
    return str(ask(ground, "GET", f"/api/queues/{VHOST}/{queue}").get("leader") or "")


def said(ground: Ground, words: str) -> int:
    """How often the broker's log has these words."""
    return sum(log.read_text(errors="replace").count(words) for log in (ground.rabbit.root / "log").glob("*.log"))


def command(ground: Ground, *words: str) -> None:
    subprocess.run(
        [find_sbin() / "rabbitmqctl", "-q", *words],
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
