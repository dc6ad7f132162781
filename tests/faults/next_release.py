"""`python -m tests.faults.next_release SERVICE`: the service as a later release, in which a webhook is told in version 2.

What it tells, version 1 does not know; it reads both.
"""

from __future__ import annotations

import runpy
import sys

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.contracts.event import registry
from libs.contracts.events import WebhookReceivedV1

OLD, NEW = WebhookReceivedV1.routing_key, "webhook.received.v2"


def install() -> None:
    registry.types[NEW] = WebhookReceivedV1
    WebhookReceivedV1.routing_key = NEW


if __name__ == "__main__":
    install()
    runpy.run_module(f"services.{sys.argv[1]}", run_name="__main__")
