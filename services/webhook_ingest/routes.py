"""The inner routes. The door itself stands in front of them (front.py)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from libs.ids import parse_public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import MAX_LIMIT, Cursors
from libs.web.tenant import InnerHop
from services.webhook_ingest import handlers
from services.webhook_ingest.domain import Verdict
from services.webhook_ingest.schemas import DeliveryDetailOut, DeliveryPage


def routes(hop: InnerHop, cursors: Cursors) -> APIRouter:
    router = APIRouter()

    @router.get("/deliveries", response_model=DeliveryPage)
    async def list_deliveries(
        verdict: Verdict | None = None,
        after: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
        work: UnitOfWork = hop.work("deliveries:read"),
    ) -> dict[str, Any]:
        return await handlers.list_deliveries(work, cursors, verdict=verdict, after=after, limit=limit)

    @router.get("/deliveries/{delivery_id}", response_model=DeliveryDetailOut)
    async def get_delivery(delivery_id: str, work: UnitOfWork = hop.work("deliveries:read")) -> dict[str, Any]:
        return await handlers.get_delivery(work, parse_public_id("dlv", delivery_id))

    return router
