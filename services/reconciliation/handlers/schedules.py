"""Schedules: which of an org's accounts are compared by themselves, and how often."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from libs.clock import now, rfc3339
from libs.errors import Conflict, Invalid, NotFound
from libs.ids import new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.reconciliation.domain.slots import new_timetable
from services.reconciliation.handlers.accounts import comparable_account, refuse_archived
from services.reconciliation.repository.schedules import Schedule, ScheduleRepository, Slot
from services.reconciliation.schemas import (
    ListQuery,
    ScheduleChangeIn,
    ScheduleIn,
    ScheduleOut,
    SchedulePage,
    SlotOut,
    SlotPage,
)


async def create_schedule(body: ScheduleIn, work: UnitOfWork, *, principal: str) -> ScheduleOut:
    """Have an account compared at every slot from now on.

    Publishes ActionPerformedV1.

    Raises:
        NotFound: the caller has no such account.
        Unsupported: its provider cannot list what it holds; the message names it.
        Conflict: the account has a schedule, the message names it; or its company is archived.
    """
    account = await comparable_account(body.account_id, work)
    schedules, schedule_id = ScheduleRepository(work.session), new_id()
    timetable = new_timetable(
        await schedules.now(), anchor=body.anchor, interval_seconds=body.interval_seconds, enabled=body.enabled
    )
    if not await schedules.add(schedule_id, account.account_id, timetable, created_by=principal):
        known = await schedules.find_of_account(account.account_id)
        which = "one" if known is None else public_id("sch", known.schedule_id)
        raise Conflict(f"this account has a schedule, {which}: change that", code="schedule_exists")
    made = await _get(schedules, schedule_id)
    _audit("schedule.created", made, work)
    return _schedule_out(made)


async def list_schedules(query: ListQuery, work: UnitOfWork, *, cursors: Cursors) -> SchedulePage:
    """Newest first. Raises: Invalid for a cursor of another list."""
    name = "reconciliation-schedules"
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    rows = await ScheduleRepository(work.session).page(
        after=None if position is None else UUID(position[0]), limit=query.limit + 1
    )
    shown, has_more = page(rows, query.limit)
    cursor = cursors.write([shown[-1].schedule_id], org_id=work.org_id, query=name) if has_more else None
    return SchedulePage(
        data=[_schedule_out(one) for one in shown], has_more=has_more, next_cursor=cursor, as_of=rfc3339(now())
    )


async def show_schedule(identifier: str, work: UnitOfWork) -> ScheduleOut:
    """Raises: NotFound."""
    return _schedule_out(await _get(ScheduleRepository(work.session), parse_public_id("sch", identifier)))


async def change_schedule(identifier: str, body: ScheduleChangeIn, work: UnitOfWork) -> ScheduleOut:
    """Change what is named. Another grid, or on again after off: what began before now is not caught up.

    Publishes ActionPerformedV1.

    Raises:
        NotFound: the caller has no such schedule.
        Conflict: somebody changed it since it was read; or it would be on, and its company is archived.
        Invalid: nothing is named.
    """
    schedules, schedule_id = ScheduleRepository(work.session), parse_public_id("sch", identifier)
    held = await schedules.hold(schedule_id)
    if held is None:
        raise no_such_schedule()
    if held.revision != body.revision:
        raise Conflict(
            f"the schedule was changed: it is at revision {held.revision} now; read it again", code="revision_conflict"
        )
    if body.interval_seconds is None and body.anchor is None and body.enabled is None:
        raise Invalid("name at least one of interval_seconds, anchor, enabled")
    timetable = held.timetable.changed(
        await schedules.now(),
        anchor=body.anchor or held.timetable.anchor,
        interval_seconds=body.interval_seconds or held.timetable.interval_seconds,
        enabled=held.timetable.enabled if body.enabled is None else body.enabled,
    )
    if timetable.enabled:
        await refuse_archived(held.company_id, work)
    await schedules.change(schedule_id, timetable)
    changed = await _get(schedules, schedule_id)
    _audit("schedule.changed", changed, work)
    return _schedule_out(changed)


async def delete_schedule(identifier: str, work: UnitOfWork) -> None:
    """End a schedule; runs that it started go on and stay. Publishes ActionPerformedV1. Raises: NotFound."""
    schedules, schedule_id = ScheduleRepository(work.session), parse_public_id("sch", identifier)
    held = await schedules.hold(schedule_id)
    if held is None:
        raise no_such_schedule()
    await schedules.remove(schedule_id)
    _audit("schedule.deleted", held, work)


async def list_slots(identifier: str, query: ListQuery, work: UnitOfWork, *, cursors: Cursors) -> SlotPage:
    """What became of a schedule's slots, newest first. Raises: NotFound; Invalid for a cursor of another list."""
    schedules = ScheduleRepository(work.session)
    schedule = await _get(schedules, parse_public_id("sch", identifier))
    name = f"reconciliation-schedules/{schedule.schedule_id}/slots"
    position = cursors.read(query.after, org_id=work.org_id, query=name)
    rows = await schedules.slots(
        schedule.schedule_id,
        before=None if position is None else datetime.fromisoformat(position[0]),
        limit=query.limit + 1,
    )
    shown, has_more = page(rows, query.limit)
    cursor = cursors.write([shown[-1].slot.isoformat()], org_id=work.org_id, query=name) if has_more else None
    return SlotPage(data=[slot_out(one) for one in shown], has_more=has_more, next_cursor=cursor, as_of=rfc3339(now()))


async def _get(schedules: ScheduleRepository, schedule_id: UUID) -> Schedule:
    found = await schedules.find(schedule_id)
    if found is None:
        raise no_such_schedule()
    return found


def _audit(action: str, schedule: Schedule, work: UnitOfWork) -> None:
    told = _schedule_out(schedule).model_dump(include={"account_id", "interval_seconds", "anchor", "enabled"})
    work.audit(action, public_id("sch", schedule.schedule_id), told, company_id=schedule.company_id)


def no_such_schedule() -> NotFound:
    return NotFound("there is no sch_ object with this id")  # as parse_public_id says it: they must look the same


def _schedule_out(schedule: Schedule) -> ScheduleOut:
    timetable = schedule.timetable
    return ScheduleOut(
        id=public_id("sch", schedule.schedule_id),
        account_id=public_id("acc", schedule.account_id),
        company_id=None if schedule.company_id is None else public_id("cmp", schedule.company_id),
        interval_seconds=timetable.interval_seconds,
        anchor=rfc3339(timetable.anchor),
        enabled=timetable.enabled,
        revision=schedule.revision,
        next_slot=rfc3339(timetable.next_slot) if timetable.enabled else None,
        last_slot=None if timetable.last_slot is None else rfc3339(timetable.last_slot),
        created_by=schedule.created_by,
        created_at=rfc3339(schedule.created_at),
        changed_at=rfc3339(schedule.changed_at),
    )


def slot_out(slot: Slot) -> SlotOut:
    return SlotOut(
        schedule_id=public_id("sch", slot.schedule_id),
        slot=rfc3339(slot.slot),
        state=slot.state,
        run_id=None if slot.run_id is None else public_id("rec", slot.run_id),
        started_by=slot.started_by,
        decided_at=rfc3339(slot.decided_at),
    )
