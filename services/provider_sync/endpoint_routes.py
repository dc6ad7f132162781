"""The inner HTTP face of webhook endpoints. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Response

from libs.ids import parse_public_id
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from libs.web.cursors import Cursors
from libs.web.tenant import InnerHop
from services.provider_sync.endpoint_schemas import (
    EndpointChangeIn,
    EndpointDetail,
    EndpointOut,
    ReleasedOut,
    RotationIn,
)
from services.provider_sync.handlers import endpoints, rotations, verification
from services.provider_sync.operation_routes import Key, answer
from services.provider_sync.operation_schemas import OperationOut
from services.provider_sync.routes import STRICT, After, Limit
from services.provider_sync.schemas import Page
from services.provider_sync.sealing import Sealer


def endpoint_routes(hop: InnerHop, cursors: Cursors, *, providers: Mapping[str, Provider], sealer: Sealer) -> APIRouter:
    router = APIRouter(prefix="/webhook-endpoints", dependencies=STRICT)

    async def shown(endpoint_id: str, work: UnitOfWork) -> EndpointDetail:
        return await endpoints.show_endpoint(work, parse_public_id("whe", endpoint_id), providers)

    @router.get("")
    async def list_endpoints(
        after: After = None, limit: Limit = 50, work: UnitOfWork = hop.work("accounts:read")
    ) -> Page[EndpointOut]:
        return await endpoints.list_endpoints(work, cursors, after=after, limit=limit)

    @router.get("/{endpoint_id}")
    async def show_endpoint(endpoint_id: str, work: UnitOfWork = hop.work("accounts:read")) -> EndpointDetail:
        return await shown(endpoint_id, work)

    @router.patch("/{endpoint_id}")
    async def change_endpoint(
        endpoint_id: str,
        body: EndpointChangeIn,
        work: UnitOfWork = hop.work("accounts:write"),
    ) -> EndpointDetail:
        await endpoints.change_endpoint(
            parse_public_id("whe", endpoint_id), body, work, providers=providers, sealer=sealer
        )
        return await shown(endpoint_id, work)

    @router.post("/{endpoint_id}/rotations", status_code=202)
    async def rotate_endpoint(
        endpoint_id: str, body: RotationIn, work: UnitOfWork = hop.work("accounts:write")
    ) -> EndpointDetail:
        await rotations.rotate(parse_public_id("whe", endpoint_id), body.overlap_seconds, work, sealer)
        return await shown(endpoint_id, work)

    @router.post("/{endpoint_id}/verify", status_code=202)
    async def verify_endpoint(
        endpoint_id: str, response: Response, key: Key = None, work: UnitOfWork = hop.work("accounts:write")
    ) -> OperationOut:
        identifier = parse_public_id("whe", endpoint_id)
        return answer(await verification.ask_for_verification(identifier, endpoint_id, key, work), response)

    @router.post("/{endpoint_id}/releases")
    async def release_withheld(endpoint_id: str, work: UnitOfWork = hop.work("accounts:write")) -> ReleasedOut:
        return await endpoints.release_withheld(parse_public_id("whe", endpoint_id), work)

    return router
