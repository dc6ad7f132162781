"""`python -m tests.crashes.service NAME`: a service whose leases are so short that a grid of stalls can outlast them.

Nothing else differs from how `make run` starts one: what waits 15 to 60 s for a lease waits LEASE_SECONDS here, and a lost
write is looked for after three leases instead of two minutes.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from types import MappingProxyType

from libs.messaging import inbox, processor

LEASE_SECONDS = 2.0
STALL_SECONDS = 3 * LEASE_SECONDS
# The simulator shares the harness's one thread, which a busy machine may hold up for seconds: a write that is looked for
# before it was read from its socket would be made again, and rightly so.
_LANDED_SECONDS = 3 * LEASE_SECONDS
_LIVE_EVENTS = 8  # so that there is a surplus


def hurry(service: str) -> None:
    inbox.LEASE_SECONDS = LEASE_SECONDS  # type: ignore[assignment] # seconds of the database: whole or not
    processor.LIVE_EVENTS = _LIVE_EVENTS
    if service not in ("provider_sync", "standalone"):
        return
    from libs.providers.registry import PROVIDERS
    from services.provider_sync import app, effect_worker, jobs, sync_worker

    for worker in (effect_worker, jobs, sync_worker):
        worker.LEASE_SECONDS = LEASE_SECONDS  # type: ignore[attr-defined]
        worker.PAUSE_SECONDS = LEASE_SECONDS  # type: ignore[attr-defined]
    jobs._HOLD_SECONDS = LEASE_SECONDS / 3
    effect_worker.WRITE_WITHIN_SECONDS = LEASE_SECONDS * 2 / 3
    app.PROVIDERS = {  # type: ignore[attr-defined]
        name: replace(
            provider,
            effects=MappingProxyType(
                {kind: replace(one, read_back_after_seconds=_LANDED_SECONDS) for kind, one in provider.effects.items()}
            ),
        )
        for name, provider in PROVIDERS.items()
    }


if __name__ == "__main__":
    name = sys.argv.pop(1)
    hurry(name)
    runpy.run_module(f"services.{name}", run_name="__main__", alter_sys=True)
