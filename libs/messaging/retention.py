"""Keeps tables that are cut into weeks (libs.database.partitions) as long as they should be: weeks made ahead, old ones dropped.

The service may not do that itself; it calls a function of the schema's owner, which knows the table and refuses to forget
what is younger than 14 days. A week that still holds more open rows than are moved in a moment waits, and is said to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from libs.clock import now
from libs.crash import crash_point
from libs.database.engine import Database
from libs.errors import DependencyDown
from libs.messaging.consumer import Consumer
from libs.observability import metrics
from libs.observability.logs import get_logger
from libs.settings import BadSetting

EVERY_SECONDS = 600.0
_AGAIN_SECONDS = 5.0  # somebody held the table: for 30 s at most, as every statement
WEEK = timedelta(days=7)  # so much longer than asked for a row may live: its week goes as a whole

log = get_logger()


@dataclass(frozen=True, slots=True)
class Kept:
    """How far a table is kept. `oldest`: when the oldest row was minted that its week still holds (None: there is none);
    `forgotten_before`: what is older is gone unless it was open; `still_open`: of that."""

    table: str
    keep_days: int
    oldest: datetime | None
    forgotten_before: datetime
    made_until: datetime
    still_open: int

    @property
    def allowed(self) -> timedelta:
        return timedelta(days=self.keep_days) + WEEK

    def is_overdue(self, at: datetime) -> bool:
        """The oldest row should be gone, by the policy and an hour to get to it."""
        return self.oldest is not None and at - self.oldest > self.allowed + timedelta(hours=1)

    def is_short(self, at: datetime) -> bool:
        """The weeks made ahead end soon: nobody has made one for long. Nothing is refused, but nothing is forgotten either."""
        return self.made_until - at < WEEK


class Retention:
    """One service's. Replicas may run it at once: one of them works on a table at a time."""

    def __init__(self, database: Database, keep_days: Mapping[str, int]) -> None:
        self._database = database
        self._keep_days = dict(keep_days)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            wait = EVERY_SECONDS
            with suppress(DependencyDown):
                if not await self.run_once():
                    wait = _AGAIN_SECONDS
            await asyncio.sleep(random.uniform(wait / 2, wait))

    async def run_once(self) -> bool:
        """Make and drop weeks, tell the gauges; answers False if somebody held a table for too long: come again soon."""
        in_time = True
        for table, days in self._keep_days.items():
            in_time &= await self._move(table, days)
            kept = await kept_of(self._database, table, days)
            at = now()
            labels = {"service": self._database.service, "table": table}
            metrics.record(metrics.OLDEST_ROW, (at - kept.oldest).total_seconds() if kept.oldest else 0, **labels)
            metrics.record(metrics.OLDEST_ALLOWED, kept.allowed.total_seconds(), **labels)
            metrics.record(metrics.OPEN_BEYOND, kept.still_open, **labels)
            if kept.is_overdue(at) or kept.is_short(at):
                log.error("retention_overdue", table=table, schema=self._database.schema, keep_days=days,
                          oldest=str(kept.oldest), made_until=str(kept.made_until))  # fmt: skip
        return in_time

    async def _move(self, table: str, days: int) -> bool:
        dropped = 1
        while dropped:
            try:
                async with self._database.transaction() as transaction:
                    await transaction.as_service()
                    row = await transaction.driver.fetchrow(f"SELECT * FROM {table}_partitions_v1($1)", days)
                    crash_point("retention.moved")
            except asyncpg.LockNotAvailableError:
                return False
            assert row is not None
            dropped = row["dropped"]
            if row["made"] or dropped:
                log.info("weeks_moved", table=table, schema=self._database.schema, made=row["made"], dropped=dropped)
            if row["waiting"]:
                log.warning("week_waits", table=table, schema=self._database.schema, open_rows=row["waiting"],
                            advice="replay or discard what is open in the oldest week, then it is dropped")  # fmt: skip
        return True


async def kept_of(database: Database, table: str, keep_days: int) -> Kept:
    """How far `table` is kept."""
    async with database.transaction() as transaction:
        await transaction.as_service()
        row = await transaction.driver.fetchrow(f"SELECT * FROM {table}_kept_v1()")
    assert row is not None
    return Kept(table=table, keep_days=keep_days, **dict(row))


def check_horizon(consumers: Sequence[Consumer], inbox_days: int) -> None:
    """What is retried, or comes again, must still be remembered.

    Raises:
        BadSetting: a consumer retries for longer than half of what its inbox remembers.
    """
    for consumer in consumers:
        longest = timedelta(seconds=sum(max(consumer.retry.delays_seconds, consumer.retry.bug_delays_seconds, key=sum)))
        if longest > timedelta(days=inbox_days) / 2:
            raise BadSetting(
                f"OUTRIDER_INBOX_DAYS is wrong: {consumer.queue} retries for {longest}, which must be at most half of it"
            )
