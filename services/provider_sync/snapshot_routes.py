"""The inner HTTP face of what providers say of their campaigns. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Response

from libs.messaging.work import UnitOfWork, Units
from libs.providers.registry import Provider
from libs.web.tenant import InnerHop
from services.provider_sync.domain.jobs import JobKind
from services.provider_sync.handlers import campaign_snapshots
from services.provider_sync.handlers.operations import Asking
from services.provider_sync.operation_routes import answer, asking_with
from services.provider_sync.operation_schemas import OperationOut
from services.provider_sync.routes import STRICT
from services.provider_sync.schemas import Channel
from services.provider_sync.snapshot_schemas import (
    EmailSequenceOut,
    EmailStatisticsOut,
    LinkedInSequenceOut,
    LinkedInStatisticsOut,
)


def snapshot_routes(hop: InnerHop, *, units: Units, providers: Mapping[str, Provider]) -> APIRouter:
    router = APIRouter(dependencies=STRICT)

    @router.get("/email/campaigns/{campaign_id}/statistics")
    async def show_email_statistics(
        campaign_id: str, work: UnitOfWork = hop.work("campaigns:read")
    ) -> EmailStatisticsOut:
        return await campaign_snapshots.show_email_statistics(work, campaign_id)

    @router.get("/linkedin/campaigns/{campaign_id}/statistics")
    async def show_linkedin_statistics(
        campaign_id: str, work: UnitOfWork = hop.work("campaigns:read")
    ) -> LinkedInStatisticsOut:
        return await campaign_snapshots.show_linkedin_statistics(work, campaign_id)

    @router.get("/email/campaigns/{campaign_id}/sequence")
    async def show_email_sequence(campaign_id: str, work: UnitOfWork = hop.work("campaigns:read")) -> EmailSequenceOut:
        return await campaign_snapshots.show_email_sequence(work, campaign_id)

    @router.get("/linkedin/campaigns/{campaign_id}/sequence")
    async def show_linkedin_sequence(
        campaign_id: str, work: UnitOfWork = hop.work("campaigns:read")
    ) -> LinkedInSequenceOut:
        return await campaign_snapshots.show_linkedin_sequence(work, campaign_id)

    def refreshes(channel: Channel, what: str, kind: JobKind) -> None:
        @router.post(
            f"/{channel}/campaigns/{{campaign_id}}/{what}/refreshes", status_code=202, name=f"refresh_{channel}_{what}"
        )
        async def ask_to_read(
            campaign_id: str, response: Response, asking: Asking = asking_with(hop, "syncs:start")
        ) -> OperationOut:
            asked = campaign_snapshots.ask_to_read(asking, kind, channel, campaign_id, units, providers)
            return answer(await asked, response)

    channels: tuple[Channel, Channel] = ("email", "linkedin")
    for channel in channels:
        refreshes(channel, "statistics", JobKind.READ_FIGURES)
        refreshes(channel, "sequence", JobKind.READ_SEQUENCE)
    return router
