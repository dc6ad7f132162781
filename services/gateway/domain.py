"""Pure decisions: which companies a request is about, and what a key may give away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import unquote_plus
from uuid import UUID

from libs.errors import Forbidden, Invalid, NotFound
from libs.ids import PLATFORM_ORG, CompanyId, OrgId, parse_public_id, public_id
from libs.tenancy.context import ALL_COMPANIES, CompanyScope
from libs.tenancy.roles import (
    COMPANY_ROLES,
    MACHINE_ROLES,
    PERMISSIONS,
    PLATFORM_ROLES,
    SEES_ALL_COMPANIES,
    UNASSUMED,
    Role,
)

_SCOPE_PARAMETERS = frozenset({"company_id", "all_companies"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A key or a user (`id` is that of either). `companies` matters for company roles only."""

    id: UUID
    role: Role
    home: OrgId
    companies: frozenset[CompanyId] = frozenset()
    expires_at: datetime | None = None
    kind: Literal["key", "user"] = "key"
    scopes: frozenset[str] | None = None  # a key may have been given less than its role may
    scope: CompanyScope = field(init=False)

    def __post_init__(self) -> None:
        scope = CompanyScope(self.companies) if self.role in COMPANY_ROLES else ALL_COMPANIES
        object.__setattr__(self, "scope", scope)

    @property
    def is_platform(self) -> bool:
        return self.role in PLATFORM_ROLES

    @property
    def permissions(self) -> frozenset[str]:
        of_role = PERMISSIONS[self.role]
        return of_role if self.scopes is None else of_role & self.scopes

    @property
    def name(self) -> str:
        return f"{'platform' if self.is_platform else self.kind}:{self.id}"


