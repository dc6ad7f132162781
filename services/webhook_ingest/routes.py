"""The inner routes. The door itself stands in front of them (front.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query

from libs.ids import parse_public_id
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from libs.web.cursors import MAX_LIMIT, Cursors
from libs.web.tenant import InnerHop
from services.webhook_ingest import handlers
from services.webhook_ingest.domain import Verdict
from services.webhook_ingest.replaying import replay_again
from services.webhook_ingest.schemas import (
    DeliveryDetailOut,
    DeliveryPage,
    DeliveryReplayIn,
    DeliveryReplayOut,
    ReleaseIn,
    ReleaseOut,
)


def routes(hop: InnerHop, cursors: Cursors, providers: Mapping[str, Provider]) -> APIRouter:
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
    async def get_delivery(delivery_id: str, work: UnitOfWork = hop.work("delivery_bodies:read")) -> dict[str, Any]:
        return await handlers.get_delivery(work, parse_public_id("dlv", delivery_id))

    @router.post("/deliveries/releases")
    async def release_deliveries(body: ReleaseIn, work: UnitOfWork = hop.work("deliveries:release")) -> ReleaseOut:
        ids = [parse_public_id("dlv", one) for one in body.delivery_ids]
        return ReleaseOut.model_validate(await handlers.release_deliveries(work, ids, providers=providers))

    @router.post("/deliveries/replays", status_code=202)
    async def replay_deliveries(
        body: DeliveryReplayIn, work: UnitOfWork = hop.work("replays:write")
    ) -> DeliveryReplayOut:
        return DeliveryReplayOut.model_validate(await replay_again(body, work, providers=providers))

    return router
