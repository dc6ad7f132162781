"""The inner HTTP face of readings. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from fastapi import APIRouter, Response

from libs.messaging.work import UnitOfWork, Units
from libs.providers.registry import Provider
from libs.tenancy.context import TenantContext
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.provider_sync.handlers import sync_requests
from services.provider_sync.handlers.operations import Asking
from services.provider_sync.operation_routes import answer, asking_with
from services.provider_sync.operation_schemas import OperationOut
from services.provider_sync.routes import STRICT, After, Limit
from services.provider_sync.schemas import Channel, Page
from services.provider_sync.sync_schemas import RunState, SyncHealthOut, SyncIn, SyncRunOut


def sync_routes(
    hop: InnerHop, cursors: Cursors, *, units: Units, providers: Mapping[str, Provider], every: timedelta
) -> APIRouter:
    """`every`: how often accounts are read by themselves; zero: only when asked."""
    router = APIRouter(dependencies=STRICT)

    @router.post("/provider-accounts/{account_id}/syncs", status_code=202)
    async def ask_for_sync(
        account_id: str, body: SyncIn, response: Response, asking: Asking = asking_with(hop, "syncs:start")
    ) -> OperationOut:
        return answer(await sync_requests.ask_for_sync(asking, account_id, body, units, providers), response)

    @router.get("/sync-runs")
    async def list_sync_runs(
        account_id: str | None = None,
        state: RunState | None = None,
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = hop.work("syncs:read"),
    ) -> Page[SyncRunOut]:
        return await sync_requests.list_runs(
            work, cursors, account_id=account_id, state=state, after=after, limit=limit
        )

    @router.get("/sync-runs/{run_id}")
    async def show_sync_run(run_id: str, work: UnitOfWork = hop.work("syncs:read")) -> SyncRunOut:
        return await sync_requests.show_run(work, run_id)

    def of_channel(channel: Channel) -> None:
        @router.get(f"/{channel}/campaigns/{{campaign_id}}/sync-health", name=f"{channel}_sync_health")
        async def show_sync_health(
            campaign_id: str, context: TenantContext = hop.context("campaigns:read")
        ) -> SyncHealthOut:
            return await sync_requests.show_health(
                context, units, channel=channel, campaign_id=campaign_id, providers=providers, every=every
            )

    of_channel("email")
    of_channel("linkedin")
    return router
