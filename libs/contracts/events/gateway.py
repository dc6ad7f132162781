"""Events of the gateway: who the tenants are, and how each of them stands."""

from __future__ import annotations

from uuid import UUID

from libs.contracts.event import Event

_TENANT_KEEPERS = ("analytics.tenants", "provider-sync.tenants")
# Who keeps rows of tenants at all. The gateway knows what it told.
_ROW_KEEPERS = (*_TENANT_KEEPERS, "reconciliation.tenants", "webhook-ingest.tenants")


class OrganizationCreatedV1(Event, type="organization.created.v1", publisher="gateway", heard_by=_TENANT_KEEPERS):
    """An agency came to be. `time_zone` (IANA) is where its days begin."""

    organization_id: UUID
    name: str
    time_zone: str = "UTC"

    def subject(self) -> str:
        return f"organization/{self.organization_id}"


class OrganizationSuspendedV1(Event, type="organization.suspended.v1", publisher="gateway", heard_by=_ROW_KEEPERS):
    """Nothing is done for this organization until it is resumed; what comes in meanwhile is kept.

    Of suspended and resumed the higher `revision` counts, in whatever order they come; erased is final.
    """

    organization_id: UUID
    revision: int

    def subject(self) -> str:
        return f"organization/{self.organization_id}"


class OrganizationResumedV1(Event, type="organization.resumed.v1", publisher="gateway", heard_by=_ROW_KEEPERS):
    """The organization is served again; see OrganizationSuspendedV1 for `revision`."""

    organization_id: UUID
    revision: int

    def subject(self) -> str:
        return f"organization/{self.organization_id}"


class OrganizationErasedV1(Event, type="organization.erased.v1", publisher="gateway", heard_by=_ROW_KEEPERS):
    """Delete everything of this organization and take nothing of it any more, however late it comes. Final."""

    organization_id: UUID
    revision: int

    def subject(self) -> str:
        return f"organization/{self.organization_id}"


class CompanyCreatedV1(Event, type="company.created.v1", publisher="gateway", heard_by=_TENANT_KEEPERS):
    """A client company of the agency came to be."""

    company_id: UUID
    name: str

    def subject(self) -> str:
        return f"company/{self.company_id}"


class CompanyArchivedV1(
    Event, type="company.archived.v1", publisher="gateway", heard_by=("provider-sync.tenants", "reconciliation.tenants")
):
    """The agency no longer works for this company: nothing new is begun for it, what it has stays. Final."""

    company_id: UUID
    name: str

    def subject(self) -> str:
        return f"company/{self.company_id}"
