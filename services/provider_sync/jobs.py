"""The worker: takes due work fairly over orgs, calls providers between two transactions, keeps what they answered.

Between the transactions nothing is held but a lease. Whoever lost it keeps nothing: the second transaction begins by
asking whether the job is still ours.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial

import httpx

from libs.crash import crash_point
from libs.database.engine import OrganizationErased, Transaction, is_conflict
from libs.errors import (
    CredentialRefused,
    DependencyDown,
    NotSent,
    PlatformError,
    ProviderUnavailable,
    RateLimited,
    TransientError,
)
from libs.ids import OrgId
from libs.messaging.failures import reason_of
from libs.messaging.standing import OrganizationSuspended
from libs.messaging.work import UnitOfWork, Units
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers import checking
from libs.providers.capabilities import Campaigns, Pulls, Snapshots, WebhookRegistration, WebhookUpkeep, require
from libs.providers.registry import Provider
from services.provider_sync.clients import open_client
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import OF_CAMPAIGNS, Job, JobKind, Superseded, retry_delay
from services.provider_sync.handlers import (
    account_changes,
    account_tests,
    additions,
    asked_jobs,
    campaign_snapshots,
    pulls,
    registration,
    rotations,
    snapshots,
    verification,
    workspaces,
)
from services.provider_sync.key_ring import KeysUnavailable
from services.provider_sync.repository.jobs import JobRepository, orgs_with_due_jobs
from services.provider_sync.sealing import Sealer
from services.provider_sync.spending import BudgetSpent, Spender, spending
from services.provider_sync.taking import FairWorker

LEASE_SECONDS = 15.0  # the holder renews it three times as often; a job whose holder was killed waits no longer
_HOLD_SECONDS = LEASE_SECONDS / 3
CONFLICT_SECONDS = 0.5  # until two transactions that met in a deadlock have surely ended
PAUSE_SECONDS = 30.0  # until a job that waits for something else looks again, where nobody says how long

log = get_logger()

Keep = Callable[[UnitOfWork], Awaitable[None]]


class ProviderAway(ProviderUnavailable):
    """The provider answers none of the account's calls: it is left alone for a while."""


NOT_ITS_FAULT = (KeysUnavailable, BudgetSpent, ProviderAway, RateLimited, CredentialRefused)


