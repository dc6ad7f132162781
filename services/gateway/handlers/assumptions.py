"""Assumed organizations: platform staff say why they go into one, and both sides' audit logs keep it."""

from __future__ import annotations

from uuid import UUID

import asyncpg

from libs.clock import now
from libs.errors import NotFound
from libs.ids import PLATFORM_ORG, OrgId, new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.web.cursors import Cursors, page
from services.gateway import audit
from services.gateway.domain import Caller, no_such_organization
from services.gateway.handlers.positions import id_position
from services.gateway.repository.assumptions import Assumptions
from services.gateway.repository.tenants import Organizations
from services.gateway.schemas import AssumptionIn, AssumptionOut, Page


async def begin(units: Units, caller: Caller, wanted: AssumptionIn) -> AssumptionOut:
    """Let the caller into an organization for a while. One that they have assumed already, they assume anew.

    Raises:
        NotFound: there is no such organization.
    """
    try:
        org_id = OrgId(parse_public_id("org", wanted.organization_id))
    except NotFound:
        raise no_such_organization() from None
    async with units.database.transaction() as transaction:
        if not await Organizations(await transaction.as_tenant(org_id)).exists():
            raise no_such_organization()
        row = await Assumptions(await transaction.as_tenant(PLATFORM_ORG)).begin(
            new_id(),
            principal=caller.principal.name,
            organization_id=org_id,
            reason=wanted.reason,
            minutes=wanted.minutes,
            may_write=wanted.write,
        )
        begun = _assumption(row)
        details = begun.model_dump(mode="json", include={"organization_id", "reason", "write", "ends_at"})
        await audit.record_on_both_sides(transaction, org_id, caller, "assumption.begun", begun.id, details)
    return begun


async def end(units: Units, caller: Caller, assumption_id: UUID) -> None:
    """End one, also a colleague's. From now on (elsewhere within 5 s) it opens nothing. Doing it again changes nothing.

    Raises:
        NotFound: there is none with this id.
    """
    async with units.database.transaction() as transaction:
        rows = Assumptions(await transaction.as_tenant(PLATFORM_ORG))
        found = await rows.locked(assumption_id)
        if found is None:
            raise NotFound("there is no asm_ object with this id")
        moment = now()
        if found["ended_at"] is None and found["ends_at"] > moment:
            await rows.end(assumption_id, moment)
            ended = _assumption(found)
            details = {"organization_id": ended.organization_id, "principal": ended.principal}
            await audit.record_on_both_sides(
                transaction, OrgId(found["organization_id"]), caller, "assumption.ended", ended.id, details
            )


async def list_assumptions(
    work: UnitOfWork, caller: Caller, cursors: Cursors, *, after: str | None, limit: int
) -> Page[AssumptionOut]:
    """Newest first, all staff's, ended ones too; of the organization that the caller names, if it names one."""
    query = f"assumptions {caller.org_id}"
    position = id_position(cursors, work, after, query)
    found = await Assumptions(work.session).page(organization_id=caller.org_id, before=position, limit=limit + 1)
    rows, more = page(found, limit)
    return Page(
        data=[_assumption(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query=query) if more else None,
        as_of=now(),
    )


def _assumption(row: asyncpg.Record) -> AssumptionOut:
    return AssumptionOut(
        id=public_id("asm", row["id"]),
        organization_id=public_id("org", row["organization_id"]),
        principal=row["principal"],
        reason=row["reason"],
        write=row["may_write"],
        begun_at=row["begun_at"],
        ends_at=row["ends_at"],
        ended_at=row["ended_at"],
    )
