"""Reads accounts: list by list, page by page, each page kept together with where the next one begins.

A reading may take hours, so nobody holds it for long: after a while it is given back, and goes on where it stood when its
turn comes again. Whoever is killed leaves a lease that runs out, and at most the one page that was not kept yet.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from typing import TypeVar

import httpx

from libs.crash import crash_point
from libs.database.engine import OrganizationErased, Transaction, is_conflict
from libs.errors import (
    CredentialRefused,
    DependencyDown,
    PlatformError,
    ProviderRefused,
    ProviderUnavailable,
    TransientError,
    Unsupported,
)
from libs.ids import CompanyId, OrgId
from libs.messaging.failures import reason_of
from libs.messaging.standing import OrganizationSuspended
from libs.messaging.work import UnitOfWork, Units
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers.calls import NotThere
from libs.providers.capabilities import Feeds, require
from libs.providers.feeds import ListMoved
from libs.providers.registry import Provider
from services.provider_sync.clients import open_client
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Superseded, retry_delay
from services.provider_sync.domain.strategy import SyncMode, may_pull, mode_of
from services.provider_sync.domain.syncs import MOST_ATTEMPTS, MOST_PAGES, MOST_RESTARTS, Cursor, Run
from services.provider_sync.handlers import account_changes, syncs, workspaces
from services.provider_sync.jobs import CONFLICT_SECONDS, NOT_ITS_FAULT, PAUSE_SECONDS, ProviderAway
from services.provider_sync.repository.syncs import SyncRepository, orgs_to_sync, orgs_with_due_syncs
from services.provider_sync.sealing import Sealer
from services.provider_sync.spending import Spender, spending
from services.provider_sync.taking import FairWorker

LEASE_SECONDS = 15.0  # as of a job; each page renews it, and a call that takes long does not let it run out
TURN_SECONDS = 20.0  # then it is somebody else's turn; at Smartlead's limit that is some fifteen pages
CONFLICTS = 3  # transactions that met in a deadlock: tried again at once so often

log = get_logger()
T = TypeVar("T")
Keep = Callable[[UnitOfWork], Awaitable[T]]


class TurnOver(Exception):
    """Others wait."""


class SyncRunWorker(FairWorker[Run]):
    def __init__(
        self,
        units: Units,
        http: httpx.AsyncClient,
        sealer: Sealer,
        *,
        providers: Mapping[str, Provider],
        at_once: int,
        poll_seconds: float,
        full_every: timedelta,
        turn_seconds: float = TURN_SECONDS,
    ) -> None:
        super().__init__(units, at_once=at_once, poll_seconds=poll_seconds)
        self._http = http
        self._sealer = sealer
        self._providers = providers
        self._full_every = full_every
        self._turn_seconds = turn_seconds

    async def due_orgs(self, transaction: Transaction, most: int) -> list[OrgId]:
        return await orgs_with_due_syncs(transaction, most)

    async def take(self, work: UnitOfWork) -> Run | None:
        return await SyncRepository(work.session).take(LEASE_SECONDS)

    async def do(self, org_id: OrgId, run: Run) -> None:
        outcome = "done"
        crash_point("sync.taken")
        with tracing.span("sync run", tracing.SpanKind.INTERNAL):
            try:
                if run.attempts > MOST_ATTEMPTS:
                    raise _Hopeless("it was taken again and again, and never came forward")
                async with self._held(org_id, run):
                    await self._read(org_id, run)
            except TurnOver:
                outcome = await self._give_back(org_id, run, 0.0)
            except NOT_ITS_FAULT as error:
                outcome = await self._wait(org_id, run, error)
            except OrganizationSuspended as error:  # nobody takes it before it is resumed
                outcome = await self._give_back(org_id, run, 0.0, reason_of(error))
            except (DependencyDown, OrganizationErased, Superseded) as error:
                outcome = f"left: {type(error).__name__}"  # its lease runs out, then somebody takes it again
            except Exception as error:  # noqa: BLE001 - a reading must not end without an outcome that can be seen
                outcome = await self._fail(org_id, run, error)
        log.info("sync_run_left", run_id=str(run.id), org_id=str(org_id), account_id=str(run.account_id),
                 outcome=outcome, attempts=run.attempts)  # fmt: skip

    async def _read(self, org_id: OrgId, run: Run) -> None:
        """Go on until the reading is over.

        Raises:
            TurnOver: it is not, and others wait.
        """
        ends_at = time.monotonic() + self._turn_seconds
        async with self._units.begin(org_id) as work:
            account, client = await open_client(run.account_id, work, self._sealer, self._providers, self._http)
        provider = self._providers[account.provider]
        if not may_pull(account, provider):
            raise Unsupported("the account is followed by webhook only, see its sync-strategy")
        feeds = require(client, Feeds, account.provider)  # type: ignore[type-abstract]
        with self._paying(org_id, run, provider):
            await self._check_workspace(org_id, account, client)
            if not run.is_planned:
                await self._plan(org_id, run, account, feeds)
            while True:
                async with self._units.begin(org_id) as work:
                    cursor = await SyncRepository(work.session).next_cursor(run)
                if cursor is None:
                    break
                await self._page(org_id, run, account, feeds, cursor)
                if time.monotonic() > ends_at:
                    raise TurnOver
        async with self._units.begin(org_id) as work:
            if not await syncs.end(run, work):
                raise Superseded
            crash_point("sync.ended")

    async def _plan(self, org_id: OrgId, run: Run, account: Account, feeds: Feeds) -> None:
        told = await feeds.list_feed_campaigns()
        await self._keep(
            org_id,
            lambda work: syncs.keep_plan(
                run, account, feeds.feeds(), told, work, full_every=self._full_every, lease_seconds=LEASE_SECONDS
            ),
        )

    async def _page(self, org_id: OrgId, run: Run, account: Account, feeds: Feeds, cursor: Cursor) -> None:
        """One page read and kept, or what is known of why it could not be."""
        try:
            if cursor.pages >= MOST_PAGES:
                raise ProviderRefused(f"{cursor.feed}: more than {MOST_PAGES} pages")
            page = await feeds.read_feed(cursor.feed, cursor.campaign or None, since=cursor.since, after=cursor.after)
            if page.after is not None and page.after == cursor.after:
                raise ListMoved(f"{cursor.feed}: a page leads to itself")
        except CredentialRefused:
            raise
        except NotThere as error:
            if not cursor.campaign:
                raise
            log.info("sync_campaign_gone", run_id=str(run.id), feed=cursor.feed, reason=reason_of(error))
            await self._pass_over(org_id, run, cursor, None)
        except ListMoved as error:
            await self._begin_anew(org_id, run, cursor, error)
        except PlatformError as error:
            if isinstance(error, TransientError):
                raise
            if cursor.after is not None and isinstance(error, ProviderRefused):  # a cursor that is good no more
                await self._begin_anew(org_id, run, cursor, error)
            else:
                await self._pass_over(org_id, run, cursor, reason_of(error))
        else:
            crash_point("sync.page_fetched")
            await self._keep(
                org_id, lambda work: syncs.keep_page(run, account, cursor, page, work, lease_seconds=LEASE_SECONDS)
            )

    async def _begin_anew(self, org_id: OrgId, run: Run, cursor: Cursor, error: PlatformError) -> None:
        if cursor.restarts >= MOST_RESTARTS:
            await self._pass_over(org_id, run, cursor, reason_of(error))
            return
        await self._keep(org_id, lambda work: syncs.begin_anew(run, cursor, work, lease_seconds=LEASE_SECONDS))

    async def _pass_over(self, org_id: OrgId, run: Run, cursor: Cursor, reason: str | None) -> None:
        await self._keep(org_id, lambda work: syncs.pass_over(run, cursor, reason, work, lease_seconds=LEASE_SECONDS))

    async def _keep(self, org_id: OrgId, keep: Keep[T]) -> T:
        """One transaction; one that met another in a deadlock is tried again: the call was made, its answer is here."""
        for left in reversed(range(CONFLICTS)):
            try:
                async with self._units.begin(org_id) as work:
                    kept = await keep(work)
                    crash_point("sync.page_written")
                crash_point("sync.page_committed")
                return kept
            except Exception as error:
                if not left or not is_conflict(error):
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _paying(self, org_id: OrgId, run: Run, provider: Provider) -> Iterator[None]:
        """Calls inside the block are paid from the account's budget, of which the live floor stays.

        Raises:
            ProviderAway: instead of an error that says as much of one call, when the account is left alone for now.
        """
        spender = Spender(self._units, org_id, run.account_id, calls_per_minute=provider.calls_per_minute, live=False)
        try:
            with spending(spender):
                yield
        except ProviderUnavailable as error:
            if spender.is_left_alone:
                raise ProviderAway(str(error)) from error
            raise

    async def _check_workspace(self, org_id: OrgId, account: Account, client: object) -> None:
        found = await workspaces.read(client)
        if found is not None:
            async with self._units.begin(org_id) as work:
                await workspaces.keep(account, found, work)

    @asynccontextmanager
    async def _held(self, org_id: OrgId, run: Run) -> AsyncIterator[None]:
        """Lengthens the lease while a call takes long. What a lost lease leads to is not kept."""

        async def hold() -> None:
            held = True
            while held:
                await asyncio.sleep(LEASE_SECONDS / 3)
                with suppress(DependencyDown):
                    async with self._units.begin(org_id) as work:
                        held = await SyncRepository(work.session).hold(run, LEASE_SECONDS)

        holding = asyncio.create_task(hold())
        try:
            yield
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError, OrganizationErased):
                await holding

    async def _wait(self, org_id: OrgId, run: Run, error: PlatformError) -> str:
        """What has nothing to do with this reading (no key of ours, no budget, an outage) is not charged to it."""
        seconds = getattr(error, "retry_after_seconds", None) or PAUSE_SECONDS
        outcome = await self._give_back(org_id, run, seconds * random.uniform(1, 1.2), reason_of(error))
        if isinstance(error, CredentialRefused):
            with suppress(DependencyDown, OrganizationErased):
                async with self._units.begin(org_id) as work:
                    await account_changes.need_credentials(run.account_id, str(error), work)
        return outcome

    async def _give_back(self, org_id: OrgId, run: Run, seconds: float, reason: str | None = None) -> str:
        with suppress(DependencyDown, OrganizationErased):
            async with self._units.begin(org_id) as work:
                await SyncRepository(work.session).give_back(run, in_seconds=seconds, is_charged=False, error=reason)
        return "paused" if reason else "goes on"

    async def _fail(self, org_id: OrgId, run: Run, error: Exception) -> str:
        reason = reason_of(error)
        with suppress(DependencyDown, OrganizationErased):
            if is_conflict(error):
                return await self._give_back(org_id, run, CONFLICT_SECONDS * random.uniform(1, 2), reason)
            async with self._units.begin(org_id) as work:
                runs = SyncRepository(work.session)
                delay = self._delay(await runs.attempts(run), error)
                log.log(30 if delay is not None else 40, "sync_run_failed", run_id=str(run.id), org_id=str(org_id),
                        reason=reason, exc_info=None if isinstance(error, PlatformError) else error)  # fmt: skip
                if delay is not None:
                    await runs.give_back(run, in_seconds=delay, is_charged=True, error=reason)
                    return "due"
                code = error.code if isinstance(error, PlatformError) else "internal"
                await syncs.end(run, work, error_code=code, error=reason)
        return "failed"

    def _delay(self, attempts: int, error: Exception) -> float | None:
        """None: it has failed."""
        if isinstance(error, TransientError):
            delay = retry_delay(attempts, random.random())
            return None if delay is None else max(delay, error.retry_after_seconds or 0.0)
        # The same code on the same answer rarely ends otherwise: a bug of ours gets one more chance, a "no" none.
        return None if isinstance(error, PlatformError) or attempts > 1 else retry_delay(attempts, random.random())


class _Hopeless(PlatformError):
    code = "crash"


class SyncSchedule:
    """Has every account read that nobody had read for so long."""

    def __init__(
        self, units: Units, *, providers: Mapping[str, Provider], every_seconds: float, poll_seconds: float
    ) -> None:
        self._units = units
        offered = {one.name: mode_of(one, None) for one in providers.values() if one.offers(Feeds)}
        self._always = sorted(name for name, mode in offered.items() if mode is not SyncMode.WEBHOOK_ONLY)
        self._chosen = sorted(offered.keys() - set(self._always))
        self._every_seconds = every_seconds
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(DependencyDown):
                while await self.run_due():
                    pass
            await asyncio.sleep(self._poll_seconds)

    async def run_due(self) -> int:
        """Ask for what is due now, of some orgs; answers how many readings that were."""
        count = 0
        async with self._units.database.transaction() as transaction:
            orgs = await orgs_to_sync(transaction, self._every_seconds, self._always, self._chosen, 50)
        for org_id in orgs:
            with suppress(OrganizationErased):
                count += await self._of(org_id)
        return count

    async def _of(self, org_id: OrgId) -> int:
        async with self._units.begin(org_id) as work:
            if work.session.is_suspended:
                return 0
            runs = SyncRepository(work.session)
            asked: Sequence[object] = [
                await runs.begin(row["id"], CompanyId(row["company_id"]), reason="schedule", is_full=False)
                for row in await runs.accounts_to_read(self._every_seconds, self._always, self._chosen)
            ]
        return sum(one is not None for one in asked)
