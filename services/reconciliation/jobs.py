"""What runs by the clock: ending runs that hear nothing any more, starting the slots of schedules."""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from uuid import UUID

from libs.crash import crash_point
from libs.database.engine import Database, OrganizationErased
from libs.errors import DependencyDown, RequestError
from libs.ids import PLATFORM_ORG, OrgId
from libs.messaging.work import Units
from libs.observability.logs import get_logger
from services.reconciliation.handlers.progress import fail_stuck
from services.reconciliation.handlers.slots import start_newest
from services.reconciliation.repository.schedules import ScheduleRepository

_AT_ONCE = 100
_LEADER = zlib.crc32(b"outrider reconciliation schedules")

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
        with suppress(OrganizationErased):
            async with units.begin(OrgId(row["org_id"])) as work:
                if await fail_stuck(row["run_id"], work, timeout_seconds=timeout_seconds):
                    ended += 1
                    log.warning("reconciliation_stuck", org_id=str(row["org_id"]), run_id=str(row["run_id"]))
    return ended


async def schedule(database: Database, units: Units, *, every_seconds: float) -> None:
    """Start what is due for ever; of several replicas one at a time."""
    while True:
        with suppress(DependencyDown):
            await start_due(database, units)
        await asyncio.sleep(every_seconds)


async def start_due(database: Database, units: Units) -> int:
    """Start the newest due slot of every schedule of every org; answers how many. Nothing while another replica leads.

    The lock ends with its connection and only spares the replicas each other's work: a leader that lost it unawares is
    refused slot by slot, as each is judged anew in the transaction that starts it.
    """
    started = 0
    # The look-up tells ids of any org; each schedule is then read and its slot started within its own.
    async with database.tenant_transaction(PLATFORM_ORG) as leading:
        if not await leading.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LEADER):
            return 0
        schedules = ScheduleRepository(leading)
        moment, past = await schedules.now(), None
        while due := await schedules.due(moment, past=past, most=_AT_ONCE):
            for org_id, schedule_id in due:
                started += await _start(units, org_id, schedule_id)
            past = due[-1][1]
    return started


async def _start(units: Units, org_id: OrgId, schedule_id: UUID) -> bool:
    """Start one schedule's slot; what keeps this one from it must not keep the others."""
    told = {"org_id": str(org_id), "schedule_id": str(schedule_id)}
    try:
        async with units.begin(org_id, actor=f"schedule:{schedule_id}") as work:
            if work.session.is_suspended:
                return False
            slot = await start_newest(schedule_id, work)
            if slot is not None:
                crash_point("slot.claimed")
        if slot is not None:
            crash_point("slot.committed")
    except DependencyDown:
        raise
    except RequestError as refusal:  # a run of the account is active, or somebody was quicker
        log.info("slot_not_started", code=refusal.code, **told)
        return False
    except Exception as error:
        log.error("slot_failed", exc_info=error, **told)
        return False
    if slot is not None:
        log.info("slot_started", slot=slot.slot, run_id=slot.run_id, **told)
    return slot is not None
