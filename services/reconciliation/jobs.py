"""What runs by the clock: ending runs that hear nothing any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from libs.database.engine import Database
from libs.errors import DependencyDown
from libs.ids import PLATFORM_ORG, OrgId
from libs.messaging.work import Units
from libs.observability.logs import get_logger
from services.reconciliation.handlers.progress import fail_stuck

_AT_ONCE = 100

log = get_logger()


async def watch(database: Database, units: Units, *, timeout_seconds: float, every_seconds: float) -> None:
    """Look for stuck runs for ever. Replicas may look at once: each run is ended under its lock, by one of them."""
    while True:
        with suppress(DependencyDown):
            await end_stuck(database, units, timeout_seconds=timeout_seconds)
        await asyncio.sleep(every_seconds)


async def end_stuck(database: Database, units: Units, *, timeout_seconds: float) -> int:
    """End every run that heard nothing for so long; answers how many."""
    # The look-up tells ids of any org; each run is then read and ended within its own.
    async with database.tenant_transaction(PLATFORM_ORG) as session:
        rows = await session.fetch("SELECT org_id, run_id FROM stuck_runs_v1($1, $2)", timeout_seconds, _AT_ONCE)
    ended = 0
    for row in rows:
        async with units.begin(OrgId(row["org_id"])) as work:
            if await fail_stuck(row["run_id"], work, timeout_seconds=timeout_seconds):
                ended += 1
                log.warning("reconciliation_stuck", org_id=str(row["org_id"]), run_id=str(row["run_id"]))
    return ended
