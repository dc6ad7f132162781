"""Two consumers of one event, on one of the transports: what the conformance suite drives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import asyncpg

from libs.contracts.envelope import Envelope
from libs.contracts.events import OrganizationCreatedV1
from libs.database.names import STANDALONE
from libs.ids import OrgId, new_id
from libs.messaging.consumer import Consumer, RetryPolicy
from libs.messaging.due import run_due
from libs.messaging.in_process import InProcessTransport
from libs.messaging.processor import Processor
from libs.messaging.rabbit import RabbitTransport
from libs.messaging.relay import Relay
from libs.messaging.work import UnitOfWork, Units
from tests.fixtures.database import MigratedDatabase

Hook = Callable[[Sequence[Any], UnitOfWork], Awaitable[None]]
LISTENERS = {"analytics": "analytics.tenants", "provider_sync": "provider-sync.tenants"}
RETRY = RetryPolicy(delays_seconds=(0.05, 0.05), bug_delays_seconds=(0.05,))


class House:
    """The gateway tells `organization.created`; analytics and provider-sync write what they hear into `heard_names`."""

    def __init__(self, migrated: MigratedDatabase, amqp_url: str | None) -> None:
        self.migrated = migrated
        self.amqp_url = amqp_url
        self.gateway = migrated.open("gateway")
        self.units = Units(self.gateway, "gateway")
        self.hooks: dict[str, Hook] = {}
        self.processors: dict[str, Processor] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._transports: list[RabbitTransport | InProcessTransport] = []
        self._in_process = InProcessTransport(migrated.open(STANDALONE)) if amqp_url is None else None
        for service, queue in LISTENERS.items():
            consumer = Consumer(queue, (OrganizationCreatedV1,), self._handler(queue), RETRY)
            processor = Processor(migrated.open(service), consumer, queue.split(".", 1)[0])
            self.processors[queue] = processor
            if self._in_process is not None:
                self._in_process.attach(processor)

    def _handler(self, queue: str) -> Hook:
        async def handle(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
            if hook := self.hooks.get(queue):
                await hook(events, work)
            withheld = [event for event, _ in work.withheld]
            await work.session.executemany(
                "INSERT INTO heard_names (org_id, name) VALUES ($1, $2)",
                [(work.org_id, event.name) for event in events if event not in withheld],
            )

        return handle

    def transport(self, process: str) -> RabbitTransport | InProcessTransport:
        made = self._in_process or RabbitTransport(self.amqp_url or "", process)
        self._transports.append(made)
        return made

    def start(self, *names: str) -> None:
        """Start `relay` and consumers by queue; all of them when none is named. What runs already is left alone."""
        for name in names or ("relay", *LISTENERS.values()):
            if name in self.tasks:
                continue
            if name == "relay":
                self.tasks[name] = asyncio.create_task(Relay(self.gateway, self.transport("gateway")).run())
            else:
                self.tasks[name] = asyncio.create_task(self._consume(self.processors[name]))

    async def _consume(self, processor: Processor) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.transport(processor.source).serve(processor))
            group.create_task(run_due(processor))

    async def stop(self, *names: str) -> None:
        for name in names or tuple(self.tasks):
            task = self.tasks.pop(name)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def tell(self, org_id: OrgId, *names: str) -> list[Envelope]:
        async with self.units.begin(org_id) as work:
            return [work.publish(OrganizationCreatedV1(organization_id=new_id(), name=name)) for name in names]

    async def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.migrated.admin_url)
        try:
            return list(await connection.fetch(sql, *arguments))
        finally:
            await connection.close()

    async def effects(self, service: str) -> list[str]:
        return [row["name"] for row in await self.query(f"SELECT name FROM {service}.heard_names ORDER BY name")]

    async def inbox(self, queue: str) -> list[asyncpg.Record]:
        schema = queue.split(".", 1)[0].replace("-", "_")
        return await self.query(f"SELECT * FROM {schema}.inbox WHERE consumer = $1 ORDER BY first_seen", queue)

    async def close(self) -> None:
        await self.stop()
        for transport in self._transports:
            await transport.close()
        if self._in_process is not None:
            await self._in_process.close()
        for processor in self.processors.values():
            await processor.database.close()
        await self.gateway.close()


@asynccontextmanager
async def open_house(migrated: MigratedDatabase, amqp_url: str | None) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        admin = await asyncpg.connect(migrated.admin_url)
        try:
            for service in LISTENERS:
                login = f"{migrated.template}_{service}"
                await admin.execute(
                    f"CREATE TABLE {service}.heard_names (org_id uuid NOT NULL, name text NOT NULL);"
                    f"ALTER TABLE {service}.heard_names ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
                    f'CREATE POLICY org ON {service}.heard_names TO "{login}" USING (org_id = (SELECT {service}.app_org_id()));'
                    f'GRANT SELECT, INSERT, DELETE, UPDATE ON {service}.heard_names TO "{login}"'
                )
        finally:
            await admin.close()
        house = House(migrated, amqp_url)
        stack.push_async_callback(house.close)
        yield house


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until the condition holds; fail naming it when it does not."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.03)
