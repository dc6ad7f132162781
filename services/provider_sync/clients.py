"""From an account to the client that speaks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import orjson

from libs.errors import PermanentError
from libs.ids import AccountId
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from services.provider_sync.domain.accounts import Account
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.sealing import Sealer


async def open_client(
    account_id: AccountId, work: UnitOfWork, sealer: Sealer, providers: Mapping[str, Provider], http: httpx.AsyncClient
) -> tuple[Account, object]:
    """The account, and its client with the credentials opened.

    Raises:
        PermanentError: the account is gone.
        KeysUnavailable: its credentials cannot be opened now.
    """
    accounts = AccountRepository(work.session)
    account = (await accounts.find_all([account_id])).get(account_id)
    sealed = await accounts.sealed_credentials(account_id)
    if account is None or sealed is None:
        raise PermanentError("the account of this job is gone")
    opened = await sealer.open(sealed, work.session, table="accounts", row_id=account.id)
    credentials: dict[str, Any] = orjson.loads(opened)
    return account, providers[account.provider].make_client(credentials, account.base_url, http)
