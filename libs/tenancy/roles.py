"""Roles and what each may do. A route names one permission; a role is a set of them; nothing else decides."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    SUPER_ADMIN = "super_admin"  # platform staff: makes organizations, acts within one only when it names it
    ORG_ADMIN = "org_admin"
    COMPANY_MANAGER = "company_manager"
    COMPANY_VIEWER = "company_viewer"


PLATFORM_ROLES = frozenset({Role.SUPER_ADMIN})

# A key of these roles is made for certain companies and sees nothing else.
COMPANY_ROLES = frozenset({Role.COMPANY_MANAGER, Role.COMPANY_VIEWER})

# Who may ask for `all_companies=true`; everyone else is limited to the companies they were given.
SEES_ALL_COMPANIES = frozenset({Role.SUPER_ADMIN, Role.ORG_ADMIN})

_READ = frozenset(
    {
        "accounts:read",
        "analytics:read",
        "campaigns:read",
        "companies:read",
        "inbox:read",
        "leads:read",
        "organizations:read",
        "reconciliations:read",
    }
)
_MANAGE = frozenset({"reconciliations:start"})
_ADMIN = frozenset(
    {
        "accounts:write",
        "audit:read",
        "companies:write",
        "dead_letters:read",
        "deliveries:read",  # what the door took in: nobody knows yet whose it is within the org
        "keys:read",
        "keys:write",
        "ledger:read",
        "users:read",
        "users:write",
    }
)

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.SUPER_ADMIN: frozenset({"organizations:write"}) | _READ | _MANAGE | _ADMIN,
    Role.ORG_ADMIN: _READ | _MANAGE | _ADMIN,
    Role.COMPANY_MANAGER: _READ | _MANAGE,
    Role.COMPANY_VIEWER: _READ,
}
