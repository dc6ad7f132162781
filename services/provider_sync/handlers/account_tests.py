"""Testing an account: whether its credentials work, what of its provider answers, how fast, and what it may still ask.

A test is a finding, whatever it finds: its operation fails only when nothing could be found out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from libs.errors import PermanentError
from libs.messaging.work import UnitOfWork
from libs.providers import tool_servers
from libs.providers.checking import Finding, Outcome
from libs.providers.registry import Provider
from libs.providers.tool_servers import ToolsFound
from services.provider_sync.domain import budgets
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Job
from services.provider_sync.handlers import account_changes, asked_jobs
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.budgets import BudgetRepository
from services.provider_sync.repository.targets import TargetRepository
from services.provider_sync.sealing import Sealer
from services.provider_sync.spending import Spender

WITHIN_SECONDS = 60.0  # of all reads together


@dataclass(frozen=True, slots=True)
class Begun:
    """`revision` of the account as it is tested: what is found speaks of those credentials only."""

    revision: int
    campaign_external_id: str | None
    credentials: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    findings: Sequence[Finding]
    tools: ToolsFound | None
    workspace_external_id: str | None


async def begin(job: Job, account: Account, work: UnitOfWork, sealer: Sealer) -> Begun:
    """Publishes OperationChangedV1.

    Raises:
        PermanentError: the account is gone.
    """
    accounts = AccountRepository(work.session)
    row = await accounts.lock(account.id)
    sealed = await accounts.sealed_credentials(account.id)
    if row is None or sealed is None:
        raise PermanentError("the account of this job is gone")
    opened: dict[str, str] = orjson.loads(await sealer.open(sealed, work.session, table="accounts", row_id=account.id))
    await asked_jobs.begin(job, work)
    campaign = await TargetRepository(work.session).newest_campaign(account.id)
    return Begun(row["revision"], campaign, opened)


async def find_tools(begun: Begun, account: Account, provider: Provider, http: httpx.AsyncClient) -> ToolsFound | None:
    """What the provider's MCP server offers; None where there is none, or none is to be asked."""
    if provider.tools is None:
        return None
    headers = provider.tools.headers(begun.credentials, account.base_url)
    return await tool_servers.list_tools(provider.tools.url_for(account.base_url), headers, http)


async def keep(
    job: Job, account: Account, begun: Begun, found: Found, spent: Spender, provider: Provider, work: UnitOfWork
) -> None:
    """Publishes OperationChangedV1, and ProviderAccountChangedV1 where the account works again or no more."""
    connection = found.findings[0]
    wandered = (
        account.workspace_external_id is not None
        and found.workspace_external_id is not None
        and found.workspace_external_id != account.workspace_external_id
    )
    refused = next((one for one in found.findings if one.credential_refused), None)
    if refused is not None:
        await account_changes.need_credentials(
            account.id, refused.error or "the provider refuses the credentials", work, revision=begun.revision
        )
    elif connection.outcome is Outcome.ANSWERS and not wandered:
        await account_changes.work_again(account.id, work, revision=begun.revision)
    row = await AccountRepository(work.session).find_shown(account.id)
    assert row is not None
    result: dict[str, Any] = {
        "works": _works(connection, refused, wandered),
        "account_status": row["status"],
        "workspace_external_id": found.workspace_external_id,
        "other_workspace": wandered,
        "capabilities": [
            {"name": one.capability, "outcome": one.outcome.value, "error": one.error} for one in found.findings
        ],
        "not_offered": dict(sorted(provider.lacks.items())),
        "calls": spent.calls,
        "milliseconds_per_call": round(1000 * spent.seconds / spent.calls) if spent.calls else None,
        "slowest_milliseconds": round(1000 * spent.slowest_seconds) if spent.calls else None,
        "budget": await _budget(account, provider, work),
        "mcp": None if found.tools is None else _tools(found.tools),
    }
    await asked_jobs.succeed(job, result, work)


def _works(connection: Finding, refused: Finding | None, wandered: bool) -> bool | None:
    """None: nobody knows, as nobody answered."""
    if refused is not None or wandered or connection.outcome is Outcome.REFUSED:
        return False
    return True if connection.outcome is Outcome.ANSWERS else None


def _tools(found: ToolsFound) -> dict[str, Any]:
    return {
        "url": found.url,
        "answers": found.answers,
        "error": found.error,
        "server": found.server,
        "version": found.version,
        "tools": list(found.tools),
    }


async def _budget(account: Account, provider: Provider, work: UnitOfWork) -> dict[str, Any]:
    """Calls that the account may make at once, of how many, and until when it is left alone."""
    rate = provider.calls_per_minute
    locked = await BudgetRepository(work.session).lock(account.id, rate)
    assert locked is not None
    budget, at = locked
    paused = budget.paused_until if budget.paused_until is not None and budget.paused_until > at else None
    return {
        "calls_per_minute": rate,
        "calls_left": int(budgets.left(budget, rate, at)),
        "calls_at_once": int(budgets.capacity(rate)),
        "paused_until": paused,
        "pause_reason": budget.pause_reason if paused is not None else None,
    }
