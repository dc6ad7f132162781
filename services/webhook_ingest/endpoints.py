"""The endpoints of all orgs, in memory: a token must be judged before its tenant is known, on every request.

Fresh by three ways: a NOTIFY when a consumer's transaction commits (any replica's), a poll as the net under it, and a
look at the database before any token is refused.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from libs.database.engine import Database, is_down
from libs.errors import DependencyDown
from libs.messaging.waking import woken_or_after
from libs.observability.logs import get_logger
from services.webhook_ingest import repository
from services.webhook_ingest.domain import NOBODY, Endpoint

POLL_SECONDS = 5.0
_WHOLE_EVERY_SECONDS = 60.0  # reads all: so deleted rows go, and one that took longest to commit is seen
_OVERLAP = timedelta(seconds=90)  # longer than any transaction that changes an endpoint
_GAP_SECONDS = 0.25  # between two looks that refused tokens ask for: a guesser costs four small queries a second
_LOOK_SECONDS = 5.0
_MAX_WAITING = 200  # each holds a body in memory

log = get_logger()


class Endpoints:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, Endpoint] = {}
        self._read_until: datetime | None = None  # database time
        self._whole_at = -_WHOLE_EVERY_SECONDS
        self._looked_at = -_GAP_SECONDS
        self._lock = asyncio.Lock()
        self._next_look: asyncio.Task[None] | None = None
        self._waiting = 0
        self._context = contextvars.copy_context()  # a look serves many requests and belongs to the trace of none

    @property
    def are_known(self) -> bool:
        """Whether they were read at least once."""
        return self._read_until is not None

    def find(self, endpoint_id: UUID) -> Endpoint:
        """The endpoint, or NOBODY, which no token opens."""
        return self._known.get(endpoint_id, NOBODY)

    async def look_again(self) -> None:
        """Wait for a look at the database that begins after this call; those who wait share it.

        Raises:
            DependencyDown: the database is away, or too many wait already: nobody can say whether the token is good.
        """
        if self._waiting >= _MAX_WAITING:
            raise DependencyDown("too many requests wait for a look at the endpoints")
        if self._next_look is None:
            self._next_look = asyncio.create_task(self._look_after_gap(), context=self._context)
            self._next_look.add_done_callback(lambda task: task.cancelled() or task.exception())
        with self._counted():
            try:
                await asyncio.shield(self._next_look)
            except DependencyDown:
                raise
            except Exception as error:
                raise DependencyDown("the endpoints could not be read") from error

    async def refresh(self) -> None:
        """Read what changed since the last look, from time to time everything.

        Raises:
            DependencyDown: the database is away; what was known stays.
        """
        async with self._lock:
            await self._read()

    async def run(self) -> None:
        """Keep them fresh, until cancelled."""
        wait = 0.2
        while True:
            try:
                async with self._listening() as woken:
                    while True:
                        woken.clear()
                        await self.refresh()
                        wait = 0.2
                        await woken_or_after(woken, POLL_SECONDS)
            except Exception as error:
                if not (isinstance(error, DependencyDown) or is_down(error)):
                    raise
                log.warning("endpoints_not_read", error=type(error).__name__)
                await asyncio.sleep(random.uniform(0, wait))
                wait = min(wait * 2, POLL_SECONDS)

    async def _look_after_gap(self) -> None:
        await asyncio.sleep(self._looked_at + _GAP_SECONDS - time.monotonic())
        async with self._lock:
            self._next_look = None  # whoever comes from here on needs a later look
            self._looked_at = time.monotonic()
            await self._read()

    async def _read(self) -> None:
        started = time.monotonic()
        whole = started - self._whole_at >= _WHOLE_EVERY_SECONDS
        since = None if whole or self._read_until is None else self._read_until - _OVERLAP
        try:
            async with asyncio.timeout(_LOOK_SECONDS), self._database.transaction() as transaction:
                now, found = await repository.known_endpoints(transaction, since)
        except TimeoutError:
            raise DependencyDown("the database does not answer") from None
        known = {} if since is None else self._known
        for endpoint in found:
            if known.get(endpoint.id, NOBODY).revision <= endpoint.revision:
                known[endpoint.id] = endpoint
        self._known, self._read_until = known, now
        if whole:
            self._whole_at = started

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[asyncio.Event]:
        """Set whenever a transaction that changed endpoints has committed; also when the connection is lost."""
        woken = asyncio.Event()
        connection = await asyncpg.connect(self._database.url.url, timeout=5)
        try:
            await connection.add_listener(repository.ENDPOINTS_CHANNEL, lambda *_: woken.set())
            connection.add_termination_listener(lambda *_: woken.set())
            yield woken
        finally:
            with suppress(Exception):
                await connection.close(timeout=2)
