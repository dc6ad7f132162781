"""Inner HTTP of analytics: parse, ask a handler, answer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.analytics.handlers import answers
from services.analytics.schemas import CampaignFiguresPage, FigureQuery, LedgerOut, LedgerQuery, StepFiguresPage


def routes(hop: InnerHop, cursors: Cursors, *, settle_seconds: float) -> APIRouter:
    router = APIRouter(prefix="/analytics")

    @router.get("/campaigns")
    async def campaigns(
        query: Annotated[FigureQuery, Query()], work: UnitOfWork = hop.work("analytics:read")
    ) -> CampaignFiguresPage:
        return await answers.campaign_figures(query, work, cursors=cursors)

    @router.get("/sequence-steps")
    async def sequence_steps(
        query: Annotated[FigureQuery, Query()], work: UnitOfWork = hop.work("analytics:read")
    ) -> StepFiguresPage:
        return await answers.step_figures(query, work, cursors=cursors)

    @router.get("/ledger")
    async def ledger(query: Annotated[LedgerQuery, Query()], work: UnitOfWork = hop.work("ledger:read")) -> LedgerOut:
        seconds = settle_seconds if query.settle_seconds is None else min(query.settle_seconds, settle_seconds)
        return await answers.ledger_of(work, settle_seconds=seconds)

    return router
