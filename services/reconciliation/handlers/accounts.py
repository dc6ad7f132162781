"""Know the accounts that can be reconciled."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.events import ProviderAccountChangedV1
from libs.errors import NotFound, Unsupported
from libs.ids import parse_public_id
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import Snapshots
from libs.providers.registry import PROVIDERS
from services.reconciliation.repository.accounts import Account, AccountRepository
from services.reconciliation.repository.schedules import ScheduleRepository


async def keep_accounts(events: Sequence[ProviderAccountChangedV1], work: UnitOfWork) -> None:
    """Keep the newest of each account; its schedule goes with it to another company. Publishes nothing."""
    await AccountRepository(work.session).save_all(events)
    await ScheduleRepository(work.session).follow_accounts({event.account_id for event in events})


async def comparable_account(identifier: str, work: UnitOfWork) -> Account:
    """An account of the caller's that can be compared with its provider.

    Raises:
        NotFound: the caller has no such account.
        Unsupported: its provider cannot list what it holds; the message names it.
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
    return account
