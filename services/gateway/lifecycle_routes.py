"""Routes of organizations as a whole, and of companies that come to an end; no rule lives here."""

from __future__ import annotations

from fastapi import APIRouter, Response

from libs.ids import PLATFORM_ORG
from libs.messaging.work import UnitOfWork, Units
from services.gateway import guard
from services.gateway.domain import Caller, no_such_organization
from services.gateway.gate import Gate
from services.gateway.handlers import lifecycle
from services.gateway.schemas import CompanyOut, ErasureIn, ErasureOut, OrganizationDetailOut, ReasonIn


def lifecycle_routes(gate: Gate, units: Units) -> APIRouter:
    router = APIRouter(prefix="/v1", route_class=guard.guarded_route(gate))

    @router.get("/organizations/{organization}")
    async def get_organization(
        organization: str, caller: Caller = guard.caller("organizations:read")
    ) -> OrganizationDetailOut:
        async with units.begin(lifecycle.organization_of(caller, organization)) as work:
            return await lifecycle.show_organization(work, caller)

    @router.post("/organizations/{organization}/suspend")
    async def suspend_organization(
        organization: str, body: ReasonIn, caller: Caller = guard.caller("organizations:write")
    ) -> OrganizationDetailOut:
        org_id = lifecycle.organization_of(caller, organization)
        shown = await lifecycle.suspend(units, caller, org_id, body.reason)
        gate.forget()
        return shown

    @router.post("/organizations/{organization}/resume")
    async def resume_organization(
        organization: str, body: ReasonIn, caller: Caller = guard.caller("organizations:write")
    ) -> OrganizationDetailOut:
        org_id = lifecycle.organization_of(caller, organization)
        shown = await lifecycle.resume(units, caller, org_id, body.reason)
        gate.forget()
        return shown

    @router.delete("/organizations/{organization}", status_code=202)
    async def erase_organization(
        organization: str, body: ErasureIn, response: Response, caller: Caller = guard.caller("organizations:write")
    ) -> ErasureOut:
        shown = await lifecycle.erase(units, caller, lifecycle.organization_of(caller, organization), body)
        gate.forget()
        response.headers["Location"] = f"/v1/organizations/{shown.organization_id}/erasure"
        return shown

    @router.get("/organizations/{organization}/erasure")
    async def get_erasure(organization: str, caller: Caller = guard.caller("organizations:read")) -> ErasureOut:
        org_id = lifecycle.organization_of(caller, organization)
        if not caller.principal.is_platform:
            raise no_such_organization()
        async with units.begin(PLATFORM_ORG) as work:
            return await lifecycle.show_erasure(work, org_id)

    @router.post("/companies/{company}/archive")
    async def archive_company(
        company: str,
        caller: Caller = guard.caller("companies:write"),
        work: UnitOfWork = guard.work(units, "companies:write"),
    ) -> CompanyOut:
        return await lifecycle.archive_company(work, caller, company)

    return router
