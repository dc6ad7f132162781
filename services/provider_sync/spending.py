"""Every call to a provider is paid from its account's budget, before it is made, and what became of it is noted there.

Whoever works for an account does so inside `spending(...)`; the transport under all adapters finds out by itself who pays.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from uuid import UUID

import httpx

from libs.errors import DependencyDown, NotSent
from libs.ids import OrgId
from libs.messaging.work import Units
from libs.observability.logs import get_logger
from libs.providers.calls import retry_after_seconds
from services.provider_sync.domain import budgets
from services.provider_sync.domain.budgets import Budget
from services.provider_sync.repository.budgets import BudgetRepository

PATIENCE_SECONDS = 5.0  # a longer wait is not slept through: the work goes back, and another's is done

log = get_logger()

Change = Callable[[Budget, datetime], Budget]


class BudgetSpent(NotSent):
    """The account may not be called now."""

    code = "budget_spent"


class Spender:
    """One account's purse in the hands of one piece of work. `live`: people or events wait for it.

    `elsewhere`: what is called is not the provider's API, so how it answers says nothing of that. `calls` were made, and
    waited for their answers to begin for `seconds`, the slowest for `slowest_seconds`.
    """

    def __init__(
        self,
        units: Units,
        org_id: OrgId,
        account_id: UUID,
        *,
        calls_per_minute: int,
        live: bool,
        elsewhere: bool = False,
    ) -> None:
        self._units = units
        self._org_id = org_id
        self._account_id = account_id
        self._calls_per_minute = calls_per_minute
        self._live = live
        self._elsewhere = elsewhere
        self._healthy = True
        self.calls = 0
        self.seconds = 0.0
        self.slowest_seconds = 0.0
        self.is_left_alone = False  # by the time of the last call: too many had got no answer

    async def spend(self) -> None:
        """Returns once a call may be made.

        Raises:
            BudgetSpent: not within PATIENCE_SECONDS.
        """
        while True:
            wait, why = await self._ask()
            if not wait:
                return
            if wait > PATIENCE_SECONDS:
                raise BudgetSpent(f"the account may not be called for {wait:.0f} s: {why}", retry_after_seconds=wait)
            await asyncio.sleep(wait)

    def took(self, seconds: float) -> None:
        """A call was made, and took so long."""
        self.calls += 1
        self.seconds += seconds
        self.slowest_seconds = max(self.slowest_seconds, seconds)

    async def answered(self) -> None:
        if not self._healthy:  # most calls follow a good one: then there is nothing to note
            await self._note(lambda budget, _: budgets.answered(budget))
            self._healthy = True

    async def limited(self, retry_after: float | None) -> None:
        self._healthy = False
        await self._note(lambda budget, at: budgets.limited(budget, at, retry_after))

    async def unanswered(self) -> None:
        self._healthy = False
        await self._note(lambda budget, at: budgets.unanswered(budget, at, random.random()))

    async def _ask(self) -> tuple[float, str]:
        async with self._units.begin(self._org_id) as work:
            rows = BudgetRepository(work.session)
            locked = await rows.lock(self._account_id, self._calls_per_minute)
            if locked is None:
                return 0.0, ""  # the account is gone; whoever keeps the results will see
            known, at = locked
            changed, wait = budgets.spend(known, self._calls_per_minute, at, live=self._live)
            self._healthy = changed.failures == 0
            if changed != known:
                await rows.keep(self._account_id, changed)
        return wait, changed.pause_reason or "its calls of this minute are used up"

    async def _note(self, change: Change) -> None:
        if self._elsewhere:
            return
        # What cannot be noted is noted by the next call: the provider says it again.
        with suppress(DependencyDown):
            async with self._units.begin(self._org_id) as work:
                kept = await BudgetRepository(work.session).change(self._account_id, self._calls_per_minute, change)
            self.is_left_alone = kept is not None and kept.is_suspect
            if kept is not None and kept.paused_until is not None:
                log.warning("account_paused", org_id=str(self._org_id), account_id=str(self._account_id),
                            until=kept.paused_until.isoformat(), reason=kept.pause_reason, failures=kept.failures)  # fmt: skip


_spender: ContextVar[Spender | None] = ContextVar("spender", default=None)


@contextmanager
def spending(spender: Spender) -> Iterator[None]:
    """Calls made inside the block by this task, and by tasks it starts, are paid by `spender`."""
    token = _spender.set(spender)
    try:
        yield
    finally:
        _spender.reset(token)


class PaidTransport(httpx.AsyncBaseTransport):
    """The network as `inner` reaches it, at the expense of whoever works."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        spender = _spender.get()
        if spender is None:
            return await self._inner.handle_async_request(request)
        await spender.spend()
        began = time.monotonic()
        try:
            response = await self._inner.handle_async_request(request)
        except httpx.TransportError:
            await spender.unanswered()
            raise
        finally:
            spender.took(time.monotonic() - began)
        if response.status_code == 429:
            await spender.limited(retry_after_seconds(response.headers.get("retry-after")))
        elif response.status_code >= 500:
            await spender.unanswered()
        else:
            await spender.answered()
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
