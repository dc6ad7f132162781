"""Roles and what each may do. A route names one permission; a role is a set of them; nothing else decides."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    SUPER_ADMIN = "super_admin"  # platform staff: makes organizations, and goes into one by assuming it
    OPERATOR = "operator"  # platform staff: watches the system across organizations; sees no content, changes nothing
    ORG_ADMIN = "org_admin"
    COMPANY_MANAGER = "company_manager"
    COMPANY_VIEWER = "company_viewer"
    SCHEDULER = "scheduler"  # an org's timer outside: starts the slot of a schedule that is due, and nothing else


PLATFORM_ROLES = frozenset({Role.SUPER_ADMIN, Role.OPERATOR})

# A key of these roles is made for certain companies and sees nothing else.
COMPANY_ROLES = frozenset({Role.COMPANY_MANAGER, Role.COMPANY_VIEWER})

# Of API keys only, never of people. They act for their whole org and name no company: what they start knows its own.
MACHINE_ROLES = frozenset({Role.SCHEDULER})

# Who may ask for `all_companies=true`; everyone else is limited to the companies they were given.
SEES_ALL_COMPANIES = frozenset({Role.SUPER_ADMIN, Role.OPERATOR, Role.ORG_ADMIN})

# How the system does: ids, counts, states and templated reasons, no word of what anybody wrote. Platform staff may see it of
# every organization that they name; all else of a tenant's only in one that they have assumed.
METADATA = frozenset(
    {
        "dead_letters:read",
        "deliveries:read",
        "ledger:read",
        "me:read",
        "operations:read",
        "organizations:read",
        "reconciliations:read",
    }
)

# The platform's own work, in no organization.
_PLATFORM = frozenset({"assumptions:read", "assumptions:write", "organizations:write"})

# What platform staff may without having assumed the organization that they name.
UNASSUMED = METADATA | _PLATFORM

_READ = frozenset(
    {
        "accounts:read",
        "analytics:read",
        "campaigns:read",
        "companies:read",
        "drifts:read",  # which messages of which leads are missing, not only how many
        "inbox:read",
        "leads:read",
        "me:read",
        "operation_results:read",  # in the provider's own words
        "operations:read",
        "organizations:read",
        "reconciliations:read",
        "schedules:read",
        "syncs:read",
    }
)
_MANAGE = frozenset(
    {
        "campaigns:write",
        "inbox:write",
        "leads:write",
        "operations:write",
        "reconciliations:start",
        "schedules:write",
        "syncs:start",
    }
)
_ADMIN = frozenset(
    {
        "accounts:write",
        "audit:read",
        "companies:write",
        "dead_letter_bodies:read",  # and what people noted about them
        "dead_letters:read",
        "dead_letters:write",
        "delivery_bodies:read",
        "deliveries:read",  # what the door took in: nobody knows yet whose it is within the org
        "deliveries:release",
        "exports:read",  # all that the organization has, whatever else is left out of a key's scopes
        "keys:read",
        "keys:write",
        "ledger:read",
        "replays:read",
        "replays:write",
        "schedules:run",
        "users:read",
        "users:write",
    }
)

PERMISSIONS: dict[Role, frozenset[str]] = {
    Role.SUPER_ADMIN: _PLATFORM | _READ | _MANAGE | _ADMIN,
    Role.OPERATOR: METADATA,
    Role.ORG_ADMIN: _READ | _MANAGE | _ADMIN,
    Role.COMPANY_MANAGER: _READ | _MANAGE,
    Role.COMPANY_VIEWER: _READ,
    Role.SCHEDULER: frozenset({"schedules:run"}),
}
