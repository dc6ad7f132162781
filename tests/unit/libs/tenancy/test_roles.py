"""The roles as a reviewed table: a permission that moves from one to another changes this file."""

from __future__ import annotations

from libs.tenancy.roles import COMPANY_ROLES, PERMISSIONS, PLATFORM_ROLES, SEES_ALL_COMPANIES, Role

READ = {
    "accounts:read", "analytics:read", "campaigns:read", "companies:read", "inbox:read", "leads:read", "organizations:read",
    "reconciliations:read",
}  # fmt: skip
ADMIN = {
    "accounts:write", "audit:read", "companies:write", "dead_letters:read", "deliveries:read", "keys:read", "keys:write",
    "ledger:read", "reconciliations:start", "users:read", "users:write",
}  # fmt: skip


def test_what_each_role_may():
    assert {
        Role.COMPANY_VIEWER: READ,
        Role.COMPANY_MANAGER: READ | {"reconciliations:start"},
        Role.ORG_ADMIN: READ | ADMIN,
        Role.SUPER_ADMIN: READ | ADMIN | {"organizations:write"},
    } == PERMISSIONS


def test_every_role_either_sees_all_companies_or_has_some():
    assert set(Role) == SEES_ALL_COMPANIES | COMPANY_ROLES
    assert not SEES_ALL_COMPANIES & COMPANY_ROLES
    assert PLATFORM_ROLES <= SEES_ALL_COMPANIES
