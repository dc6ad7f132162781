"""Who acts, for which org, within which companies. Everything below takes its tenant from here, never from a payload."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from libs.ids import CompanyId, OrgId


@dataclass(frozen=True, slots=True)
class CompanyScope:
    """The companies within an org that may be touched: all of them, or those listed (possibly none)."""

    companies: frozenset[CompanyId] | None  # None = all

    @classmethod
    def of(cls, companies: Iterable[CompanyId]) -> CompanyScope:
        return cls(frozenset(companies))

    @property
    def is_all(self) -> bool:
        return self.companies is None

    def covers(self, company: CompanyId | None) -> bool:
        """A row without a company belongs to the whole org: only those who see all companies see it."""
        return self.companies is None or (company is not None and company in self.companies)

    def setting(self) -> str:
        """The value of `app.company_ids`: `*`, or the ids joined by commas."""
        return "*" if self.companies is None else ",".join(sorted(str(company) for company in self.companies))


ALL_COMPANIES = CompanyScope(None)


@dataclass(frozen=True, slots=True)
class TenantContext:
    """A caller, authenticated and authorized by the gateway: what the signed inner header says."""

    principal: str  # "key:<uuid>", "user:<uuid>", "platform:<uuid>"
    org_id: OrgId
    scope: CompanyScope
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        return permission in self.permissions


def parse_scope(setting: str) -> CompanyScope:
    """The inverse of `CompanyScope.setting`."""
    if setting == "*":
        return ALL_COMPANIES
    return CompanyScope.of(CompanyId(UUID(part)) for part in setting.split(",") if part)