class SyncWorker(FairWorker[Job]):
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
        verify_every_seconds: float = 21_600.0,
    ) -> None:
        """`verify_every_seconds`: how often each registered webhook is looked at by itself; 0: only when asked."""
        super().__init__(units, at_once=jobs_at_once, poll_seconds=poll_seconds)
        self._http = http
        self._sealer = sealer
        self._providers = providers
        self._public_webhook_url = public_webhook_url.rstrip("/")
        self._verify_every_seconds = verify_every_seconds

    async def due_orgs(self, transaction: Transaction, most: int) -> list[OrgId]:
        return await orgs_with_due_jobs(transaction, most)

    async def take(self, work: UnitOfWork) -> Job | None:
        return await JobRepository(work.session).take(LEASE_SECONDS)

    async def do(self, org_id: OrgId, job: Job) -> None:
        outcome: str = "done"
        crash_point("job.taken")
        with tracing.span(f"sync {job.kind}", tracing.SpanKind.INTERNAL, causes=[job.cause.traceparent]):
            try:
                async with self._held(org_id, job):
                    await self._do(org_id, job)
            except NOT_ITS_FAULT as error:
                outcome = await self._postpone(org_id, job, error)
            except OrganizationSuspended as error:
                outcome = await self._postpone(org_id, job, error, seconds=0.0)  # nobody takes it before it is resumed
            except (DependencyDown, OrganizationErased, Superseded) as error:
                outcome = f"left: {type(error).__name__}"  # its lease runs out, then somebody takes it again
            except Exception as error:  # noqa: BLE001 - a job must not end without an outcome that can be seen
                if is_conflict(error):  # of transactions, which has nothing to do with the job
                    outcome = await self._postpone(org_id, job, error, seconds=CONFLICT_SECONDS)
                else:
                    outcome = await self._fail(org_id, job, error)
        log.info("sync_job_ended", job_id=str(job.id), kind=job.kind.value, org_id=str(org_id), outcome=outcome,
                 account_id=str(job.account_id), attempts=job.attempts)  # fmt: skip

    async def _do(self, org_id: OrgId, job: Job) -> None:
        others = {
            JobKind.REGISTER_WEBHOOK: self._register,
            JobKind.REMOVE_WEBHOOK: self._remove,
            JobKind.END_TOKEN: self._end_token,
            JobKind.TEST_ACCOUNT: self._test,
            JobKind.VERIFY_WEBHOOK: self._verify,
            JobKind.LOOK_FOR_LEADS: self._look_for_leads,
            **dict.fromkeys(OF_CAMPAIGNS, self._ask_of_campaign),
        }
        if job.kind in others:
            await others[job.kind](org_id, job)
            return
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            only = await snapshots.wanted_campaign(job, work) if job.kind is JobKind.SNAPSHOT else None
        with self._paying(org_id, job, account):
            await self._check_workspace(org_id, account, client)
            if job.kind is JobKind.SNAPSHOT:
                listed = await snapshots.list_campaigns(require(client, Snapshots, account.provider), only)  # type: ignore[type-abstract]
                await self._keep(org_id, job, lambda work: snapshots.keep(job, account, listed, work))
            else:
                reading = await pulls.read(job, client, account.provider)
                again_in = pulls.again_in(job, reading)
                told = reading if again_in is None else pulls.without_status(reading)
                await self._keep(
                    org_id, job, lambda work: pulls.keep(job, account, told, work), again_in_seconds=again_in
                )

    async def _register(self, org_id: OrgId, job: Job) -> None:
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
        with self._paying(org_id, job, account):
            await self._registered(org_id, job, account, client)

    async def _registered(self, org_id: OrgId, job: Job, account: Account, client: object) -> None:
        registrar = require(client, WebhookRegistration, account.provider)  # type: ignore[type-abstract]
        may_repeat = self._providers[account.provider].may_register_again
        await self._check_workspace(org_id, account, client)  # before the provider knows where to post, see workspaces
        async with self._units.begin(org_id) as work:
            begun = await registration.begin(job, work, self._sealer, may_repeat=may_repeat)
        if begun.error is not None:
            raise begun.error
        if begun.token is not None:
            token = begun.token.get_secret_value()
            url = self._url(account, token)
            crash_point("registration.noted")
            outcome = await registration.register(registrar, url, may_repeat=may_repeat)
            crash_point("registration.called")
            async with self._units.begin(org_id) as work:
                await registration.keep(job, outcome, work)
            if outcome.error is not None:
                raise outcome.error
        await self._keep(org_id, job, lambda work: self._look_around(account, job, work))

    def _url(self, account: Account, token: str) -> str:
        return f"{self._public_webhook_url}/webhooks/{account.provider}/{token}"

    async def _verify(self, org_id: OrgId, job: Job) -> None:
        """Look whether the provider still has the webhook as it should be, and repair it once where it has not."""
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            begun = await verification.begin(job, work, self._sealer)
        looked = None
        if begun.url_token is not None:
            provider = self._providers[account.provider]
            upkeep = provider.require(client, WebhookUpkeep)  # type: ignore[type-abstract]

            async def before_repair() -> None:
                async with self._units.begin(org_id) as work:
                    if not await JobRepository(work.session).hold(job, LEASE_SECONDS):
                        raise Superseded
                    await verification.note_repair_sent(begun.endpoint_id, work)

            with self._paying(org_id, job, account):
                await self._check_workspace(org_id, account, client)  # ids of webhooks repeat elsewhere
                looked = await verification.look(
                    client,
                    upkeep,
                    begun,
                    self._url(account, begun.url_token),
                    may_repeat=provider.may_register_again,
                    before_repair=before_repair,
                )
        keep = partial(verification.keep, job, begun, looked)
        await self._keep(org_id, job, keep, again_in_seconds=self._looks_again(job))

    def _looks_again(self, job: Job) -> float | None:
        """In how many seconds a job goes on by itself, whatever became of it; None: it ends."""
        if job.kind is not JobKind.VERIFY_WEBHOOK or "operation_id" in job.payload:
            return None
        return self._verify_every_seconds or None

    async def _look_around(self, account: Account, job: Job, work: UnitOfWork) -> None:
        """What is registered is looked at from now on. Where nothing pulls an account's campaigns later, they are listed
        once it is open: no webhook tells of drafts."""
        if self._verify_every_seconds:
            await verification.look_again(
                registration.endpoint_id(job), account.id, work, job.cause, in_seconds=self._verify_every_seconds
            )
        provider = self._providers[account.provider]
        if provider.offers(Campaigns) and not provider.offers(Pulls):
            await JobRepository(work.session).ask_again([pulls.wish_for_campaigns(account, job.cause)])

    async def _remove(self, org_id: OrgId, job: Job) -> None:
        """Make the provider forget the URL of an earlier token. To be told twice changes nothing there."""
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            webhook_id = await rotations.webhook_to_remove(job, work)
        if webhook_id is not None:
            upkeep = self._providers[account.provider].require(client, WebhookUpkeep)  # type: ignore[type-abstract]
            with self._paying(org_id, job, account):
                await self._check_workspace(org_id, account, client)  # ids of webhooks repeat elsewhere
                await upkeep.delete_webhook(webhook_id)
        await self._keep(org_id, job, partial(rotations.note_removal, job))

    async def _end_token(self, org_id: OrgId, job: Job) -> None:
        async with self._units.begin(org_id) as work:
            again_in = await rotations.end_if_over(job, work)
            if not await JobRepository(work.session).settle(job, retry_in_seconds=again_in):
                raise Superseded

    async def _test(self, org_id: OrgId, job: Job) -> None:
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            begun = await account_tests.begin(job, account, work, self._sealer)
        provider, workspace = self._providers[account.provider], None
        with self._paying(org_id, job, account) as spender:
            findings = await checking.look(
                client, begun.campaign_external_id, within_seconds=account_tests.WITHIN_SECONDS
            )
            if findings[0].outcome is checking.Outcome.ANSWERS:
                with suppress(ProviderUnavailable, RateLimited, NotSent):  # then it stays unknown
                    workspace = await workspaces.read(client)
        with self._paying(org_id, job, account, elsewhere=True):
            tools = await account_tests.find_tools(begun, account, provider, self._http)
        found = account_tests.Found(findings, tools, workspace)
        await self._keep(org_id, job, partial(account_tests.keep, job, account, begun, found, spender, provider))

    async def _ask_of_campaign(self, org_id: OrgId, job: Job) -> None:
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            await asked_jobs.begin(job, work)
        with self._paying(org_id, job, account):
            await self._check_workspace(org_id, account, client)  # ids of campaigns repeat elsewhere
            snapshot = await campaign_snapshots.read(job, client, self._providers[account.provider])
        await self._keep(org_id, job, partial(campaign_snapshots.keep, job, snapshot))

    async def _look_for_leads(self, org_id: OrgId, job: Job) -> None:
        """Some of them; with those who are left the job goes on."""
        async with self._units.begin(org_id) as work:
            account, client = await self._client(job, work)
            addresses = await additions.undecided(job, account, work)
        provider = self._providers[account.provider]
        with self._paying(org_id, job, account):
            await self._check_workspace(org_id, account, client)  # ids of campaigns repeat elsewhere
            looked = await additions.look(job, client, provider, addresses)
        async with self._units.begin(org_id) as work:
            goes_on = await additions.keep(job, account, provider, looked, work)
            if not await JobRepository(work.session).settle(job, retry_in_seconds=0.0 if goes_on else None):
                raise Superseded

    @contextmanager
    def _paying(self, org_id: OrgId, job: Job, account: Account, *, elsewhere: bool = False) -> Iterator[Spender]:
        """Calls inside the block are paid from the account's budget. `elsewhere`: they go to another server of the
        provider, whose silence says nothing of its API.

        Raises:
            ProviderAway: instead of an error that says as much of this one call, when the account is left alone for now.
        """
        spender = Spender(
            self._units,
            org_id,
            account.id,
            calls_per_minute=self._providers[account.provider].calls_per_minute,
            live=job.kind.is_live,
            elsewhere=elsewhere,
        )
        try:
            with spending(spender):
                yield spender
        except ProviderUnavailable as error:
            if spender.is_left_alone:
                raise ProviderAway(str(error)) from error
            raise

    async def _check_workspace(self, org_id: OrgId, account: Account, client: object) -> None:
        found = await workspaces.read(client)
        if found is None:
            return
        async with self._units.begin(org_id) as work:
            await workspaces.keep(account, found, work)

    async def _client(self, job: Job, work: UnitOfWork) -> tuple[Account, object]:
        return await open_client(job.account_id, work, self._sealer, self._providers, self._http)

    async def _keep(self, org_id: OrgId, job: Job, keep: Keep, *, again_in_seconds: float | None = None) -> None:
        """Results, events and the job's end, or when it goes on, in one transaction."""
        async with self._units.begin(org_id) as work:
            if not await JobRepository(work.session).settle(job, retry_in_seconds=again_in_seconds):
                raise Superseded
            await keep(work)
            crash_point("job.written")
        crash_point("job.committed")

    async def _postpone(self, org_id: OrgId, job: Job, error: Exception, *, seconds: float | None = None) -> str:
        """What has nothing to do with this job (no key of ours, no budget, an outage) is not charged to it."""
        if seconds is None:
            seconds = getattr(error, "retry_after_seconds", None) or PAUSE_SECONDS
        delay = seconds * random.uniform(1, 1.2)
        log.warning("sync_paused", job_id=str(job.id), kind=job.kind.value, org_id=str(org_id),
                    account_id=str(job.account_id), reason=reason_of(error))  # fmt: skip
        with suppress(DependencyDown, OrganizationErased):
            async with self._units.begin(org_id) as work:
                kept = await JobRepository(work.session).postpone(job, in_seconds=delay, reason=reason_of(error))
                if kept and isinstance(error, PlatformError):
                    await asked_jobs.wait(job, error, work)
                if isinstance(error, CredentialRefused):
                    await account_changes.need_credentials(job.account_id, str(error), work)
        return "paused"

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
                again = self._looks_again(job) if delay is None else delay
                if not await jobs.settle(job, failed=again is None, retry_in_seconds=again, error=reason):
                    return "superseded"
                if delay is None:
                    await asked_jobs.fail(job, getattr(error, "code", "internal"), reason, work)
                    await _give_up(job, reason, work)
                elif isinstance(error, PlatformError):
                    await asked_jobs.wait(job, error, work)
        except (DependencyDown, OrganizationErased) as gone:
            return f"left: {type(gone).__name__}"
        return "failed" if delay is None else "due"

    @asynccontextmanager
    async def _held(self, org_id: OrgId, job: Job) -> AsyncIterator[None]:
        """Lengthens the lease while the block runs; a lost lease cancels nothing, as what it leads to is not kept.

        Of an organization that is suspended meanwhile no more is read; what may be a write is let come to its end.
        """
        working = asyncio.current_task()
        stopped: list[OrganizationSuspended] = []

        async def hold() -> None:
            while True:
                await asyncio.sleep(_HOLD_SECONDS)
                with suppress(DependencyDown):
                    async with self._units.begin(org_id) as work:
                        if not await JobRepository(work.session).hold(job, LEASE_SECONDS):
                            return
                    if work.session.is_suspended and job.kind is not JobKind.REGISTER_WEBHOOK and working is not None:
                        stopped.append(OrganizationSuspended())
                        working.cancel()
                        return

        holding = asyncio.create_task(hold())
        try:
            yield
        except asyncio.CancelledError:
            if stopped and working is not None and working.uncancel() == 0:
                raise stopped[0] from None
            raise
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError, OrganizationErased):
                await holding


async def _give_up(job: Job, reason: str, work: UnitOfWork) -> None:
    if job.kind is JobKind.REGISTER_WEBHOOK:
        await registration.give_up(job, reason, work)
    elif job.kind is JobKind.REMOVE_WEBHOOK:
        await rotations.note_removal(job, work, error=reason)
    elif job.kind is JobKind.VERIFY_WEBHOOK:
        await verification.note_failure(job, reason, work)
    elif job.kind in (JobKind.END_TOKEN, JobKind.TEST_ACCOUNT, JobKind.LOOK_FOR_LEADS, *OF_CAMPAIGNS):
        pass  # what is asked for says so by its operation, and the door ends a token by itself
    elif job.kind is JobKind.SNAPSHOT:
        snapshots.tell_nothing(job, reason, work)
    else:
        pulls.tell_end(job, work, "failed", error=reason)
