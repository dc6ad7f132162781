"""Which companies there are, and how their organization stands."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.event import Event
from libs.contracts.events import CompanyArchivedV1, CompanyCreatedV1
from libs.ids import CompanyId
from libs.messaging.standing import keep_standing
from libs.messaging.work import UnitOfWork
from services.provider_sync.handlers.operations import cancel_of_companies
from services.provider_sync.repository.accounts import CompanyRepository


async def keep_tenants(events: Sequence[Event], work: UnitOfWork) -> None:
    """Keep the org's companies, to which accounts may be given until they are archived, and whether it is served.

    What was asked for an archived one and is not sent yet is taken back. Publishes OperationChangedV1 for that.
    """
    names = {CompanyId(event.company_id): event.name for event in events if isinstance(event, CompanyCreatedV1)}
    if names:
        await CompanyRepository(work.session).keep(names)
    ended = {CompanyId(event.company_id): event.name for event in events if isinstance(event, CompanyArchivedV1)}
    if ended:
        await CompanyRepository(work.session).archive(ended)
        await cancel_of_companies(ended, work)
    await keep_standing(events, work)
