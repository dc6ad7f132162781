"""Know the accounts that can be reconciled."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.event import Event
from libs.contracts.events import CompanyArchivedV1, ProviderAccountChangedV1
from libs.errors import Conflict, NotFound, Unsupported
from libs.ids import CompanyId, parse_public_id
from libs.messaging.standing import keep_standing
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import Snapshots
from libs.providers.registry import PROVIDERS
from services.reconciliation.repository.accounts import Account, AccountRepository, ArchivedCompanies
from services.reconciliation.repository.schedules import ScheduleRepository


async def keep_accounts(events: Sequence[ProviderAccountChangedV1], work: UnitOfWork) -> None:
    """Keep the newest of each account; its schedule goes with it to another company. Publishes nothing."""
    await AccountRepository(work.session).save_all(events)
    await ScheduleRepository(work.session).follow_accounts({event.account_id for event in events})


async def keep_tenants(events: Sequence[Event], work: UnitOfWork) -> None:
    """Keep how the org stands, and which of its companies are archived: their schedules are switched off. Publishes
    nothing."""
    archived = {event.company_id for event in events if isinstance(event, CompanyArchivedV1)}
    if archived:
        await ArchivedCompanies(work.session).add(archived)
        await ScheduleRepository(work.session).switch_off(archived)
    await keep_standing(events, work)


async def refuse_archived(company_id: CompanyId | None, work: UnitOfWork) -> None:
    """Raises: Conflict: the company is archived, so nothing new is begun for it."""
    if await ArchivedCompanies(work.session).has(company_id):
        raise Conflict("the company is archived: nothing new is begun for it", code="company_archived")


async def comparable_account(identifier: str, work: UnitOfWork) -> Account:
    """An account of the caller's that can be compared with its provider.

    Raises:
        NotFound: the caller has no such account.
        Unsupported: its provider cannot list what it holds; the message names it.
        Conflict: its company is archived.
    """
    account = await AccountRepository(work.session).find(parse_public_id("acc", identifier))
    if account is None:
        raise NotFound("there is no acc_ object with this id")  # as parse_public_id says it: they must look the same
    provider = PROVIDERS.get(account.provider)  # None: an account of another build, whose service may know it
    if provider is not None and not provider.offers(Snapshots):
        raise Unsupported(
            f"{account.provider} accounts cannot be compared: the provider offers no {Snapshots.__name__}",
            pointer="/account_id",
        )
    await refuse_archived(account.company_id, work)
    return account
