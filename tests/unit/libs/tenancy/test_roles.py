"""The roles as a reviewed table: a permission that moves from one to another changes this file."""

from __future__ import annotations

from libs.tenancy.roles import (
    COMPANY_ROLES,
    MACHINE_ROLES,
    PERMISSIONS,
    PLATFORM_ROLES,
    SEES_ALL_COMPANIES,
    UNASSUMED,
    Role,
)

READ = {
    "accounts:read", "analytics:read", "campaigns:read", "companies:read", "inbox:read", "leads:read", "me:read",
    "drifts:read", "operation_results:read", "operations:read", "organizations:read", "reconciliations:read", "schedules:read",
    "syncs:read",
}  # fmt: skip
MANAGE = {
    "campaigns:write", "inbox:write", "leads:write", "operations:write", "reconciliations:start", "schedules:write",
    "syncs:start",
}  # fmt: skip
ADMIN = MANAGE | {
    "accounts:write", "audit:read", "companies:write", "dead_letters:read", "deliveries:read", "deliveries:release",
    "delivery_bodies:read", "exports:read", "keys:read", "keys:write", "ledger:read", "schedules:run",
    "users:read", "users:write",
    "dead_letter_bodies:read", "dead_letters:write", "replays:read", "replays:write",
}  # fmt: skip
# No word of what anybody wrote.
METADATA = {
    "dead_letters:read", "deliveries:read", "ledger:read", "me:read", "operations:read", "organizations:read",
    "reconciliations:read",
}  # fmt: skip
PLATFORM = {"assumptions:read", "assumptions:write", "organizations:write"}


def test_what_each_role_may():
    assert {
        Role.SCHEDULER: {"schedules:run"},
        Role.COMPANY_VIEWER: READ,
        Role.COMPANY_MANAGER: READ | MANAGE,
        Role.ORG_ADMIN: READ | ADMIN,
        Role.SUPER_ADMIN: READ | ADMIN | PLATFORM,
        Role.OPERATOR: METADATA,
    } == PERMISSIONS


def test_what_staff_may_outside_an_organization():
    assert METADATA | PLATFORM == UNASSUMED


def test_every_role_either_sees_all_companies_or_has_some_or_names_none():
    assert set(Role) == SEES_ALL_COMPANIES | COMPANY_ROLES | MACHINE_ROLES
    assert len(Role) == len(SEES_ALL_COMPANIES) + len(COMPANY_ROLES) + len(MACHINE_ROLES)
    assert PLATFORM_ROLES <= SEES_ALL_COMPANIES
