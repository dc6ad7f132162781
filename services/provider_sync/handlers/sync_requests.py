"""Asking for readings, and showing them and what they led to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.errors import Conflict, NotFound, Unsupported
from libs.ids import AccountId, CompanyId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.providers.capabilities import Feeds
from libs.providers.registry import Provider
from libs.providers.sightings import Source
from libs.tenancy.context import TenantContext
from libs.web.cursors import Cursors, page
from services.provider_sync.domain import operations as operation
from services.provider_sync.domain.merging import bit
from services.provider_sync.domain.operations import Wanted
from services.provider_sync.domain.strategy import may_pull
from services.provider_sync.domain.syncs import PREFIX, Known, health
from services.provider_sync.handlers.operations import Accepted, Asking, Target, fingerprint, found, keep, shown
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.health import HealthRepository
from services.provider_sync.repository.lists import ShownRepository
from services.provider_sync.repository.operations import OperationRepository
from services.provider_sync.repository.syncs import SyncRepository
from services.provider_sync.repository.targets import TargetRepository
from services.provider_sync.schemas import Channel, Page
from services.provider_sync.sync_schemas import SyncHealthOut, SyncIn, SyncRunOut

KIND = "sync_account"


async def ask_for_sync(
    asking: Asking, account_id: str, body: SyncIn, units: Units, providers: Mapping[str, Provider]
) -> Accepted:
    """Have an account read. Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the caller sees no such account, or it has no such campaign.
        Unsupported: it is not read: its provider offers no lists, or nobody chose so.
        Conflict: a reading of it is under way; its company is archived.
    """
    identifier, context = AccountId(parse_public_id("acc", account_id)), asking.context
    async with units.begin(
        context.org_id, context.scope, actor=context.principal, request_id=asking.request_id
    ) as work:
        account = (await AccountRepository(work.session).find_all([identifier])).get(identifier)
        if account is None:
            raise NotFound("there is no acc_ object with this id")
        campaign = None
        if body.campaign_id is not None:
            row = await TargetRepository(work.session).campaign(
                account.channel, parse_public_id("cam", body.campaign_id)
            )
            if row is None or row["account_id"] != identifier:
                raise NotFound("there is no cam_ object with this id")
            campaign = (UUID(str(row["id"])), str(row["external_id"]))
        provider = providers[account.provider]
        if not provider.offers(Feeds) or not may_pull(account, provider):
            raise Unsupported(
                f"{provider.name} accounts are followed by webhook unless somebody chooses otherwise: see the account's "
                "sync-strategy"
            )
        target = Target(identifier, account.company_id, public_id("acc", identifier))
        arguments = body.model_dump()
        accepted = await keep(
            Wanted(
                account_id=identifier,
                company_id=account.company_id,
                kind=KIND,
                target=target.public_id,
                arguments=arguments,
                parts=[],
                idempotency_key=asking.key,
                fingerprint=fingerprint(KIND, target, arguments),
            ),
            work,
        )
        if accepted.is_repeated:
            return accepted
        operation_id = parse_public_id(operation.PREFIX, accepted.operation.id)
        runs = SyncRepository(work.session)
        run_id = await runs.begin(
            identifier, account.company_id, reason="request", is_full=body.full, campaign=campaign,
            operation_id=operation_id,
        )  # fmt: skip
        if run_id is None:
            under_way = await runs.open_of(identifier)
            raise Conflict(
                "a reading of this account is under way" + (f": {public_id(PREFIX, under_way)}" if under_way else ""),
                code="run_active",
            )
        operations = OperationRepository(work.session)
        await operations.add_result(operation_id, {"sync_run_id": public_id(PREFIX, run_id)})
        return Accepted(shown(found(operation.PREFIX, await operations.find(operation_id))), is_repeated=False)


async def list_runs(
    work: UnitOfWork, cursors: Cursors, *, account_id: str | None, state: str | None, after: str | None, limit: int
) -> Page[SyncRunOut]:
    """Newest first."""
    query = f"sync-runs {account_id or ''} {state or ''}"
    place = cursors.read(after, org_id=work.org_id, query=query)
    position = None if place is None else (datetime.fromisoformat(place[0]), UUID(place[1]))
    account = None if account_id is None else parse_public_id("acc", account_id)
    listed = await SyncRepository(work.session).page(position, limit, account_id=account, state=state)
    rows, more = page(listed, limit)
    return Page(
        data=[_run(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["created_at"], rows[-1]["id"]], org_id=work.org_id, query=query)
        if more
        else None,
        as_of=now(),
        last_webhook_at=None,
    )


async def show_run(work: UnitOfWork, run_id: str) -> SyncRunOut:
    row = await SyncRepository(work.session).find(parse_public_id(PREFIX, run_id))
    if row is None:
        raise NotFound(f"there is no {PREFIX}_ object with this id")
    return _run(row)


async def show_health(
    context: TenantContext, units: Units, *, channel: Channel, campaign_id: str, providers: Mapping[str, Provider],
    every: timedelta,
) -> SyncHealthOut:  # fmt: skip
    """Of a campaign that the caller sees; its account, which they need not see, is then looked at as the service does."""
    async with units.begin(context.org_id, context.scope) as work:
        row = await ShownRepository(work.session).campaign(channel, parse_public_id("cam", campaign_id))
    if row is None:
        raise NotFound("there is no cam_ object with this id")
    moment = now()
    async with units.begin(context.org_id) as own:
        account = (await AccountRepository(own.session).find_all([row["account_id"]]))[row["account_id"]]
        rows = HealthRepository(own.session)
        status, read = await rows.account(account.id), await rows.read(account.id, row["external_id"])
        runs, heard = await rows.last_runs(account.id), await rows.heard(row["id"])
        assert status is not None
        assert read is not None
        assert runs is not None
        counted = await rows.counted(
            row["id"],
            webhook=bit(Source.WEBHOOK),
            pull=bit(Source.PULL),
            since=None if heard is None else heard["first_at"],
            until=read["bookmark"],
        )
    provider = providers.get(account.provider)
    is_read = provider is not None and provider.offers(Feeds) and may_pull(account, provider)
    # A list without news is not asked for, and is as fresh as the reading that saw that.
    ended = [at for at in (read["read_at"], runs["ended_at"]) if at is not None]
    synced_at = max(ended) if read["lists"] and not read["unread"] and ended else None
    completeness = counted["told"] / counted["listed"] if counted["listed"] else None
    error = read["error"] or runs["error"]
    known = Known(
        is_read=is_read,
        account_status=status["status"],
        synced_at=synced_at,
        error=error,
        completeness=completeness,
    )
    return SyncHealthOut(
        campaign_id=public_id("cam", row["id"]),
        status=health(known, moment, every),
        last_synced_at=synced_at,
        last_full_sync_at=read["full_at"] if synced_at is not None else None,
        last_webhook_at=None if heard is None else heard["last_at"],
        lag_seconds=None if synced_at is None else round((moment - synced_at).total_seconds(), 3),
        messages=counted["messages"],
        messages_by_webhook=counted["by_webhook"],
        messages_by_pull=counted["by_pull"],
        completeness=None if completeness is None else round(completeness, 4),
        last_error=error,
        as_of=moment,
    )


def _run(row: asyncpg.Record) -> SyncRunOut:
    same = (
        "reason state feeds_done feeds_total pages rows_seen rows_changed restarts error_code error created_at started_at "
        "changed_at ended_at"
    )
    told: dict[str, Any] = {name: row[name] for name in same.split()}
    return SyncRunOut(
        id=public_id(PREFIX, row["id"]),
        account_id=public_id("acc", row["account_id"]),
        company_id=public_id("cmp", CompanyId(row["company_id"])),
        campaign_id=None if row["campaign_id"] is None else public_id("cam", row["campaign_id"]),
        full=row["is_full"],
        **told,
    )