@dataclass(frozen=True, slots=True)
class Assumption:
    """That platform staff said why they go into an org, and for how long."""

    id: UUID
    ends_at: datetime
    may_write: bool


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal and the org it acts in; platform staff who name none act in none."""

    principal: Principal
    org_id: OrgId | None
    request_id: str = ""
    assumption: Assumption | None = None

    @property
    def is_outside(self) -> bool:
        """Whether these are platform staff who named an org without having assumed it."""
        return self.principal.is_platform and self.org_id is not None and self.assumption is None

    @property
    def permissions(self) -> frozenset[str]:
        """What the caller may here and now."""
        all_of_them = self.principal.permissions
        if not self.principal.is_platform or self.org_id is None:
            return all_of_them
        if self.assumption is None:
            return all_of_them & UNASSUMED
        if self.assumption.may_write:
            return all_of_them
        return frozenset(one for one in all_of_them if one.endswith(":read") or one in UNASSUMED)

    @property
    def expires_at(self) -> datetime | None:
        """When the caller may all this no longer; None: nobody knows of an end."""
        ends = (self.principal.expires_at, self.assumption.ends_at if self.assumption else None)
        return min((end for end in ends if end is not None), default=None)

    def require(self, permission: str, *, outside: bool = False) -> None:
        """With `outside`, staff who have not assumed the org pass too: what they may there, the handler judges.

        Raises:
            Forbidden: the caller may not do that, or not yet; the message says what is missing.
        """
        principal = self.principal
        if permission in self.permissions or (outside and self.is_outside and permission in principal.permissions):
            return
        if permission not in PERMISSIONS[principal.role]:
            raise Forbidden(
                f"this needs the permission {permission}, which the role {principal.role.value} does not have"
            )
        if permission not in principal.permissions:
            raise Forbidden(f"this needs the permission {permission}, which is not among the scopes of this key")
        if self.assumption is None:
            raise assumption_required()
        raise Forbidden(
            "you have assumed this organization to read: to change something assume it with write: true",
            code="assumption_read_only",
        )

    def org(self, *, platform: bool = False) -> OrgId:
        """The org acted in; with `platform`, staff who name none act on what belongs to the platform itself."""
        if self.org_id is not None:
            return self.org_id
        if platform:
            return PLATFORM_ORG
        raise Invalid(
            "say which organization you act in: send the header Outrider-Org: org_…", code="organization_required"
        )


def choose_member(memberships: Sequence[Principal], named: str | None) -> Principal:
    """As which of their memberships (at least one) a person acts, who named an org or none.

    Staff who are also in organizations act as members where they are, and as staff elsewhere.

    Raises:
        NotFound: an org is named in which they are nothing.
        Invalid: several, and none is named.
    """
    staff = next((one for one in memberships if one.is_platform), None)
    if named is not None:
        mine = next((one for one in memberships if not one.is_platform and public_id("org", one.home) == named), None)
        found = mine or staff
        if found is None:
            raise no_such_organization()
        return found
    if staff is not None:
        return staff
    if len(memberships) > 1:
        names = ", ".join(public_id("org", one.home) for one in memberships[:20])
        raise Invalid(
            f"you are in several organizations: name one in the header Outrider-Org ({names})",
            code="organization_required",
        )
    return memberships[0]


@dataclass(frozen=True, slots=True)
class AskedScope:
    """What `company_id` and `all_companies` of a query say."""

    company_id: str | None = None
    all_companies: bool = False


NOTHING_ASKED = AskedScope()


def split_scope(query: bytes) -> tuple[AskedScope, bytes]:
    """What is asked about companies, and the query without it, every other byte as it was.

    Raises:
        Invalid: a parameter is given twice, or `all_companies` is neither true nor false.
    """
    if not query:
        return NOTHING_ASKED, query
    asked: dict[str, str] = {}
    rest = []
    for part in query.split(b"&"):
        raw_name, _, raw_value = part.partition(b"=")
        name = unquote_plus(raw_name.decode("latin-1"))  # an owner would decode `company%5Fid` too
        if name not in _SCOPE_PARAMETERS:
            rest.append(part)
        elif name in asked:
            raise Invalid(f"give {name} once", pointer=name)
        else:
            asked[name] = unquote_plus(raw_value.decode("latin-1"))
    if not asked:
        return NOTHING_ASKED, query
    everything = asked.get("all_companies", "false")
    if everything not in ("true", "false"):
        raise Invalid("all_companies is true or false", pointer="all_companies")
    return AskedScope(asked.get("company_id"), everything == "true"), b"&".join(rest)


def decide_scope(principal: Principal, asked: AskedScope, *, company_filter: bool) -> CompanyScope:
    """The companies that a request is about. Whether a company named by an admin exists is still to be asked.

    Raises:
        Invalid: contradictory, or nothing said on a list that must not mix companies by accident (`company_filter`).
        Forbidden: `all_companies` by a role that is limited to companies; any company by a machine's.
        NotFound: a company outside the caller's; the same as for none at all.
    """
    if principal.role in MACHINE_ROLES and asked != NOTHING_ASKED:
        raise Forbidden(f"the role {principal.role.value} names no companies: leave company_id and all_companies out")
    sees_all = principal.role in SEES_ALL_COMPANIES
    if asked.all_companies:
        if not sees_all:
            raise Forbidden(
                f"all_companies=true is for org_admin and platform staff; the role {principal.role.value} sees its own "
                "companies: leave the parameter out, or name one with company_id",
                code="all_companies_forbidden",
            )
        if asked.company_id is not None:
            raise Invalid("give either company_id or all_companies=true, not both", pointer="all_companies")
        return ALL_COMPANIES
    if asked.company_id is not None:
        company = parse_company(asked.company_id)
        if not principal.scope.covers(company):
            raise no_such_company()
        return CompanyScope.of([company])
    if company_filter and sees_all:
        raise Invalid(
            "say which companies you mean: add company_id=cmp_… for one, or all_companies=true for all of them",
            code="company_scope_required",
            pointer="company_id",
        )
    return principal.scope


def parse_company(text: str) -> CompanyId:
    try:
        return CompanyId(parse_public_id("cmp", text))
    except NotFound:
        raise no_such_company() from None


def no_such_company() -> NotFound:
    return NotFound("there is no company with this id")


def assumption_required() -> Forbidden:
    return Forbidden(
        "what belongs to an organization is shown to platform staff in one that they have assumed: "
        "POST /v1/assumptions with its id, a reason and for how many minutes",
        code="assumption_required",
    )


def no_such_organization() -> NotFound:
    return NotFound("there is no organization with this id")


def check_grant(
    caller: Caller,
    role: Role,
    companies: Iterable[CompanyId],
    expires_at: datetime | None,
    now: datetime,
    *,
    scopes: frozenset[str] | None = None,
) -> None:
    """A key gives away at most what it has, within the org it acts in, and not for longer.

    Raises:
        Forbidden: more than the caller has.
        Invalid: see `check_role`; an end in the past.
    """
    check_role(caller, role, companies, scopes)
    if expires_at is not None and expires_at <= now:
        raise Invalid("expires_at lies in the past", pointer="/expires_at")
    if caller.expires_at is not None and (expires_at is None or expires_at > caller.expires_at):
        raise Forbidden(
            "access that ends (a key's, an assumed organization's) cannot make a key that lives longer: "
            "give an earlier expires_at"
        )


def check_role(
    caller: Caller, role: Role, companies: Iterable[CompanyId], scopes: frozenset[str] | None = None
) -> None:
    """Whether the caller may give this role (or these permissions of it), for these companies, in the org it acts in.

    Raises:
        Forbidden: more than the caller has.
        Invalid: companies for a role that has none, or none for one that needs some; a scope that the role has not.
    """
    principal = caller.principal
    if (role in PLATFORM_ROLES) != (caller.org_id is None):
        raise Forbidden(
            "the roles super_admin and operator belong to the platform, and every other role to an organization: only "
            "platform staff may give them, without the header Outrider-Org"
        )
    given = PERMISSIONS[role]
    if scopes is not None:
        if beyond := sorted(scopes - given):
            raise Invalid(f"the role {role.value} has no permission {beyond[0][:50]!r}", pointer="/scopes")
        given = scopes
    if not given <= principal.permissions:
        raise Forbidden(
            f"the role {role.value} may do more than the role {principal.role.value}"
            if not PERMISSIONS[role] <= PERMISSIONS[principal.role]
            else "this would have permissions that your key's scopes leave out"
        )
    companies = list(companies)
    if role in COMPANY_ROLES and not companies:
        raise Invalid(f"the role {role.value} needs company_ids", pointer="/company_ids")
    if role not in COMPANY_ROLES and companies:
        raise Invalid(
            f"the role {role.value} is for the whole organization: leave company_ids out", pointer="/company_ids"
        )
    if not all(principal.scope.covers(company) for company in companies):
        raise no_such_company()
