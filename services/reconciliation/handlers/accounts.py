"""Know the accounts that can be reconciled."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.events import ProviderAccountChangedV1
from libs.messaging.work import UnitOfWork
from services.reconciliation.repository.accounts import AccountRepository


async def keep_accounts(events: Sequence[ProviderAccountChangedV1], work: UnitOfWork) -> None:
    """Keep the newest of each account; publishes nothing."""
    await AccountRepository(work.session).save_all(events)
