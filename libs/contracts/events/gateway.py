"""Events of the gateway: who the tenants are."""

from __future__ import annotations

from uuid import UUID

from libs.contracts.event import Event

_TENANT_KEEPERS = ("analytics.tenants", "provider-sync.tenants")


class OrganizationCreatedV1(Event, type="organization.created.v1", publisher="gateway", heard_by=_TENANT_KEEPERS):
    """An agency came to be. `time_zone` (IANA) is where its days begin."""

    organization_id: UUID
    name: str
    time_zone: str = "UTC"

    def subject(self) -> str:
        return f"organization/{self.organization_id}"


class CompanyCreatedV1(Event, type="company.created.v1", publisher="gateway", heard_by=_TENANT_KEEPERS):
    """A client company of the agency came to be."""

    company_id: UUID
    name: str

    def subject(self) -> str:
        return f"company/{self.company_id}"
