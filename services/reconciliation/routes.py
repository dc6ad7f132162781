"""Inner HTTP of reconciliation: parse, ask a handler, answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from libs.messaging.work import UnitOfWork
from libs.tenancy.context import TenantContext
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.reconciliation.handlers import requests
from services.reconciliation.schemas import DriftPage, DriftQuery, RunOut, RunPage, RunQuery, StartIn


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
        run_id: str, query: Annotated[DriftQuery, Query()], work: UnitOfWork = hop.work("reconciliations:read")
    ) -> DriftPage:
        return await requests.list_drifts(run_id, query, work, cursors=cursors)

    return router
