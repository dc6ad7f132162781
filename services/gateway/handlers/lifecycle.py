"""How an organization stands, and its companies: suspending, resuming, erasing, archiving. All of it is the platform's to do but
the last."""

from __future__ import annotations

from typing import Literal

import asyncpg

from libs.contracts.events import (
    CompanyArchivedV1,
    OrganizationErasedV1,
    OrganizationResumedV1,
    OrganizationSuspendedV1,
)
from libs.database.names import SERVICES, process_name
from libs.errors import Conflict, Invalid, NotFound
from libs.ids import PLATFORM_ORG, CompanyId, OrgId, parse_public_id, public_id
from libs.messaging.standing import set_standing
from libs.messaging.work import UnitOfWork, Units, keep
from services.gateway import audit
from services.gateway.domain import Caller, no_such_company, no_such_organization
from services.gateway.repository.erasures import Erasures
from services.gateway.repository.tenants import Companies, Organizations
from services.gateway.schemas import (
    CompanyOut,
    ErasureIn,
    ErasureOut,
    OrganizationDetailOut,
    ServiceErasureOut,
)


def organization_of(caller: Caller, text: str) -> OrgId:
    """The organization that a path names. Who acts in one means that one.

    Raises:
        NotFound: it is no organization's id, or another's than the caller acts in.
    """
    try:
        org_id = OrgId(parse_public_id("org", text))
    except NotFound:
        raise no_such_organization() from None
    if caller.org_id not in (None, org_id) or org_id == PLATFORM_ORG:
        raise no_such_organization()
    return org_id


async def show_organization(work: UnitOfWork, caller: Caller) -> OrganizationDetailOut:
    """The org that `work` acts in.

    Raises:
        NotFound: there is none.
    """
    row = await Organizations(work.session).find()
    if row is None:
        raise no_such_organization()
    return _organization(row, caller)


async def suspend(units: Units, caller: Caller, org_id: OrgId, reason: str) -> OrganizationDetailOut:
    """From now on (elsewhere within 5 s) nobody of it gets in, and nothing is done for it. Publishes OrganizationSuspendedV1.

    Raises:
        NotFound: there is no such organization.
    """
    return await _stand(units, caller, org_id, "suspended", reason)


async def resume(units: Units, caller: Caller, org_id: OrgId, reason: str) -> OrganizationDetailOut:
    """It is served again, and what waited is done. Publishes OrganizationResumedV1.

    Raises:
        NotFound: there is no such organization.
    """
    return await _stand(units, caller, org_id, "active", reason)


async def _stand(
    units: Units, caller: Caller, org_id: OrgId, status: Literal["active", "suspended"], reason: str
) -> OrganizationDetailOut:
    """Doing it again changes nothing."""
    async with units.database.transaction() as transaction:
        session = await transaction.as_tenant(org_id)
        row = await Organizations(session).locked()
        if row is None:
            raise no_such_organization()
        if row["status"] == status:
            return _organization(row, caller)
        row = await Organizations(session).change(status, reason if status == "suspended" else None)
        await set_standing(session, status, row["revision"])
        work = UnitOfWork(session, units.source)
        event = OrganizationSuspendedV1 if status == "suspended" else OrganizationResumedV1
        work.publish(event(organization_id=org_id, revision=row["revision"]))
        action = "organization.suspended" if status == "suspended" else "organization.resumed"
        target = public_id("org", org_id)
        await audit.record_on_both_sides(transaction, org_id, caller, action, target, {"reason": reason})
        await keep(transaction, units.database.schema, [work])
    return _organization(row, caller)


async def erase(units: Units, caller: Caller, org_id: OrgId, wanted: ErasureIn) -> ErasureOut:
    """Delete everything of a suspended organization, in all services. Publishes OrganizationErasedV1.

    Raises:
        NotFound: there is no such organization, or it is being erased already.
        Conflict: it is not suspended.
        Invalid: the confirmation is neither its name nor its id.
    """
    target = public_id("org", org_id)
    async with units.database.transaction() as transaction:
        session = await transaction.as_tenant(org_id)
        row = await Organizations(session).locked()
        if row is None:
            raise no_such_organization()
        if row["status"] != "suspended":
            raise Conflict(
                "only a suspended organization can be erased: suspend it first, so that nobody works in it meanwhile",
                code="organization_not_suspended",
            )
        if wanted.confirm not in (row["name"], target):
            raise Invalid("confirm must repeat the organization's name, or its id", pointer="/confirm")
        row = await Organizations(session).change("suspended", row["suspended_reason"])
        work = UnitOfWork(session, units.source)
        work.publish(OrganizationErasedV1(organization_id=org_id, revision=row["revision"]))
        # Its name is not written down on the platform's side: that would outlive it.
        await audit.record_on_both_sides(
            transaction, org_id, caller, "organization.erased", target, {"reason": wanted.reason}
        )
        await set_standing(await transaction.as_tenant(org_id), "erased", row["revision"])
        platform = await transaction.as_tenant(PLATFORM_ORG)
        await Erasures(platform).request(org_id, [process_name(service) for service in SERVICES])
        shown = _erasure(org_id, await Erasures(platform).of(org_id))
        await keep(transaction, units.database.schema, [work])
    return shown


async def show_erasure(work: UnitOfWork, org_id: OrgId) -> ErasureOut:
    """How far it is. `work` acts in the platform's org.

    Raises:
        NotFound: nobody asked for it.
    """
    rows = await Erasures(work.session).of(org_id)
    if not rows:
        raise NotFound("there is no erasure of an organization with this id")
    return _erasure(org_id, rows)


async def archive_company(work: UnitOfWork, caller: Caller, text: str) -> CompanyOut:
    """Nothing new is opened for it, and whoever was let in for it alone is not any more; what it has stays.

    Publishes CompanyArchivedV1. Doing it again changes nothing.

    Raises:
        NotFound: the org has no such company.
    """
    try:
        company_id = CompanyId(parse_public_id("cmp", text))
    except NotFound:
        raise no_such_company() from None
    companies = Companies(work.session)
    row = await companies.locked(company_id)
    if row is None:
        raise no_such_company()
    if row["status"] != "archived":
        row = await companies.archive(company_id)
        work.publish(CompanyArchivedV1(company_id=company_id, name=row["name"]), company_id=company_id)
        await audit.record(work.session, caller, "company.archived", public_id("cmp", company_id))
    return CompanyOut(
        id=public_id("cmp", row["company_id"]), name=row["name"], status=row["status"], created_at=row["created_at"]
    )


def _organization(row: asyncpg.Record, caller: Caller) -> OrganizationDetailOut:
    return OrganizationDetailOut(
        id=public_id("org", row["org_id"]),
        name=row["name"],
        time_zone=row["time_zone"],
        status=row["status"],
        created_at=row["created_at"],
        suspended_at=row["suspended_at"],
        suspended_reason=row["suspended_reason"] if caller.principal.is_platform else None,
    )


def _erasure(org_id: OrgId, rows: list[asyncpg.Record]) -> ErasureOut:
    services = [
        ServiceErasureOut.model_validate({name: row[name] for name in ServiceErasureOut.model_fields}) for row in rows
    ]
    done = all(service.state == "completed" for service in services)
    return ErasureOut(
        organization_id=public_id("org", org_id),
        state="completed" if done else "running",
        requested_at=min(row["requested_at"] for row in rows),
        completed_at=max(service.changed_at for service in services) if done else None,
        services=services,
    )
