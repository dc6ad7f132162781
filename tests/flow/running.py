"""The stack with its loops running, as the host runs them: relays, consumers, due takers, erasers, counts, jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from libs.database.names import process_name
from libs.errors import DependencyDown
from libs.messaging import ledger
from libs.messaging.due import run_due
from libs.messaging.erasure import Eraser
from libs.messaging.rabbit import RabbitTransport
from libs.messaging.relay import Relay
from tests.security.stack import Stack

_FOLD_SECONDS = 0.1


@asynccontextmanager
async def running(stack: Stack, amqp_url: str | None) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Everything runs within the block: over the broker at `amqp_url`, or within this process. A loop that fails ends it."""
    loops: list[Awaitable[None]] = []
    async with AsyncExitStack() as exits:
        rabbit: dict[str, RabbitTransport] = {}
        for name, database in stack.databases.items():
            process = process_name(name)
            if amqp_url is not None:
                rabbit[process] = RabbitTransport(amqp_url, process)
                exits.push_async_callback(rabbit[process].close)
            loops.append(Relay(database, rabbit.get(process, stack.transport)).run())
            loops.append(Eraser(database, process).run())
            loops.append(_fold(stack, name))
        for processor in stack.processors:
            loops.append(run_due(processor))
            if rabbit:
                loops.append(rabbit[processor.source].serve(processor))
        loops += [job.run() for service in stack.services.values() for job in service.jobs]
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        try:
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [one for one in ended if isinstance(one, Exception)]
        assert failed == []


async def _fold(stack: Stack, name: str) -> None:
    while True:
        with suppress(DependencyDown):
            await ledger.fold(stack.databases[name], process_name(name))
        await asyncio.sleep(_FOLD_SECONDS)
