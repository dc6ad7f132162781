"""The worker: takes due work fairly over orgs, calls providers between two transactions, keeps what they answered.

Between the transactions nothing is held but a lease. Whoever lost it keeps nothing: the second transaction begins by
asking whether the job is still ours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import orjson

from libs.errors import DependencyDown, PermanentError, PlatformError, TransientError
from libs.ids import OrgId
from libs.messaging.failures import reason_of
from libs.messaging.work import UnitOfWork, Units
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers.capabilities import Snapshots, WebhookRegistration, require
from libs.providers.registry import Provider
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Job, JobKind, retry_delay
from services.provider_sync.handlers import pulls, registration, snapshots, workspaces
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.jobs import JobRepository, orgs_with_due_jobs
from services.provider_sync.sealing import Sealer

LEASE_SECONDS = 15.0  # the holder renews it three times as often; a job whose holder was killed waits no longer
_HOLD_SECONDS = LEASE_SECONDS / 3

log = get_logger()

Keep = Callable[[UnitOfWork], Awaitable[None]]


class Superseded(Exception):
    """Another worker has the job by now."""


class SyncWorker:
    def __init__(
        self,
        units: Units,
        http: httpx.AsyncClient,
        sealer: Sealer,
        *,
        providers: Mapping[str, Provider],
        public_webhook_url: str,
        jobs_at_once: int,
        poll_seconds: float,
    ) -> None:
        self._units = units
        self._http = http
        self._sealer = sealer
        self._providers = providers
        self._public_webhook_url = public_webhook_url.rstrip("/")
        self._jobs_at_once = jobs_at_once
        self._poll_seconds = poll_seconds
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until cancelled; what runs then is cancelled too, and is taken again once its lease is over."""
        try:
            while True:
                taken = 0
                with suppress(DependencyDown):
                    taken = await self._take()
                if self._running and (taken == 0 or len(self._running) >= self._jobs_at_once):
                    await asyncio.wait(self._running, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
                elif not taken:
                    await asyncio.sleep(self._poll_seconds)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def run_due(self) -> int:
        """Do what is due now, and all that becomes due at once through it; answers how many jobs were taken."""
        count = 0
        while taken := await self._take():
            count += taken
            await asyncio.gather(*self._running)
        return count

    async def _take(self) -> int:
        """Start one job per org that has work, in random order, as far as there is room."""
        room = self._jobs_at_once - len(self._running)
        if room <= 0:
            return 0
        async with self._units.database.transaction() as transaction:
            orgs = await orgs_with_due_jobs(transaction, room)
        taken = 0
        for org_id in orgs:
            async with self._units.begin(org_id) as work:
                job = await JobRepository(work.session).take(LEASE_SECONDS)
            if job is not None:
                task = asyncio.create_task(self._run(org_id, job))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                taken += 1
        return taken

    async def _run(self, org_id: OrgId, job: Job) -> None:
        """Do one job; whatever happens is kept as its outcome."""
        outcome: str = "done"
        with tracing.span(f"sync {job.kind}", tracing.SpanKind.INTERNAL, causes=[job.cause.traceparent]):
            try:
                async with self._held(org_id, job):
                    await self._do(org_id, job)
            except (DependencyDown, Superseded) as error:
                outcome = f"left: {type(error).__name__}"  # its lease runs out, then somebody takes it again
            except Exception as error:  # noqa: BLE001 - a job must not end without an outcome that can be seen
                outcome = await self._fail(org_id, job, error)
        log.info("sync_job_ended", job_id=str(job.id), kind=job.kind.value, org_id=str(org_id), outcome=outcome,
                 account_id=str(job.account_id), attempts=job.attempts)  # fmt: skip

    async def _do(self, org_id: OrgId, job: Job) -> None:
        if job.kind is JobKind.REGISTER_WEBHOOK:
            await self._register(org_id, job)
            return
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            only = await snapshots.wanted_campaign(job, work) if job.kind is JobKind.SNAPSHOT else None
        await self._check_workspace(org_id, account, client)
        if job.kind is JobKind.SNAPSHOT:
            listed = await snapshots.list_campaigns(require(client, Snapshots, account.provider), only)  # type: ignore[type-abstract]
            await self._keep(org_id, job, lambda work: snapshots.keep(job, account, listed, work))
        else:
            reading = await pulls.read(job, client, account.provider)
            await self._keep(org_id, job, lambda work: pulls.keep(job, account, reading, work))

    async def _register(self, org_id: OrgId, job: Job) -> None:
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
        registrar = require(client, WebhookRegistration, account.provider)  # type: ignore[type-abstract]
        may_repeat = self._providers[account.provider].may_register_again
        await self._check_workspace(org_id, account, client)  # before the provider knows where to post, see workspaces
        async with self._units.begin(org_id) as work:
            begun = await registration.begin(job, work, may_repeat=may_repeat)
        if begun.error is not None:
            raise begun.error
        if begun.token is not None:
            token = self._sealer.open(
                begun.token, table="endpoints", row_id=registration.endpoint_id(job), org_id=org_id
            )
            url = f"{self._public_webhook_url}/webhooks/{account.provider}/{token}"
            outcome = await registration.register(registrar, url, may_repeat=may_repeat)
            async with self._units.begin(org_id) as work:
                await registration.keep(job, outcome, work)
            if outcome.error is not None:
                raise outcome.error
        await self._keep(org_id, job, _nothing)

    async def _check_workspace(self, org_id: OrgId, account: Account, client: object) -> None:
        found = await workspaces.read(client)
        if found is None:
            return
        async with self._units.begin(org_id) as work:
            await workspaces.keep(account, found, work)

    async def _client(self, job: Job, work: UnitOfWork) -> tuple[Account, object]:
        accounts = AccountRepository(work.session)
        account = (await accounts.find_all([job.account_id])).get(job.account_id)
        sealed = await accounts.sealed_credentials(job.account_id)
        if account is None or sealed is None:
            raise PermanentError("the account of this job is gone")
        opened = self._sealer.open(sealed, table="accounts", row_id=account.id, org_id=work.org_id)
        credentials: dict[str, Any] = orjson.loads(opened)
        return account, self._providers[account.provider].make_client(credentials, account.base_url, self._http)

    async def _keep(self, org_id: OrgId, job: Job, keep: Keep) -> None:
        """Results, events and the job's end in one transaction."""
        async with self._units.begin(org_id) as work:
            if not await JobRepository(work.session).settle(job):
                raise Superseded
            await keep(work)

    async def _fail(self, org_id: OrgId, job: Job, error: Exception) -> str:
        reason = reason_of(error)
        delay = retry_delay(job.attempts, random.random())
        if not isinstance(error, TransientError):
            # The same code on the same answer rarely ends otherwise: a bug of ours gets one more chance, a "no" none.
            delay = None if isinstance(error, PlatformError) or job.attempts > 1 else delay
        elif delay is not None:
            delay = max(delay, error.retry_after_seconds or 0.0)
        log.log(30 if delay is not None else 40, "sync_job_failed", job_id=str(job.id), kind=job.kind.value,
                org_id=str(org_id), attempts=job.attempts, reason=reason,
                exc_info=None if isinstance(error, PlatformError) else error)  # fmt: skip
        try:
            async with self._units.begin(org_id) as work:
                jobs = JobRepository(work.session)
                if not await jobs.settle(job, failed=delay is None, retry_in_seconds=delay, error=reason):
                    return "superseded"
                if delay is None:
                    await _give_up(job, reason, work)
        except DependencyDown:
            return "left: DependencyDown"
        return "failed" if delay is None else "due"

    @asynccontextmanager
    async def _held(self, org_id: OrgId, job: Job) -> AsyncIterator[None]:
        """Lengthens the lease while the block runs; a lost lease cancels nothing, as what it leads to is not kept."""

        async def hold() -> None:
            while True:
                await asyncio.sleep(_HOLD_SECONDS)
                with suppress(DependencyDown):
                    async with self._units.begin(org_id) as work:
                        if not await JobRepository(work.session).hold(job, LEASE_SECONDS):
                            return

        holding = asyncio.create_task(hold())
        try:
            yield
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError):
                await holding


async def _give_up(job: Job, reason: str, work: UnitOfWork) -> None:
    if job.kind is JobKind.REGISTER_WEBHOOK:
        await registration.give_up(job, reason, work)
    elif job.kind is JobKind.SNAPSHOT:
        snapshots.tell_nothing(job, reason, work)
    else:
        pulls.tell_end(job, work, "failed", error=reason)


async def _nothing(_: UnitOfWork) -> None:
    """What there was to do was done by the time we looked."""
