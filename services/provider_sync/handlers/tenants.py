"""Which companies there are."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.events import CompanyCreatedV1, OrganizationCreatedV1
from libs.ids import CompanyId
from libs.messaging.work import UnitOfWork
from services.provider_sync.repository.accounts import CompanyRepository


async def keep_companies(events: Sequence[OrganizationCreatedV1 | CompanyCreatedV1], work: UnitOfWork) -> None:
    """Keep the org's companies, to which accounts may be given. An organization without one needs nothing yet."""
    names = {CompanyId(event.company_id): event.name for event in events if isinstance(event, CompanyCreatedV1)}
    if names:
        await CompanyRepository(work.session).keep(names)
