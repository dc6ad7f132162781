"""The inner HTTP face; the gateway forwards `/v1/<path>` here as `/<path>`. No rule lives here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query as QueryParameter

from libs.errors import Invalid
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from libs.web.cursors import MAX_LIMIT, Cursors
from libs.web.tenant import InnerHop
from libs.web.texts import VISIBLE
from services.provider_sync.handlers import account_changes, accounts, shown, strategies
from services.provider_sync.schemas import (
    AccountChange,
    AccountOut,
    CampaignDetail,
    CampaignOut,
    Channel,
    ConversationDetail,
    ConversationOut,
    LeadDetail,
    LeadOut,
    MessageOut,
    NewAccount,
    Page,
    SyncStrategyOut,
)
from services.provider_sync.sealing import Sealer

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
After = Annotated[str | None, Query(max_length=500)]
Email = Annotated[str | None, Query(max_length=320, pattern=VISIBLE)]


def refuse_unknown(request: Request) -> None:
    """A misspelled filter must not answer with everything.

    Raises:
        Invalid: the route has no such query parameter.
    """
    params = get_flat_params(request.scope["route"].dependant)
    known = sorted(param.alias for param in params if isinstance(param.field_info, QueryParameter))
    unknown = next((name for name in request.query_params if name not in known), None)
    if unknown is not None:
        raise Invalid(
            f"unknown query parameter {unknown[:50]!r}; "
            + (f"known here are {', '.join(known)}" if known else "none is known here"),
            code="unknown_parameter",
            pointer=unknown[:50],
        )


STRICT = [Depends(refuse_unknown)]


def account_routes(
    hop: InnerHop,
    cursors: Cursors,
    *,
    providers: Mapping[str, Provider],
    sealer: Sealer,
    allow_loopback: bool,
) -> APIRouter:
    router = APIRouter(prefix="/provider-accounts", dependencies=STRICT)

    @router.post("", status_code=201)
    async def open_account(body: NewAccount, work: UnitOfWork = hop.work("accounts:write")) -> AccountOut:
        return await accounts.open_account(
            body, work, providers=providers, sealer=sealer, allow_loopback=allow_loopback
        )

    @router.get("")
    async def list_accounts(
        after: After = None, limit: Limit = 50, work: UnitOfWork = hop.work("accounts:read")
    ) -> Page[AccountOut]:
        return await accounts.list_accounts(work, cursors, after=after, limit=limit)

    @router.get("/{account_id}")
    async def show_account(account_id: str, work: UnitOfWork = hop.work("accounts:read")) -> AccountOut:
        return await accounts.show_account(work, account_id)

    @router.patch("/{account_id}")
    async def change_account(
        account_id: str, body: AccountChange, work: UnitOfWork = hop.work("accounts:write")
    ) -> AccountOut:
        return await account_changes.change_account(account_id, body, work, providers=providers, sealer=sealer)

    @router.get("/{account_id}/sync-strategy")
    async def show_strategy(account_id: str, work: UnitOfWork = hop.work("accounts:read")) -> SyncStrategyOut:
        return await strategies.show_strategy(account_id, work, providers)

    return router


def campaign_routes(hop: InnerHop, cursors: Cursors, *, channel: Channel) -> APIRouter:
    """The same for every channel; a campaign is found under its own channel only."""
    router = APIRouter(prefix=f"/{channel}/campaigns", dependencies=STRICT)

    @router.get("")
    async def list_campaigns(
        after: After = None, limit: Limit = 50, work: UnitOfWork = hop.work("campaigns:read")
    ) -> Page[CampaignOut]:
        return await shown.list_campaigns(work, cursors, channel=channel, after=after, limit=limit)

    @router.get("/{campaign_id}")
    async def show_campaign(campaign_id: str, work: UnitOfWork = hop.work("campaigns:read")) -> CampaignDetail:
        return await shown.show_campaign(work, channel=channel, campaign_id=campaign_id)

    return router


def lead_routes(hop: InnerHop, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/leads", dependencies=STRICT)

    @router.get("")
    async def list_leads(
        channel: Channel | None = None,
        campaign_id: str | None = None,
        email: Email = None,
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = hop.work("leads:read"),
    ) -> Page[LeadOut]:
        return await shown.list_leads(
            work, cursors, channel=channel, campaign_id=campaign_id, email=email, after=after, limit=limit
        )

    @router.get("/{lead_id}")
    async def show_lead(lead_id: str, work: UnitOfWork = hop.work("leads:read")) -> LeadDetail:
        return await shown.show_lead(work, lead_id=lead_id)

    return router


def inbox_routes(hop: InnerHop, cursors: Cursors) -> APIRouter:
    router = APIRouter(prefix="/inbox/conversations", dependencies=STRICT)

    @router.get("")
    async def list_conversations(
        channel: Channel | None = None,
        campaign_id: str | None = None,
        after: After = None,
        limit: Limit = 50,
        work: UnitOfWork = hop.work("inbox:read"),
    ) -> Page[ConversationOut]:
        return await shown.list_conversations(
            work, cursors, channel=channel, campaign_id=campaign_id, after=after, limit=limit
        )

    @router.get("/{conversation_id}")
    async def show_conversation(conversation_id: str, work: UnitOfWork = hop.work("inbox:read")) -> ConversationDetail:
        return await shown.show_conversation(work, conversation_id=conversation_id)

    @router.get("/{conversation_id}/messages")
    async def list_messages(
        conversation_id: str, after: After = None, limit: Limit = 50, work: UnitOfWork = hop.work("inbox:read")
    ) -> Page[MessageOut]:
        return await shown.list_messages(work, cursors, conversation_id=conversation_id, after=after, limit=limit)

    return router
