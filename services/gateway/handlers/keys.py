"""API keys: issuing, rotating, revoking and listing them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.clock import now, rfc3339
from libs.errors import Conflict, Invalid, NotFound
from libs.ids import CompanyId, new_id, public_id
from libs.messaging.work import UnitOfWork
from libs.tenancy.roles import PERMISSIONS, Role
from libs.web.cursors import Cursors, page
from services.gateway import audit, keys
from services.gateway.domain import Caller, assumption_required, check_grant, parse_company
from services.gateway.handlers.positions import id_position
from services.gateway.keys import Peppers
from services.gateway.repository.keys import Keys
from services.gateway.repository.tenants import Companies
from services.gateway.repository.users import Users
from services.gateway.schemas import ApiKeyIn, ApiKeyOut, IssuedKeyOut, KeySecretOut, Page


async def issue_key(work: UnitOfWork, caller: Caller, peppers: Peppers, wanted: ApiKeyIn) -> IssuedKeyOut:
    """Make an API key. The answer is the only place where it is ever shown.

    Platform staff outside the org may make its first administrator's key, which it has to get from somebody; no other.

    Raises:
        Forbidden: it would have more than the caller's, or the org is not the caller's to go into.
        NotFound: a company that the org does not have.
    """
    companies = list(dict.fromkeys(parse_company(text) for text in wanted.company_ids))
    scopes = None if wanted.scopes is None else frozenset(wanted.scopes)
    check_grant(caller, wanted.role, companies, wanted.expires_at, now(), scopes=scopes)
    if caller.is_outside and (wanted.role is not Role.ORG_ADMIN or await _has_admin(work)):
        raise assumption_required()
    if companies and not await Companies(work.session).all_exist(companies, active=True):
        raise Invalid("company_ids names a company that does not exist or is archived", pointer="/company_ids")
    return await add_key(
        work,
        peppers,
        name=wanted.name,
        role=wanted.role,
        companies=companies,
        scopes=scopes,
        expires_at=wanted.expires_at,
        caller=caller,
    )


async def _has_admin(work: UnitOfWork) -> bool:
    """Whether somebody can make keys here. Of several who ask at once, one is told that nobody can."""
    return await Keys(work.session).has_usable(Role.ORG_ADMIN) or await Users(work.session).has_active(Role.ORG_ADMIN)


async def add_key(
    work: UnitOfWork,
    peppers: Peppers,
    *,
    name: str,
    role: Role,
    companies: Sequence[CompanyId] = (),
    scopes: Collection[str] | None = None,
    expires_at: datetime | None = None,
    caller: Caller | None = None,
) -> IssuedKeyOut:
    """Keep a new key's hash and answer the key; whether `caller` (None: the machine) may make it is decided before."""
    key_id = new_id()
    text, secret = keys.make(key_id)
    row = await Keys(work.session).add(
        key_id,
        name=name,
        role=role,
        companies=companies,
        scopes=scopes,
        secret_hmac=peppers.mac(peppers.newest, key_id, secret),
        pepper_version=peppers.newest,
        last4=text[-4:],
        expires_at=expires_at,
    )
    shown = _key(row)
    granted = shown.model_dump(mode="json", include={"name", "role", "company_ids", "scopes", "expires_at"})
    await audit.record(work.session, caller, "key.issued", shown.id, granted)
    return IssuedKeyOut(**shown.model_dump(), key=text)


async def rotate_key(
    work: UnitOfWork, caller: Caller, peppers: Peppers, key_id: UUID, overlap_seconds: int
) -> IssuedKeyOut:
    """Give a key a second secret; the one it has ends after the overlap. The answer alone ever shows the new one.

    With an overlap of 0 all older secrets end at once, whatever was promised before: that is for a leaked one.

    Raises:
        NotFound: the org has no such key.
        Conflict: it was revoked or has expired, or its last replacement is not over.
        Forbidden: the key has more than the caller.
    """
    found = await Keys(work.session).locked(key_id)
    if found is None:
        raise _no_such_key()
    moment = now()
    if found["revoked_at"] is not None or (found["expires_at"] is not None and found["expires_at"] <= moment):
        raise Conflict("this key has ended: make a new one", code="key_ended")
    companies = [CompanyId(company) for company in found["company_ids"]]
    role = Role(found["role"])
    # A permission that is no more was given once and gives nothing.
    scopes = None if found["scopes"] is None else PERMISSIONS[role].intersection(found["scopes"])
    check_grant(caller, role, companies, found["expires_at"], moment, scopes=scopes)
    if overlap_seconds and found["previous_ends_at"] is not None and found["previous_ends_at"] > moment:
        raise Conflict(
            f"this key has two secrets until {rfc3339(found['previous_ends_at'])}; overlap_seconds=0 ends both now",
            code="rotation_under_way",
        )
    text, secret = keys.make(key_id)
    row = await Keys(work.session).rotate(
        key_id,
        secret_hmac=peppers.mac(peppers.newest, key_id, secret),
        pepper_version=peppers.newest,
        last4=text[-4:],
        made_at=moment,
        ends_at=moment + timedelta(seconds=overlap_seconds),
    )
    details = {"overlap_seconds": overlap_seconds}
    await audit.record(work.session, caller, "key.rotated", public_id("key", key_id), details)
    return IssuedKeyOut(**_key(row).model_dump(), key=text)


async def list_keys(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[ApiKeyOut]:
    """Oldest first, revoked ones too."""
    position = id_position(cursors, work, after, "api-keys")
    rows, more = page(await Keys(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_key(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query="api-keys") if more else None,
        as_of=now(),
    )


async def revoke_key(work: UnitOfWork, caller: Caller | None, key_id: UUID) -> None:
    """From now on (elsewhere within 5 s) the key opens nothing. Doing it again changes nothing.

    Raises:
        NotFound: the org has no such key.
    """
    found = await Keys(work.session).locked(key_id)
    if found is None:
        raise _no_such_key()
    if found["revoked_at"] is None:
        await Keys(work.session).revoke(key_id)
        await audit.record(work.session, caller, "key.revoked", public_id("key", key_id))


def _no_such_key() -> NotFound:
    return NotFound("there is no key_ object with this id")


def _key(row: asyncpg.Record) -> ApiKeyOut:
    secrets = [KeySecretOut(last4=row["last4"], created_at=row["secret_made_at"] or row["created_at"], ends_at=None)]
    if row["previous_ends_at"] is not None and row["previous_ends_at"] > now():
        secrets.append(
            KeySecretOut(
                last4=row["previous_last4"], created_at=row["previous_made_at"], ends_at=row["previous_ends_at"]
            )
        )
    return ApiKeyOut(
        id=public_id("key", row["id"]),
        name=row["name"],
        role=Role(row["role"]),
        company_ids=[public_id("cmp", company) for company in row["company_ids"]],
        scopes=row["scopes"],
        last4=row["last4"],
        secrets=secrets,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
