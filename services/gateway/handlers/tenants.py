"""Organizations and companies: making and listing them."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import asyncpg

from libs.clock import now
from libs.contracts.events import CompanyCreatedV1, OrganizationCreatedV1
from libs.errors import Invalid
from libs.ids import CompanyId, new_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.gateway import audit
from services.gateway.domain import Caller
from services.gateway.handlers.positions import id_position
from services.gateway.repository.tenants import Companies, Organizations
from services.gateway.schemas import CompanyOut, OrganizationOut, Page


async def create_organization(work: UnitOfWork, caller: Caller, name: str, time_zone: str) -> OrganizationOut:
    """Make the org that `work` acts in. Publishes OrganizationCreatedV1.

    Raises:
        Invalid: a time zone that IANA does not know.
    """
    _check_time_zone(time_zone)
    row = await Organizations(work.session).add(name, time_zone)
    work.publish(OrganizationCreatedV1(organization_id=work.org_id, name=name, time_zone=time_zone))
    target = public_id("org", work.org_id)
    await audit.record(work.session, caller, "organization.created", target, {"name": name, "time_zone": time_zone})
    return _organization(row)


def _check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(
            "time_zone is no IANA time zone; give one like Europe/Berlin, or UTC", pointer="/time_zone"
        ) from None


async def list_organizations(
    work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int
) -> Page[OrganizationOut]:
    """Oldest first: in the platform org all of them, elsewhere the one."""
    position = id_position(cursors, work, after, "organizations")
    rows, more = page(await Organizations(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_organization(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["org_id"]], org_id=work.org_id, query="organizations") if more else None,
        as_of=now(),
    )


async def create_company(work: UnitOfWork, caller: Caller, name: str) -> CompanyOut:
    """Publishes CompanyCreatedV1."""
    company_id = CompanyId(new_id())
    row = await Companies(work.session).add(company_id, name)
    work.publish(CompanyCreatedV1(company_id=company_id, name=name), company_id=company_id)
    await audit.record(work.session, caller, "company.created", public_id("cmp", company_id), {"name": name})
    return _company(row)


async def list_companies(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[CompanyOut]:
    """Oldest first, within the caller's companies."""
    position = id_position(cursors, work, after, "companies")
    rows, more = page(await Companies(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_company(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["company_id"]], org_id=work.org_id, query="companies") if more else None,
        as_of=now(),
    )


def _organization(row: asyncpg.Record) -> OrganizationOut:
    return OrganizationOut(
        id=public_id("org", row["org_id"]),
        name=row["name"],
        time_zone=row["time_zone"],
        status=row["status"],
        created_at=row["created_at"],
    )


def _company(row: asyncpg.Record) -> CompanyOut:
    return CompanyOut(
        id=public_id("cmp", row["company_id"]),
        name=row["name"],
        status=row["status"],
        created_at=row["created_at"],
    )
