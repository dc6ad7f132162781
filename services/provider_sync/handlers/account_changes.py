"""What changes about an account: its name, its credentials, whether it works."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import asyncpg

from libs.contracts.events import ProviderAccountChangedV1
from libs.errors import Conflict, Invalid, NotFound
from libs.ids import CompanyId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from services.provider_sync.domain import strategy
from services.provider_sync.handlers.accounts import checked_credentials, show_account
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.schemas import AccountChange, AccountOut
from services.provider_sync.sealing import Sealer


async def change_account(
    account_id: str,
    body: AccountChange,
    work: UnitOfWork,
    *,
    providers: Mapping[str, Provider],
    sealer: Sealer,
) -> AccountOut:
    """Rename an account, pause it, let it work again, give it new credentials (which lets it work again too), or choose
    how its messages are followed.

    What was due meanwhile is done at once. Publishes ProviderAccountChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the caller has no such account.
        Conflict: it was changed since the caller read it.
        Invalid: nothing to change; credentials other than the provider wants; `active` while the provider refuses the
            credentials that are there.
        Unsupported: there is no sync_mode to choose at this provider.
    """
    accounts = AccountRepository(work.session)
    row = await accounts.lock(parse_public_id("acc", account_id))
    if row is None:
        raise NotFound("there is no acc_ object with this id")
    if body.revision is not None and body.revision != row["revision"]:
        raise Conflict(
            f"the account is at revision {row['revision']} by now: read it again, then change that",
            code="stale_revision",
        )
    status, provider = body.status or row["status"], providers.get(row["provider"])
    if provider is None and (body.credentials is not None or body.sync_mode is not None):
        raise Invalid("this build does not know the account's provider")
    if provider is not None and body.sync_mode is not None:
        strategy.check_choice(provider)
    if provider is not None and body.credentials is not None:
        credentials = checked_credentials(body.credentials, provider)
        sealed = await sealer.seal(credentials, work.session, table="accounts", row_id=row["id"])
        await accounts.replace_credentials(row["id"], sealed)
        status = body.status or "active"
    elif body.status == "active" and row["status"] == "needs_reauth":
        raise Invalid("the provider refuses the account's credentials: send new ones", pointer="/credentials")
    elif body.name is None and body.status is None and body.sync_mode is None:
        raise Invalid("nothing to change: give name, status, credentials or sync_mode")
    reason = row["status_reason"] if status == "needs_reauth" else None
    mode = body.sync_mode or row["sync_mode"]
    changed = await accounts.change(
        row["id"], name=body.name or row["name"], status=status, status_reason=reason, sync_mode=mode
    )
    if status == "active" and row["status"] != "active":
        await JobRepository(work.session).hasten(row["id"])
    _tell(changed, work)
    told = {"status": status} if status != row["status"] else {}
    if body.credentials is not None:
        told["credentials"] = "replaced"
    if mode != row["sync_mode"]:
        told["sync_mode"] = mode
    work.audit("account.changed", public_id("acc", row["id"]), told, company_id=CompanyId(row["company_id"]))
    return await show_account(work, account_id)


async def need_credentials(account_id: UUID, reason: str, work: UnitOfWork, *, revision: int | None = None) -> None:
    """The provider no longer takes the account's credentials: nothing is asked of it until there are new ones, or a test
    finds that it takes them again. With `revision`, only while the account is as it was then.

    Publishes ProviderAccountChangedV1, once.
    """
    accounts = AccountRepository(work.session)
    row = await accounts.lock(account_id)
    if row is not None and row["status"] == "active" and revision in (None, row["revision"]):
        await _stand(row, "needs_reauth", reason, work)


async def work_again(account_id: UUID, work: UnitOfWork, *, revision: int) -> None:
    """The provider takes the credentials again that it had refused: what was due meanwhile is done at once.

    Publishes ProviderAccountChangedV1.
    """
    row = await AccountRepository(work.session).lock(account_id)
    if row is not None and row["status"] == "needs_reauth" and row["revision"] == revision:
        await _stand(row, "active", None, work)
        await JobRepository(work.session).hasten(row["id"])


async def _stand(row: asyncpg.Record, status: str, reason: str | None, work: UnitOfWork) -> None:
    accounts = AccountRepository(work.session)
    changed = await accounts.change(
        row["id"], name=row["name"], status=status, status_reason=reason, sync_mode=row["sync_mode"]
    )
    _tell(changed, work)


def _tell(row: asyncpg.Record, work: UnitOfWork) -> None:
    work.publish(
        ProviderAccountChangedV1(
            account_id=row["id"],
            revision=row["revision"],
            provider=row["provider"],
            channel=row["channel"],
            name=row["name"],
            status=row["status"],
        ),
        company_id=CompanyId(row["company_id"]),
    )
