"""A process of its own that works on replays and their letters until it is killed: `python -m …replaying_process`.

Its handler counts how often each letter was applied: what is applied twice shows.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence

from libs.contracts.events import OrganizationCreatedV1
from libs.database.engine import Database
from libs.messaging.consumer import Consumer, RetryPolicy
from libs.messaging.due import run_due
from libs.messaging.processor import Processor
from libs.messaging.replaying import Replays
from libs.messaging.work import UnitOfWork
from tests.fixtures.database import MigratedDatabase

QUEUE = "analytics.tenants"


async def count(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
    await work.session.execute(
        "INSERT INTO applied AS a SELECT $1, name, 1 FROM unnest($2::text[]) AS t (name) "
        "ON CONFLICT (org_id, name) DO UPDATE SET times = a.times + 1",
        work.org_id,
        [event.name for event in events],
    )


def processor(database: Database) -> Processor:
    return Processor(database, Consumer(QUEUE, (OrganizationCreatedV1,), count, RetryPolicy((), ())), "analytics")


async def main() -> None:
    migrated = MigratedDatabase(**json.loads(os.environ["MIGRATED"]))
    database = migrated.open("analytics")
    working = processor(database)
    async with asyncio.TaskGroup() as group:
        group.create_task(run_due(working))
        group.create_task(Replays(database, "analytics", {QUEUE: working}).run())


if __name__ == "__main__":
    asyncio.run(main())
