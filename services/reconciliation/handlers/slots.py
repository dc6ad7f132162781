"""Start the slots of schedules: the one way to it, for the scheduler's key outside and for the leader in the house."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.clock import rfc3339
from libs.errors import Conflict, Invalid, RequestError
from libs.ids import parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from services.reconciliation.domain.slots import Verdict
from services.reconciliation.handlers.accounts import refuse_archived
from services.reconciliation.handlers.requests import start_run
from services.reconciliation.handlers.schedules import no_such_schedule, slot_out
from services.reconciliation.repository.schedules import KEPT_SLOTS, Schedule, ScheduleRepository
from services.reconciliation.schemas import SlotOut, StartIn


async def start_slot(schedule_id: UUID, slot: datetime, work: UnitOfWork, *, principal: str) -> SlotOut:
    """Start the run of a slot that is due; slots missed before it are skipped. What is compared, the schedule says.

    Everything is judged with the schedule's row held and by the database's clock, so whoever comes late, twice or with an
    old belief about who leads is refused here.

    Publishes SnapshotRequestedV1 and ActionPerformedV1.

    Raises:
        NotFound: the org has no such schedule.
        Invalid: no slot starts then.
        Conflict: the slot was started or skipped, is not due, or a newer one is; the schedule is disabled; a run of the
            account is active (the slot stays due); its company is archived.
    """
    schedules = ScheduleRepository(work.session)
    held = await schedules.hold(schedule_id)
    if held is None:
        raise no_such_schedule()
    await refuse_archived(held.company_id, work)
    moment = await schedules.now()
    verdict = held.timetable.judge(slot, moment)
    if verdict is not Verdict.DUE:
        raise await _refusal(verdict, held, slot, moment, schedules)
    run = await start_run(StartIn(account_id=public_id("acc", held.account_id)), work, principal=principal)
    started = await schedules.start(
        held,
        slot,
        run_id=parse_public_id("rec", run.id),
        started_by=principal,
        skipped=held.timetable.missed_before(slot, KEPT_SLOTS),
    )
    return slot_out(started)


async def start_newest(schedule_id: UUID, work: UnitOfWork) -> SlotOut | None:
    """Start the slot that is due by now, if there is one. Raises: as start_slot."""
    schedules = ScheduleRepository(work.session)
    schedule = await schedules.find(schedule_id)
    slot = None if schedule is None else schedule.timetable.newest_due(await schedules.now())
    return None if slot is None else await start_slot(schedule_id, slot, work, principal=work.actor)


async def _refusal(
    verdict: Verdict, held: Schedule, slot: datetime, moment: datetime, schedules: ScheduleRepository
) -> RequestError:
    match verdict:
        case Verdict.OFF_GRID:
            return Invalid(
                "the schedule has no slot that starts then: slots start at anchor + n * interval_seconds",
                code="no_such_slot",
                pointer="slot",
            )
        case Verdict.OVER:
            decided = await schedules.find_slot(held.schedule_id, slot)
            if decided is not None and decided.run_id is not None:
                return Conflict(f"this slot was started: {public_id('rec', decided.run_id)}", code="slot_already_run")
            return Conflict("this slot is over; start the next one when it is due", code="slot_skipped")
        case Verdict.DISABLED:
            return Conflict("this schedule is disabled; enable it first", code="schedule_disabled")
        case Verdict.NOT_DUE:
            return Conflict(f"this slot is not due before {rfc3339(slot)}", code="not_due")
        case _:
            newest = held.timetable.newest_due(moment)
            assert newest is not None
            return Conflict(
                f"this slot was missed, and only the newest is caught up: start {rfc3339(newest)}", code="slot_missed"
            )
