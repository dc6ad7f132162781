"""Routes for copying an organization; no rule lives here. The pages of owners' tables are forwarded."""

from __future__ import annotations

from fastapi import APIRouter, Response

from libs.messaging.work import UnitOfWork, Units
from libs.tenancy.signing import ContextSigner
from libs.web.cursors import Cursors
from libs.web.exports import PERMISSION, ExportAfter, ExportLimit, ExportList, ExportPage, export_page
from services.gateway import audit, guard
from services.gateway.domain import Caller
from services.gateway.exports import EXPORTS
from services.gateway.gate import Gate
from services.gateway.handlers import exports
from services.gateway.owners import Owners


def export_routes(gate: Gate, units: Units, cursors: Cursors, owners: Owners, signer: ContextSigner) -> APIRouter:
    router = APIRouter(prefix="/v1/exports", route_class=guard.guarded_route(gate))

    @router.get("")
    async def list_exports(caller: Caller = guard.caller(PERMISSION)) -> ExportList:
        return await exports.list_exports(caller, owners, signer)

    @router.get(f"/{EXPORTS.owner}/{{table}}", response_model=ExportPage)
    async def export_table(
        table: str,
        after: ExportAfter = None,
        limit: ExportLimit = 100,
        caller: Caller = guard.caller(PERMISSION),
        work: UnitOfWork = guard.work(units, PERMISSION),
    ) -> Response:
        async def tell(target: str) -> None:
            await audit.record(work.session, caller, "export.begun", target)

        return await export_page(work, cursors, EXPORTS, table, after=after, limit=limit, tell=tell)

    return router
