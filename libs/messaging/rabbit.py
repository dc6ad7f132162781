"""Events over RabbitMQ: persistent, mandatory, confirmed on the way out; batches acked after the commit on the way in.

Every long-running task holds a connection of its own and starts over when it breaks: a channel that was nacked once may be
nacked for ever (seen after a quorum leader's death), so it is reopened, never reused.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast
from uuid import UUID

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError, PublishError
from aiormq.exceptions import AMQPException

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.crash import crash_point
from libs.database.engine import Database
from libs.errors import ContractViolated, DependencyDown
from libs.ids import PLATFORM_ORG, EventId, entity_id
from libs.messaging import outbox, topology
from libs.messaging.processor import Processor
from libs.messaging.wire import CONTENT_TYPE, UNREADABLE, WireBatch, pack, unpack
from libs.observability import tracing
from libs.observability.logs import get_logger

PUBLISH_TIMEOUT_SECONDS = 15
HEARTBEAT_SECONDS = 20
PREFETCH_MESSAGES = (
    64  # wire messages, each up to 200 events: a crash takes its prefetch window along, so no more than needed
)
SUSPECT_DELIVERIES = 2
_LAST_CONFIRMS_SECONDS = 0.5  # what came before the channel closed may still be on its way to the waiters
_BACKOFF_SECONDS = (0.2, 5.0)
# So long nothing came: ask whether anything could. Twice that, and a restart, are under the minute that a deaf consumer may take.
LOOK_SECONDS = 15.0
_ANSWER_SECONDS = 10.0  # a queue that is being deleted never answers (3.10.8)
# A channel that closed under a call says so with a RuntimeError of its own.
_BROKEN = (AMQPError, AMQPException, ChannelInvalidStateError, OSError, TimeoutError, asyncio.InvalidStateError)

log = get_logger()


class RabbitTransport:
    def __init__(
        self, amqp_url: str, process: str, *, publish_timeout_seconds: float = PUBLISH_TIMEOUT_SECONDS
    ) -> None:
        """`process` is the service's name on the broker (`provider-sync`), shown there for each connection."""
        self._url = amqp_url
        self._process = process
        self._publish_timeout_seconds = publish_timeout_seconds
        self._publishing: AsyncExitStack | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None

    async def relay(self, database: Database, limit: int) -> int:
        exchange = await self._open()
        async with database.transaction() as transaction:
            await transaction.as_dispatch()
            rows = await outbox.take(transaction.driver, database.schema, limit)
            if not rows:
                return 0
            batches = list(pack(rows))
            crash_point("relay.taken")
            outcomes = await self._publish_all(exchange, batches)
            crash_point("relay.published")
            confirmed: list[UUID] = []
            returned: list[WireBatch] = []
            failed: BaseException | None = None
            for batch, outcome in zip(batches, outcomes, strict=True):
                if outcome is None:
                    confirmed += batch.ids
                elif isinstance(outcome, PublishError):
                    returned.append(batch)
                else:
                    failed = outcome
            await outbox.delete(transaction.driver, database.schema, confirmed)
            for batch in returned:
                await outbox.mark_returned(transaction.driver, database.schema, batch.ids)
            crash_point("relay.deleted")
        crash_point("relay.committed")
        for batch in returned:
            log.error("event_unroutable", type=batch.routing_key, events=len(batch.ids), schema=database.schema,
                      advice="no queue listens to this type: run `outrider topology` or deploy the listener")  # fmt: skip
        if failed is not None:
            await self._shut()
            if isinstance(failed, _BROKEN):
                raise DependencyDown(f"the broker did not confirm: {type(failed).__name__}") from failed
            raise failed
        return len(confirmed)

    async def _publish_all(
        self, exchange: AbstractExchange, batches: Sequence[WireBatch]
    ) -> list[BaseException | None]:
        """Publish at once what goes to different queues. A channel that closes ends the wait: its confirms never come."""
        assert self._channel is not None
        publishing = [asyncio.ensure_future(self._publish(exchange, batch)) for batch in batches]
        confirmed = asyncio.gather(*publishing, return_exceptions=True)
        closed: asyncio.Future[Any] = asyncio.ensure_future(self._channel.closed())
        try:
            await asyncio.wait({cast("asyncio.Future[Any]", confirmed), closed}, return_when=asyncio.FIRST_COMPLETED)
            if not confirmed.done():
                await asyncio.wait({confirmed}, timeout=_LAST_CONFIRMS_SECONDS)
        finally:
            closed.cancel()
            for one in publishing:
                one.cancel()
        outcomes = await confirmed
        return [ConnectionError("closed") if isinstance(one, asyncio.CancelledError) else one for one in outcomes]

    async def _open(self) -> AbstractExchange:
        if self._exchange is not None and self._channel is not None and not self._channel.is_closed:
            return self._exchange
        await self._shut()
        stack = AsyncExitStack()
        try:
            connection = await stack.enter_async_context(await self._connect("relay"))
            # on_return_raises: without it a returned message looks like a confirmed one to the caller.
            self._channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            self._exchange = await self._channel.get_exchange(topology.EVENTS, ensure=False)
        except _BROKEN as error:
            await stack.aclose()
            raise DependencyDown(f"the broker is away: {type(error).__name__}") from error
        self._publishing = stack
        return self._exchange

    async def _connect(self, what: str) -> aio_pika.abc.AbstractConnection:
        name = f"{self._process} {what}"
        # A heartbeat in the URL's query is somebody's choice.
        query: dict[str, Any] = {} if "heartbeat=" in self._url else {"heartbeat": HEARTBEAT_SECONDS}
        connection: aio_pika.abc.AbstractConnection = await aio_pika.connect(
            self._url, timeout=10, client_properties={"connection_name": name}, **query
        )
        return connection

    async def _publish(self, exchange: AbstractExchange, batch: WireBatch) -> None:
        with tracing.span(
            f"publish {batch.routing_key}",
            tracing.SpanKind.PRODUCER,
            causes=batch.traceparents,
            events=len(batch.ids),
        ):
            message = aio_pika.Message(
                batch.body,
                content_type=CONTENT_TYPE,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                headers={"offsets": list(batch.offsets)},
                app_id=self._process,
            )
            await exchange.publish(message, batch.routing_key, mandatory=True, timeout=self._publish_timeout_seconds)

    async def _shut(self) -> None:
        stack, self._publishing, self._exchange = self._publishing, None, None
        if stack is not None:
            try:
                await asyncio.wait_for(stack.aclose(), 5)
            except _BROKEN as error:
                log.debug("broker_close_failed", error=type(error).__name__)

    async def serve(self, processor: Processor) -> None:
        async def handle(messages: Sequence[AbstractIncomingMessage]) -> None:
            fresh: list[Envelope] = []
            suspects: list[Envelope] = []
            for message in messages:
                came_back = int(str(message.headers.get("x-delivery-count") or 0)) >= SUSPECT_DELIVERIES
                (suspects if came_back else fresh).extend(_read(message))
            if suspects:
                await processor.defer(suspects)
            if fresh:
                await processor.deliver(fresh)

        await self._consume(processor.queue, handle)

    async def drain(self, database: Database, processors: dict[str, Processor]) -> None:
        """File what the broker gave up on into the inbox of its consumer; until cancelled.

        An event with the broker's limit but no failed attempt of ours was most likely the neighbour of one that kills the
        process: it becomes due and runs alone, and only what is then still never answered is dead.
        """

        async def handle(messages: Sequence[AbstractIncomingMessage]) -> None:
            for message in messages:
                deaths = message.headers.get("x-death")
                queue = str(deaths[0]["queue"]) if isinstance(deaths, list) and deaths else ""  # type: ignore[index,call-overload]
                processor = processors.get(queue) or next(iter(processors.values()))
                await processor.defer(_read(message))
                crash_point("drain.filed")
                log.warning("dead_letters_drained", queue=queue, message_bytes=message.body_size)

        await self._consume(topology.dead_queue(self._process), handle)

    async def _consume(
        self, queue: str, handle: Callable[[Sequence[AbstractIncomingMessage]], Awaitable[None]]
    ) -> None:
        wait, away = _BACKOFF_SECONDS[0], False
        while True:
            try:
                async with await self._connect(queue) as connection:
                    channel = await connection.channel()
                    await channel.set_qos(prefetch_count=PREFETCH_MESSAGES)
                    if away:
                        log.info("consumer_resumed", queue=queue)
                    wait, away = _BACKOFF_SECONDS[0], False
                    await self._receive(channel, queue, handle)
            except _BROKEN as error:
                if not away:
                    log.warning("consumer_paused", queue=queue, reason=f"broker: {type(error).__name__}")
            except Exception as error:
                log.error("consumer_failed", queue=queue, exc_info=error)
            away = True
            await asyncio.sleep(random.uniform(0, wait))
            wait = min(wait * 2, _BACKOFF_SECONDS[1])

    async def _receive(
        self,
        channel: AbstractChannel,
        queue: str,
        handle: Callable[[Sequence[AbstractIncomingMessage]], Awaitable[None]],
    ) -> None:
        arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        source = await channel.get_queue(queue, ensure=False)
        await source.consume(arrived.put, timeout=_ANSWER_SECONDS)
        closed = asyncio.ensure_future(channel.closed())
        held = 0  # messages that the queue had for somebody when we last looked
        try:
            while True:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    # Python 3.11's wait_for, under the time-outs above, loses a cancellation that meets the answer.
                    raise asyncio.CancelledError
                getter = asyncio.ensure_future(arrived.get())
                await asyncio.wait({getter, closed}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if closed.done():
                    getter.cancel()
                    raise ConnectionError("the channel was closed")
                if not getter.done():
                    getter.cancel()
                    held = await self._look(channel, queue, held_before=held)
                    continue
                held = 0
                batch = [getter.result()]
                while not arrived.empty():  # no more than are prefetched; the processor decides who is served now
                    batch.append(arrived.get_nowait())
                crash_point("broker.received")
                await self._until_handled(channel, queue, batch, handle)
                crash_point("broker.handled")
                # One batch at a time on this channel, in delivery order: everything up to the last tag is ours.
                await batch[-1].channel.basic_ack(batch[-1].delivery_tag or 0, multiple=True)
                crash_point("broker.acked")
        finally:
            closed.cancel()

    async def _look(self, channel: AbstractChannel, queue: str, *, held_before: int) -> int:
        """Nothing came for long: answers how many messages the queue holds for somebody.

        A broker that drops a subscription (its queue was deleted and made again) leaves channel and connection well, and
        whoever only listens would be deaf for ever.

        Raises:
            ConnectionError: it held some twice, and gave us none; subscribe anew.
        """
        declared = (await channel.declare_queue(queue, passive=True, timeout=_ANSWER_SECONDS)).declaration_result
        held = declared.message_count or 0
        if held and held_before:
            log.error("consumer_deaf", queue=queue, messages=held, advice="it subscribes anew by itself")
            raise ConnectionError("the broker hands us nothing")
        return held

    async def _until_handled(
        self,
        channel: AbstractChannel,
        queue: str,
        batch: Sequence[AbstractIncomingMessage],
        handle: Callable[[Sequence[AbstractIncomingMessage]], Awaitable[None]],
    ) -> None:
        """Hold the batch while a dependency is away: no ack, no attempt charged, and it ends by itself."""
        wait, paused = _BACKOFF_SECONDS[0], False
        while True:
            try:
                await handle(batch)
            except DependencyDown as error:
                if not paused:
                    log.warning("consumer_paused", queue=queue, reason=str(error)[:200])
                paused = True
                await asyncio.sleep(random.uniform(wait / 2, wait))
                wait = min(wait * 2, _BACKOFF_SECONDS[1])
                if channel.is_closed:
                    raise ConnectionError("the channel was closed during a pause") from error
            else:
                if paused:
                    log.info("consumer_resumed", queue=queue)
                return

    async def close(self) -> None:
        await self._shut()


def _read(message: AbstractIncomingMessage) -> list[Envelope]:
    """The events of a wire message. Bytes that are no event of ours become one of the platform's own, which no consumer
    can open: so they end, with their bytes, in the inbox as a dead letter that platform staff can read."""
    try:
        parts = unpack(message.body, message.headers.get("offsets"))
    except ContractViolated as error:
        return [_unreadable(message.body, error)]
    found = []
    for raw in parts:
        try:
            found.append(envelopes.read(raw))
        except ContractViolated as error:  # its neighbours in the batch are well
            found.append(_unreadable(raw, error))
    return found


def _unreadable(body: bytes, error: ContractViolated) -> Envelope:
    log.error("message_unreadable", reason=str(error), message_bytes=len(body))
    digest = hashlib.sha256(body).hexdigest()
    return envelopes.seal(
        type=UNREADABLE,
        source="broker",
        subject=f"unreadable/{digest[:32]}",
        org_id=PLATFORM_ORG,
        binary=body[: envelopes.MAX_EVENT_BYTES // 2],
        event_id=EventId(entity_id(PLATFORM_ORG, "unreadable", digest)),
    )
