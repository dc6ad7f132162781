"""What stands on the broker: declared in one place, by one job, before any relay starts. Taken whole from the contracts.

No alternate exchange (a mandatory publish would then never be returned). Consumer queues have no length cap: a full one would
make the broker refuse the publish for every other listener. Only the dead queues, the backstop, are capped.
"""

from __future__ import annotations

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractQueue

from libs.contracts.event import registry

EVENTS = "events"
DEAD = "dead"

# A return counts also when a consumer merely closed (a deploy), so the limit is high; attempts are ours, in the inbox.
DELIVERY_LIMIT = 20
DEAD_QUEUE_LENGTH = 100_000


def dead_queue(process: str) -> str:
    return f"{process}.dead"


async def declare(amqp_url: str) -> list[str]:
    """Declare exchanges, queues and bindings; answers the queues' names. Safe to run again and again.

    Raises:
        aio_pika.exceptions.AMQPError: the broker refused, or holds a queue of this name with other arguments.
    """
    connection = await aio_pika.connect(amqp_url, timeout=10)
    async with connection:
        channel = await connection.channel()
        events = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
        dead = await channel.declare_exchange(DEAD, aio_pika.ExchangeType.DIRECT, durable=True)
        queues = registry.queues()
        for process in sorted({name.split(".", 1)[0] for name in queues}):
            backstop = await channel.declare_queue(
                dead_queue(process),
                durable=True,
                arguments={"x-queue-type": "quorum", "x-max-length": DEAD_QUEUE_LENGTH, "x-overflow": "reject-publish"},
            )
            await backstop.bind(dead, routing_key=process)
        for name, types in queues.items():
            queue = await _consumer_queue(channel, name)
            for event_type in types:
                await queue.bind(events, routing_key=event_type)
        return list(queues)


async def _consumer_queue(channel: AbstractChannel, name: str) -> AbstractQueue:
    return await channel.declare_queue(
        name,
        durable=True,
        arguments={
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": DEAD,
            "x-dead-letter-routing-key": name.split(".", 1)[0],
            # At-least-once or a dead letter is lost when its exchange is away; it demands reject-publish.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        },
    )
