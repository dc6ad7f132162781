"""Inner HTTP of reconciliation: parse, ask a handler, answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from libs.errors import Invalid
from libs.ids import parse_public_id
from libs.messaging.work import UnitOfWork
from libs.tenancy.context import TenantContext
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.reconciliation.handlers import requests, schedules, slots
from services.reconciliation.schemas import (
    DriftPage,
    DriftQuery,
    ListQuery,
    Moment,
    RunOut,
    RunPage,
    RunQuery,
    ScheduleChangeIn,
    ScheduleIn,
    ScheduleOut,
    SchedulePage,
    SlotOut,
    SlotPage,
    StartIn,
)


def routes(hop: InnerHop, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/reconciliations")

    @router.post("", status_code=202)
    async def start(
        body: StartIn,
        response: Response,
        context: TenantContext = hop.context("reconciliations:start"),
        work: UnitOfWork = hop.work("reconciliations:start"),
    ) -> RunOut:
        run = await requests.start_run(body, work, principal=context.principal)
        response.headers["Location"] = f"/v1/reconciliations/{run.id}"
        return run

    @router.get("")
    async def listing(
        query: Annotated[RunQuery, Query()], work: UnitOfWork = hop.work("reconciliations:read")
    ) -> RunPage:
        return await requests.list_runs(query, work, cursors=cursors)

    @router.get("/{run_id}")
    async def show(run_id: str, work: UnitOfWork = hop.work("reconciliations:read")) -> RunOut:
        return await requests.show_run(run_id, work)

    @router.get("/{run_id}/drifts")
    async def drifts(
        run_id: str, query: Annotated[DriftQuery, Query()], work: UnitOfWork = hop.work("drifts:read")
    ) -> DriftPage:
        return await requests.list_drifts(run_id, query, work, cursors=cursors)

    return router


def schedule_routes(hop: InnerHop, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/reconciliation-schedules")

    @router.post("", status_code=201)
    async def create(
        body: ScheduleIn,
        response: Response,
        context: TenantContext = hop.context("schedules:write"),
        work: UnitOfWork = hop.work("schedules:write"),
    ) -> ScheduleOut:
        schedule = await schedules.create_schedule(body, work, principal=context.principal)
        response.headers["Location"] = f"/v1/reconciliation-schedules/{schedule.id}"
        return schedule

    @router.get("")
    async def listing(
        query: Annotated[ListQuery, Query()], work: UnitOfWork = hop.work("schedules:read")
    ) -> SchedulePage:
        return await schedules.list_schedules(query, work, cursors=cursors)

    @router.get("/{schedule_id}")
    async def show(schedule_id: str, work: UnitOfWork = hop.work("schedules:read")) -> ScheduleOut:
        return await schedules.show_schedule(schedule_id, work)

    @router.patch("/{schedule_id}")
    async def change(
        schedule_id: str, body: ScheduleChangeIn, work: UnitOfWork = hop.work("schedules:write")
    ) -> ScheduleOut:
        return await schedules.change_schedule(schedule_id, body, work)

    @router.delete("/{schedule_id}", status_code=204)
    async def delete(schedule_id: str, work: UnitOfWork = hop.work("schedules:write")) -> None:
        await schedules.delete_schedule(schedule_id, work)

    @router.get("/{schedule_id}/slots")
    async def list_slots(
        schedule_id: str, query: Annotated[ListQuery, Query()], work: UnitOfWork = hop.work("schedules:read")
    ) -> SlotPage:
        return await schedules.list_slots(schedule_id, query, work, cursors=cursors)

    @router.put("/{schedule_id}/slots/{slot}", status_code=202)
    async def start_slot(
        schedule_id: str,
        slot: Moment,
        request: Request,
        response: Response,
        context: TenantContext = hop.context("schedules:run"),
        work: UnitOfWork = hop.work("schedules:run"),
    ) -> SlotOut:
        if request.url.query or await request.body():
            raise Invalid("send neither a body nor a query: the schedule says what is compared")
        identifier = parse_public_id("sch", schedule_id)
        started = await slots.start_slot(identifier, slot, work, principal=context.principal)
        response.headers["Location"] = f"/v1/reconciliations/{started.run_id}"
        return started

    return router
