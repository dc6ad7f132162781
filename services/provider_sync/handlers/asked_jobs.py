"""Work at a provider that somebody asked for and that is one job: an operation without effects, which its job ends.

To do it twice changes nothing, so a job that broke off is simply done again; a change that must happen once is an effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from libs.errors import NotFound, PlatformError
from libs.ids import AccountId, CompanyId, parse_public_id
from libs.messaging.work import UnitOfWork
from services.provider_sync.domain.jobs import Job, JobKind
from services.provider_sync.domain.operations import Wanted
from services.provider_sync.handlers.effects import tell
from services.provider_sync.handlers.operations import Accepted, Target, fingerprint, keep
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.operations import OperationRepository

__all__ = ["ask", "ask_for_test", "begin", "fail", "succeed", "wait"]


async def ask_for_test(account_id: str, key: str | None, work: UnitOfWork) -> Accepted:
    """Whether the account works, asked of its provider. Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the caller has no such account.
        Conflict: the key was used for another request.
    """
    identifier = AccountId(parse_public_id("acc", account_id))
    account = (await AccountRepository(work.session).find_all([identifier])).get(identifier)
    if account is None:
        raise NotFound("there is no acc_ object with this id")
    return await ask(JobKind.TEST_ACCOUNT, Target(account.id, account.company_id, account_id), {}, key, work)


async def ask(
    kind: JobKind, target: Target, payload: Mapping[str, object], key: str | None, work: UnitOfWork
) -> Accepted:
    """Keep the wish for `kind`, once per key. `payload` is the job's."""
    wanted = Wanted(
        account_id=target.account_id,
        company_id=CompanyId(target.company_id),
        kind=kind.value,
        target=target.public_id,
        arguments=payload,
        parts=(),
        idempotency_key=key,
        fingerprint=fingerprint(kind.value, target, payload),
        job=kind,
    )
    return await keep(wanted, work)


async def begin(job: Job, work: UnitOfWork) -> None:
    """The job's operation is being worked at, if somebody asked for it."""
    await _settle(job, work, "running")


async def wait(job: Job, error: PlatformError, work: UnitOfWork) -> None:
    """It cannot be done now, and will be."""
    await _settle(job, work, "pending", error_code=error.code, error=str(error)[:500])


async def succeed(job: Job, result: Mapping[str, object], work: UnitOfWork) -> None:
    await _settle(job, work, "succeeded", result=result)


async def fail(job: Job, code: str, reason: str, work: UnitOfWork) -> None:
    await _settle(job, work, "failed", error_code=code, error=reason)


async def _settle(
    job: Job,
    work: UnitOfWork,
    state: str,
    *,
    result: Mapping[str, object] | None = None,
    error_code: str | None = None,
    error: str | None = None,
) -> None:
    """Publishes OperationChangedV1 when that changes the operation."""
    operation_id = job.payload.get("operation_id")
    if operation_id is None:
        return
    row = await OperationRepository(work.session).settle(
        UUID(operation_id), state, result=result, error_code=error_code, error=error
    )
    if row is not None:
        tell(row, work)
