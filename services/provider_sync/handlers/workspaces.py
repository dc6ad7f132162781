"""The provider's own tenants: compared with the account's, never used to find an account by.

An account's workspace is learnt and committed before its URL is told to the provider, so whatever is posted because of
our registration finds it known. Where it is not known (the provider tells none, or a person registered the URL), a
webhook is applied whatever workspace it names: the URL's token is the authority, and nothing else may contradict it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from libs.errors import TenantMismatch
from libs.messaging.work import UnitOfWork
from libs.providers.sightings import Reading
from services.provider_sync.domain.accounts import Account
from services.provider_sync.repository.accounts import AccountRepository


@runtime_checkable
class ActsInWorkspace(Protocol):
    """A client whose credentials act in one workspace of several, tomorrow perhaps in another."""

    async def read_workspace_id(self) -> str | None:
        """None when the provider does not say."""
        ...


async def read(client: object) -> str | None:
    """The workspace that the client acts in now; None when there is no such thing."""
    return await client.read_workspace_id() if isinstance(client, ActsInWorkspace) else None


async def keep(account: Account, found: str, work: UnitOfWork) -> None:
    """Learn the account's workspace, or make sure that it is still the same.

    Raises:
        TenantMismatch: the credentials act elsewhere by now; what they read and register there is not the account's.
    """
    if found == account.workspace_external_id:
        return
    known = await AccountRepository(work.session).learn_workspace(account.id, found)
    if known != found:
        raise TenantMismatch(
            "the credentials act in another workspace of the provider than the account is: "
            "give it a token that stays in its workspace"
        )


def check(account: Account, reading: Reading) -> None:
    """Raises: TenantMismatch when the payload names another workspace than the account's."""
    named, known = reading.workspace_external_id, account.workspace_external_id
    if named is not None and known is not None and named != known:
        raise TenantMismatch("a webhook names another workspace of the provider than its account is")
