"""Workers that take rows of work fairly over orgs and do several at once. What is taken, and how it is done, they say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Generic, TypeVar

from libs.database.engine import OrganizationErased, Transaction
from libs.errors import DependencyDown
from libs.ids import OrgId
from libs.messaging.work import UnitOfWork, Units

T = TypeVar("T")


class FairWorker(Generic[T]):
    def __init__(self, units: Units, *, at_once: int, poll_seconds: float) -> None:
        self._units = units
        self._at_once = at_once
        self._poll_seconds = poll_seconds
        self._running: set[asyncio.Task[None]] = set()

    async def due_orgs(self, transaction: Transaction, most: int) -> list[OrgId]:
        """Orgs that have work and are served, in random order."""
        raise NotImplementedError

    async def take(self, work: UnitOfWork) -> T | None:
        """One piece of work of this org, under a lease."""
        raise NotImplementedError

    async def do(self, org_id: OrgId, taken: T) -> None:
        """Do it; whatever happens is kept as its outcome."""
        raise NotImplementedError

    async def run(self) -> None:
        """Until cancelled; what runs then is cancelled too, and is taken again once its lease is over."""
        try:
            while True:
                taken = 0
                with suppress(DependencyDown):
                    taken = await self._take()
                if self._running and (taken == 0 or len(self._running) >= self._at_once):
                    await asyncio.wait(self._running, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
                elif not taken:
                    await asyncio.sleep(self._poll_seconds)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def run_due(self) -> int:
        """Do what is due now, and all that becomes due at once through it; answers how many pieces were taken."""
        count = 0
        while taken := await self._take():
            count += taken
            await asyncio.gather(*self._running)
        return count

    async def _take(self) -> int:
        """Start one piece of work per org that has any, as far as there is room."""
        room = self._at_once - len(self._running)
        if room <= 0:
            return 0
        async with self._units.database.transaction() as transaction:
            orgs = await self.due_orgs(transaction, room)
        started = 0
        for org_id in orgs:
            taken = None
            with suppress(OrganizationErased):
                async with self._units.begin(org_id) as work:
                    if not work.session.is_suspended:
                        taken = await self.take(work)
            if taken is not None:
                task = asyncio.create_task(self.do(org_id, taken))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                started += 1
        return started
