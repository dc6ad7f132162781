"""The relay: publishes a service's outbox. One leader at a time; two at once would cost duplicates, never a row."""

from __future__ import annotations

import asyncio
import random
import zlib
from contextlib import suppress

import asyncpg

from libs.database.engine import Database, is_down
from libs.errors import DependencyDown
from libs.messaging import outbox
from libs.messaging.transport import Transport
from libs.messaging.waking import woken_or_after
from libs.observability.logs import get_logger

RELAY_ROWS = 1000
POLL_SECONDS = 1.0  # the net under NOTIFY
_BACKOFF_SECONDS = (0.2, 5.0)

log = get_logger()


class Relay:
    def __init__(self, database: Database, transport: Transport) -> None:
        self.database = database
        self.transport = transport

    async def run(self) -> None:
        """Until cancelled. An absent broker or database means slow probing and a growing outbox, not a storm of errors."""
        wait, away = _BACKOFF_SECONDS[0], False
        while True:
            try:
                async with _Leadership(self.database) as woken:
                    while True:
                        woken.clear()
                        seen = await self.transport.relay(self.database, RELAY_ROWS)
                        if away:
                            log.info("relay_resumed", schema=self.database.schema)
                        wait, away = _BACKOFF_SECONDS[0], False
                        if not seen:
                            await woken_or_after(woken, POLL_SECONDS)
            except Exception as error:
                if not (isinstance(error, DependencyDown) or is_down(error)):
                    log.error("relay_failed", schema=self.database.schema, exc_info=error)
                elif not away:
                    log.warning("relay_paused", schema=self.database.schema, reason=str(error)[:200])
                away = True
                await asyncio.sleep(random.uniform(0, wait))
                wait = min(wait * 2, _BACKOFF_SECONDS[1])


class _Leadership:
    """Holds the advisory lock and listens for NOTIFY on one connection of its own; losing it loses both."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._woken = asyncio.Event()

    async def __aenter__(self) -> asyncio.Event:
        self._connection = await asyncpg.connect(self._database.url.url, timeout=5)
        try:
            key = zlib.crc32(f"outrider relay {self._database.schema}".encode())
            while not await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110 - only the database can tell
                await asyncio.sleep(POLL_SECONDS)
            await self._connection.add_listener(outbox.channel(self._database.schema), lambda *_: self._woken.set())
            self._connection.add_termination_listener(lambda *_: self._woken.set())
        except BaseException:
            await self._connection.close(timeout=2)
            raise
        return self._woken

    async def __aexit__(self, *_: object) -> None:
        with suppress(Exception):
            await self._connection.close(timeout=2)
