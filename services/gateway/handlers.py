"""What the gateway does with rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import asyncpg

from libs.clock import now
from libs.contracts.events import CompanyCreatedV1, DeadLetterChangedV1, OrganizationCreatedV1
from libs.errors import Invalid, NotFound
from libs.ids import CompanyId, new_id, public_id
from libs.messaging.work import UnitOfWork
from libs.tenancy.roles import Role
from libs.web.cursors import Cursors, page
from services.gateway import keys
from services.gateway.domain import Caller, check_grant, parse_company
from services.gateway.keys import Peppers
from services.gateway.repository import Companies, DeadLetters, Keys, Organizations
from services.gateway.schemas import (
    ApiKeyIn,
    ApiKeyOut,
    CompanyOut,
    DeadLetterOut,
    IssuedKeyOut,
    OrganizationOut,
    Page,
)

# What an operator is asked to look at, unless another state is named.
NEEDS_A_PERSON = ("dead", "parked")


async def create_organization(work: UnitOfWork, name: str, time_zone: str) -> OrganizationOut:
    """Make the org that `work` acts in. Publishes OrganizationCreatedV1.

    Raises:
        Invalid: a time zone that IANA does not know.
    """
    _check_time_zone(time_zone)
    row = await Organizations(work.session).add(name, time_zone)
    work.publish(OrganizationCreatedV1(organization_id=work.org_id, name=name, time_zone=time_zone))
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
    position = _id_position(cursors, work, after, "organizations")
    rows, more = page(await Organizations(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_organization(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["org_id"]], org_id=work.org_id, query="organizations") if more else None,
        as_of=now(),
    )


async def create_company(work: UnitOfWork, name: str) -> CompanyOut:
    """Publishes CompanyCreatedV1."""
    company_id = CompanyId(new_id())
    row = await Companies(work.session).add(company_id, name)
    work.publish(CompanyCreatedV1(company_id=company_id, name=name), company_id=company_id)
    return _company(row)


async def list_companies(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[CompanyOut]:
    """Oldest first, within the caller's companies."""
    position = _id_position(cursors, work, after, "companies")
    rows, more = page(await Companies(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_company(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["company_id"]], org_id=work.org_id, query="companies") if more else None,
        as_of=now(),
    )


async def issue_key(work: UnitOfWork, caller: Caller, peppers: Peppers, wanted: ApiKeyIn) -> IssuedKeyOut:
    """Make an API key. The answer is the only place where it is ever shown.

    Raises:
        Forbidden: it would have more than the caller's.
        NotFound: a company that the org does not have.
    """
    companies = list(dict.fromkeys(parse_company(text) for text in wanted.company_ids))
    check_grant(caller, wanted.role, companies, wanted.expires_at, now())
    if companies and not await Companies(work.session).all_exist(companies):
        raise Invalid("company_ids names a company that does not exist", pointer="/company_ids")
    return await add_key(
        work, peppers, name=wanted.name, role=wanted.role, companies=companies, expires_at=wanted.expires_at
    )


async def add_key(
    work: UnitOfWork,
    peppers: Peppers,
    *,
    name: str,
    role: Role,
    companies: Sequence[CompanyId] = (),
    expires_at: datetime | None = None,
) -> IssuedKeyOut:
    """Keep a new key's hash and answer the key; whether it may be made is decided before."""
    key_id = new_id()
    text, secret = keys.make(key_id)
    row = await Keys(work.session).add(
        key_id,
        name=name,
        role=role,
        companies=companies,
        secret_hmac=peppers.mac(peppers.newest, key_id, secret),
        pepper_version=peppers.newest,
        last4=text[-4:],
        expires_at=expires_at,
    )
    return IssuedKeyOut(**_key(row).model_dump(), key=text)


async def list_keys(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[ApiKeyOut]:
    """Oldest first, revoked ones too."""
    position = _id_position(cursors, work, after, "api-keys")
    rows, more = page(await Keys(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_key(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query="api-keys") if more else None,
        as_of=now(),
    )


async def revoke_key(work: UnitOfWork, key_id: UUID) -> None:
    """From now on (elsewhere within 5 s) the key opens nothing. Doing it again changes nothing.

    Raises:
        NotFound: the org has no such key.
    """
    if not await Keys(work.session).revoke(key_id):
        raise NotFound("there is no key_ object with this id")


async def record_dead_letters(events: Sequence[DeadLetterChangedV1], work: UnitOfWork) -> None:
    """Keep what the services tell about their dead letters; of several changes of one, the newest."""
    newest: dict[tuple[str, UUID], DeadLetterChangedV1] = {}
    for event in events:
        key = (event.consumer, event.event_id)
        if key not in newest or _order(newest[key]) < _order(event):
            newest[key] = event
    await DeadLetters(work.session).save_all([newest[key] for key in sorted(newest)])


def _order(event: DeadLetterChangedV1) -> tuple[datetime, int, str]:
    return event.changed_at, event.attempts, event.state


async def list_dead_letters(
    work: UnitOfWork, cursors: Cursors, *, state: str | None, after: str | None, limit: int
) -> Page[DeadLetterOut]:
    """Last changed first. `as_of` is the newest change that any service told; None when none ever told one."""
    query = f"dead-letters {state}"
    position = cursors.read(after, org_id=work.org_id, query=query)
    letters = DeadLetters(work.session)
    found = await letters.page(
        states=[state] if state else NEEDS_A_PERSON,
        after=(datetime.fromisoformat(position[0]), position[1], UUID(position[2])) if position else None,
        limit=limit + 1,
    )
    rows, more = page(found, limit)
    last = [rows[-1]["changed_at"].isoformat(), rows[-1]["consumer"], rows[-1]["event_id"]] if more else []
    return Page(
        data=[_dead_letter(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write(last, org_id=work.org_id, query=query) if more else None,
        as_of=await letters.last_change(),
    )


def _id_position(cursors: Cursors, work: UnitOfWork, after: str | None, query: str) -> UUID | None:
    position = cursors.read(after, org_id=work.org_id, query=query)
    return UUID(position[0]) if position else None


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


def _key(row: asyncpg.Record) -> ApiKeyOut:
    return ApiKeyOut(
        id=public_id("key", row["id"]),
        name=row["name"],
        role=Role(row["role"]),
        company_ids=[public_id("cmp", company) for company in row["company_ids"]],
        last4=row["last4"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )


def _dead_letter(row: asyncpg.Record) -> DeadLetterOut:
    return DeadLetterOut(
        service=row["service"],
        consumer=row["consumer"],
        event_id=str(row["event_id"]),
        type=row["type"],
        subject=row["subject"],
        state=row["state"],
        error_class=row["error_class"],
        reason=row["reason"],
        fingerprint=row["fingerprint"],
        attempts=row["attempts"],
        changed_at=row["changed_at"],
    )
