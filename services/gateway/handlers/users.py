"""People and what they may do in an org: adding, changing, removing, listing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.errors import Conflict, Forbidden, Invalid, NotFound
from libs.ids import CompanyId, new_id, public_id
from libs.messaging.work import UnitOfWork
from libs.tenancy.roles import COMPANY_ROLES, MACHINE_ROLES, PERMISSIONS, Role
from libs.web.cursors import Cursors, page
from services.gateway import audit
from services.gateway.domain import Caller, check_role, parse_company
from services.gateway.handlers.positions import id_position
from services.gateway.repository.tenants import Companies
from services.gateway.repository.users import Users
from services.gateway.schemas import Page, UserChangeIn, UserIn, UserOut


async def add_user(work: UnitOfWork, caller: Caller, wanted: UserIn) -> UserOut:
    """Let a person in, known by the subject that the identity provider gives them.

    Raises:
        Conflict: the org has a user with this subject.
        Forbidden: the user would have more than the caller.
        Invalid: a company that the org does not have, or a role that is for keys only.
    """
    companies = await _granted(work, caller, wanted.role, wanted.company_ids)
    user_id = new_id()
    users = Users(work.session)
    if not await users.add(
        user_id, subject=wanted.subject, email=wanted.email, name=wanted.name, role=wanted.role, companies=companies
    ):
        raise Conflict("this organization has a user with this subject", code="user_exists")
    added = _user(await _get(users, user_id))
    await audit.record(work.session, caller, "user.added", added.id, _audited(added))
    return added


async def change_user(work: UnitOfWork, caller: Caller, user_id: UUID, wanted: UserChangeIn) -> tuple[UserOut, str]:
    """Change what is named and leave the rest; a role without companies takes them away. Answers the subject too.

    Raises:
        NotFound: the org has no such user.
        Forbidden: the user has, or would have, more than the caller.
        Invalid: nothing is named, a company that the org does not have, or a role that is for keys only.
    """
    named = wanted.model_fields_set
    if not named:
        raise Invalid("name at least one field to change")
    users = Users(work.session)
    found = await users.locked(user_id)
    if found is None:
        raise _no_such_user()
    _check_reach(caller, found)
    role, companies = Role(found["role"]), [CompanyId(company) for company in found["company_ids"]]
    if named & {"role", "company_ids"}:
        role = wanted.role or role
        if wanted.company_ids is not None:
            companies = await _granted(work, caller, role, wanted.company_ids)
        else:
            companies = companies if role in COMPANY_ROLES else []
            _check_access(caller, role, companies)
    await users.change(
        user_id,
        email=wanted.email or found["email"],
        name=wanted.name or found["name"],
        status=wanted.status or found["status"],
        role=role,
        companies=companies,
    )
    changed = _user(await _get(users, user_id))
    details = {"before": _audited(_user(found)), "after": _audited(changed), "fields": sorted(named)}
    await audit.record(work.session, caller, "user.changed", changed.id, details)
    return changed, changed.subject


async def remove_user(work: UnitOfWork, caller: Caller, user_id: UUID) -> str:
    """Forget a person and what they might. Answers the subject.

    Raises:
        NotFound: the org has no such user.
        Forbidden: the user has more than the caller.
    """
    users = Users(work.session)
    found = await users.locked(user_id)
    if found is None:
        raise _no_such_user()
    _check_reach(caller, found)
    await users.remove(user_id)
    await audit.record(work.session, caller, "user.removed", public_id("usr", user_id), _audited(_user(found)))
    return str(found["subject"])


async def get_user(work: UnitOfWork, user_id: UUID) -> UserOut:
    return _user(await _get(Users(work.session), user_id))


async def list_users(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[UserOut]:
    """Oldest first, suspended ones too."""
    position = id_position(cursors, work, after, "users")
    rows, more = page(await Users(work.session).page(after=position, limit=limit + 1), limit)
    return Page(
        data=[_user(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query="users") if more else None,
        as_of=now(),
    )


async def _granted(work: UnitOfWork, caller: Caller, role: Role, named: Iterable[str]) -> list[CompanyId]:
    companies = list(dict.fromkeys(parse_company(text) for text in named))
    _check_access(caller, role, companies)
    if companies and not await Companies(work.session).all_exist(companies, active=True):
        raise Invalid("company_ids names a company that does not exist or is archived", pointer="/company_ids")
    return companies


def _check_access(caller: Caller, role: Role, companies: Sequence[CompanyId]) -> None:
    check_role(caller, role, companies)
    if role in MACHINE_ROLES:
        raise Invalid(f"the role {role.value} is for API keys only: give it to a key", pointer="/role")
    if caller.expires_at is not None:
        raise Forbidden("access that ends (a key's, an assumed organization's) cannot give access that does not")


def _check_reach(caller: Caller, found: asyncpg.Record) -> None:
    if not PERMISSIONS[Role(found["role"])] <= caller.principal.permissions:
        raise Forbidden("this user may do more than you")


async def _get(users: Users, user_id: UUID) -> asyncpg.Record:
    found = await users.find(user_id)
    if found is None:
        raise _no_such_user()
    return found


def _no_such_user() -> NotFound:
    return NotFound("there is no usr_ object with this id")


def _audited(user: UserOut) -> dict[str, Any]:
    """What they may, not who they are: names and addresses can be erased, rows of the audit log cannot."""
    return user.model_dump(mode="json", include={"role", "company_ids", "status"})


def _user(row: asyncpg.Record) -> UserOut:
    return UserOut(
        id=public_id("usr", row["id"]),
        subject=row["subject"],
        email=row["email"],
        name=row["name"],
        status=row["status"],
        role=Role(row["role"]),
        company_ids=[public_id("cmp", company) for company in row["company_ids"]],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )
