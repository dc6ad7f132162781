"""The inner HTTP face of changes at providers: each answers 202 with an operation. No rule lives here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from libs.messaging.work import UnitOfWork
from libs.tenancy.context import TenantContext
from libs.web.app import request_id_of
from libs.web.tenant import InnerHop
from services.provider_sync.handlers import asked_jobs
from services.provider_sync.handlers.operations import (
    Accepted,
    Asking,
    Operations,
    cancel_operation,
    resolve_operation,
    show_operation,
)
from services.provider_sync.operation_schemas import (
    CampaignChangeIn,
    DecisionIn,
    EmailSequenceIn,
    LeadsIn,
    LinkedInSequenceIn,
    NewCampaignIn,
    OperationOut,
    ReplyIn,
)
from services.provider_sync.routes import STRICT
from services.provider_sync.schemas import Channel

_KEY = r"^[\x21-\x7e]{1,255}$"
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", pattern=_KEY, description="The same key asks for the same thing once."),
]


def asking_with(hop: InnerHop, permission: str) -> Any:
    def dependency(request: Request, key: Key = None, context: TenantContext = hop.context(permission)) -> Asking:
        return Asking(context=context, request_id=request_id_of(request), key=key)

    return Depends(dependency)


def answer(accepted: Accepted, response: Response) -> OperationOut:
    response.headers["Location"] = f"/v1/operations/{accepted.operation.id}"
    if accepted.is_repeated:
        response.headers["Idempotent-Replayed"] = "true"
    return accepted.operation


def campaign_change_routes(hop: InnerHop, operations: Operations, *, channel: Channel) -> APIRouter:
    router = APIRouter(prefix=f"/{channel}/campaigns", dependencies=STRICT)

    @router.post("", status_code=202)
    async def create_campaign(
        body: NewCampaignIn, response: Response, asking: Asking = asking_with(hop, "campaigns:write")
    ) -> OperationOut:
        return answer(await operations.create_campaign(asking, channel, body), response)

    @router.patch("/{campaign_id}", status_code=202)
    async def change_campaign(
        campaign_id: str,
        body: CampaignChangeIn,
        response: Response,
        asking: Asking = asking_with(hop, "campaigns:write"),
    ) -> OperationOut:
        return answer(await operations.change_campaign(asking, channel, campaign_id, body), response)

    if channel == "email":

        @router.put("/{campaign_id}/sequence", status_code=202)
        async def replace_email_sequence(
            campaign_id: str,
            body: EmailSequenceIn,
            response: Response,
            asking: Asking = asking_with(hop, "campaigns:write"),
        ) -> OperationOut:
            return answer(await operations.replace_sequence(asking, channel, campaign_id, body), response)

    else:

        @router.put("/{campaign_id}/sequence", status_code=202)
        async def replace_linkedin_sequence(
            campaign_id: str,
            body: LinkedInSequenceIn,
            response: Response,
            asking: Asking = asking_with(hop, "campaigns:write"),
        ) -> OperationOut:
            return answer(await operations.replace_sequence(asking, channel, campaign_id, body), response)

    def control(word: str) -> None:
        @router.post(f"/{{campaign_id}}/{word}", status_code=202, name=f"{word}_campaign")
        async def control_campaign(
            campaign_id: str, response: Response, asking: Asking = asking_with(hop, "campaigns:write")
        ) -> OperationOut:
            accepted = await operations.control_campaign(asking, channel, campaign_id, f"{word}_campaign")
            return answer(accepted, response)

    for word in ("start", "pause", "resume", "stop"):
        control(word)

    @router.post("/{campaign_id}/leads", status_code=202)
    async def add_leads(
        campaign_id: str, body: LeadsIn, response: Response, asking: Asking = asking_with(hop, "leads:write")
    ) -> OperationOut:
        return answer(await operations.add_leads(asking, channel, campaign_id, body), response)

    @router.post("/{campaign_id}/leads/{lead_id}/pause", status_code=202)
    async def pause_lead(
        campaign_id: str, lead_id: str, response: Response, asking: Asking = asking_with(hop, "leads:write")
    ) -> OperationOut:
        return answer(await operations.change_lead(asking, channel, campaign_id, lead_id, "pause_lead"), response)

    @router.post("/{campaign_id}/leads/{lead_id}/resume", status_code=202)
    async def resume_lead(
        campaign_id: str, lead_id: str, response: Response, asking: Asking = asking_with(hop, "leads:write")
    ) -> OperationOut:
        return answer(await operations.change_lead(asking, channel, campaign_id, lead_id, "resume_lead"), response)

    @router.post("/{campaign_id}/leads/{lead_id}/stop", status_code=202)
    async def stop_lead(
        campaign_id: str, lead_id: str, response: Response, asking: Asking = asking_with(hop, "leads:write")
    ) -> OperationOut:
        return answer(await operations.change_lead(asking, channel, campaign_id, lead_id, "stop_lead"), response)

    @router.delete("/{campaign_id}/leads/{lead_id}", status_code=202)
    async def remove_lead(
        campaign_id: str, lead_id: str, response: Response, asking: Asking = asking_with(hop, "leads:write")
    ) -> OperationOut:
        return answer(await operations.change_lead(asking, channel, campaign_id, lead_id, "remove_lead"), response)

    return router


def reply_routes(hop: InnerHop, operations: Operations) -> APIRouter:
    router = APIRouter(prefix="/inbox/conversations", dependencies=STRICT)

    @router.post("/{conversation_id}/replies", status_code=202)
    async def reply(
        conversation_id: str, body: ReplyIn, response: Response, asking: Asking = asking_with(hop, "inbox:write")
    ) -> OperationOut:
        return answer(await operations.reply(asking, conversation_id, body), response)

    return router


def account_test_routes(hop: InnerHop) -> APIRouter:
    router = APIRouter(prefix="/provider-accounts", dependencies=STRICT)

    @router.post("/{account_id}/test", status_code=202)
    async def test_account(
        account_id: str, response: Response, key: Key = None, work: UnitOfWork = hop.work("accounts:write")
    ) -> OperationOut:
        return answer(await asked_jobs.ask_for_test(account_id, key, work), response)

    return router


def operation_routes(hop: InnerHop) -> APIRouter:
    router = APIRouter(prefix="/operations", dependencies=STRICT)

    @router.get("/{operation_id}")
    async def get_operation(operation_id: str, work: UnitOfWork = hop.work("operation_results:read")) -> OperationOut:
        return await show_operation(work, operation_id)

    @router.post("/{operation_id}/cancel")
    async def cancel(operation_id: str, work: UnitOfWork = hop.work("operations:write")) -> OperationOut:
        return await cancel_operation(work, operation_id)

    @router.post("/{operation_id}/resolve")
    async def resolve(
        operation_id: str, body: DecisionIn, work: UnitOfWork = hop.work("operations:write")
    ) -> OperationOut:
        return await resolve_operation(work, operation_id, body)

    return router
