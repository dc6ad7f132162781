"""What only a broker can do to us: be away, give up, deliver twice, deliver garbage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import aio_pika
import orjson
import pytest
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import ChannelPreconditionFailed
from aio_pika.queue import Queue

from libs.contracts import envelope as envelopes
from libs.contracts.events import OrganizationCreatedV1
from libs.ids import PLATFORM_ORG
from libs.messaging import rabbit, topology
from libs.messaging.rabbit import RabbitTransport
from libs.messaging.work import UnitOfWork
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import LISTENERS, House, open_house, until
from tests.servers import RabbitServer

TENANTS = "analytics.tenants"
OTHER = "provider-sync.tenants"
TYPE = OrganizationCreatedV1.routing_key


@pytest.fixture
async def house(rabbit_server: RabbitServer, migrated: MigratedDatabase) -> AsyncIterator[House]:
    amqp_url = rabbit_server.new_vhost()
    await topology.declare(amqp_url)
    async with open_house(migrated, amqp_url) as opened:
        yield opened


@pytest.fixture
async def channel(house: House) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(house.amqp_url or "")
    async with connection:
        yield await connection.channel()


async def test_while_the_broker_is_away_work_goes_on_and_all_of_it_arrives_later(
    house: House, rabbit_server: RabbitServer, make_org: Any
) -> None:
    if not rabbit_server.can_stop:
        pytest.skip("this broker is not ours to stop")
    house.start()
    org, other = make_org(), make_org()
    await house.tell(org, "before")
    await until(lambda: _all_have(house, 1))
    await asyncio.sleep(
        2
    )  # a quorum queue that is younger may not survive a crash of its node (libs/messaging/embedded.py)

    rabbit_server.stop()
    try:
        with structlog.testing.capture_logs() as logs:
            for n in range(30):
                await house.tell(org, f"without-{n:02}")
                await house.tell(other, f"other-{n:02}")
            await until(lambda: _said(logs, "relay_paused"))
        assert await _waiting(house) == 60
    finally:
        rabbit_server.start()

    await until(lambda: _all_have(house, 61), seconds=40)
    assert await _waiting(house) == 0
    assert {row["attempts"] for queue in LISTENERS.values() for row in await house.inbox(queue)} == {0}


async def test_a_consumer_that_is_away_for_long_stops_nobody_and_catches_up(house: House, make_org: Any) -> None:
    house.start()
    org, other = make_org(), make_org()
    await house.tell(org, "first")
    await until(lambda: _all_have(house, 1))

    await house.stop(TENANTS)
    for part in range(5):
        await house.tell(org, *(f"n{part}-{n:03}" for n in range(150)))
        await house.tell(other, f"m{part}")
    await until(lambda: _has(house, "provider_sync", 756))
    assert await _waiting(house) == 0
    assert await house.effects("analytics") == ["first"]

    house.start(TENANTS)
    await until(lambda: _all_have(house, 756))


async def test_an_event_without_a_queue_stays_and_is_complained_about(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    for queue in LISTENERS.values():
        await (await channel.get_queue(queue)).unbind(topology.EVENTS, TYPE)
    with structlog.testing.capture_logs() as logs:
        house.start("relay")
        await house.tell(make_org(), "nobody", "listens")
        await until(lambda: _said(logs, "event_unroutable"))

    rows = await house.query(
        "SELECT returned_at IS NOT NULL AS returned, returns FROM gateway.outbox WHERE type = $1", TYPE
    )
    assert [(row["returned"], row["returns"] >= 1) for row in rows] == [(True, True)] * 2
    complaint = next(entry for entry in logs if entry["event"] == "event_unroutable")
    assert (complaint["log_level"], complaint["type"], complaint["schema"]) == ("error", TYPE, "gateway")


async def test_what_the_broker_gave_up_on_is_drained_and_handled_once(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    sizes: list[int] = []
    house.hooks[TENANTS] = _noting(sizes)
    house.start("relay", OTHER)
    told = await house.tell(make_org(), "one", "two") + await house.tell(make_org(), "foreign")
    await until(lambda: _has(house, "provider_sync", 3))

    returned = await _give_back(channel, TENANTS, times=topology.DELIVERY_LIMIT + 1)
    backstop = topology.dead_queue("analytics")
    await until(lambda: _holds(channel, backstop, returned))

    house.start(TENANTS)
    transport = house.transport("analytics")
    assert isinstance(transport, RabbitTransport)
    draining = asyncio.create_task(
        transport.drain(house.processors[TENANTS].database, {TENANTS: house.processors[TENANTS]})
    )
    try:
        await until(lambda: _all_have(house, 3))
        await until(lambda: _holds(channel, backstop, 0))
    finally:
        draining.cancel()
        with suppress(asyncio.CancelledError):
            await draining

    assert {(row["event_id"], row["state"]) for row in await house.inbox(TENANTS)} == {(one.id, "done") for one in told}
    assert sizes == [1, 1, 1], "who was there when it went wrong is run alone"
    assert await _balance(house, "analytics", TENANTS) == {"done": 3, "due": 0}


async def test_bytes_that_are_no_event_are_a_dead_letter_of_the_platform(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    bodies = [b"\xff\xfe no json", b'{"specversion":"1.0"}', b'[{"specversion":"0.3"}]']
    exchange = await channel.get_exchange(topology.EVENTS)
    for body in bodies:
        await exchange.publish(aio_pika.Message(body), TYPE)
    house.start()
    await until(lambda: _has_dead(house, TENANTS, 3))
    await house.tell(make_org(), "after")
    await until(lambda: _all_have(house, 1))

    dead = [row for row in await house.inbox(TENANTS) if row["state"] == "dead"]
    assert {row["org_id"] for row in dead} == {PLATFORM_ORG}
    assert {row["error_class"] for row in dead} == {"contract_violated"}
    found = {envelopes.read(row["envelope"]).binary for row in dead}
    assert found == {*bodies[:2], bodies[2][1:-1]}
    assert await _waiting(house) == 0


async def test_one_broken_event_in_a_batch_leaves_its_neighbours_well(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    org = make_org()
    told = [
        envelopes.seal(type=TYPE, source="gateway", subject="organization/1", org_id=org,
                       data={"organization_id": str(org), "name": name})
        for name in ("a", "b")
    ]  # fmt: skip
    broken = b'{"specversion":"1.0","id":"7"}'
    parts = [told[0].raw, broken, told[1].raw]
    offsets = [1, 1 + len(parts[0])]
    for part in parts[1:]:
        offsets += [offsets[-1] + 1, offsets[-1] + 1 + len(part)]
    message = aio_pika.Message(b"[" + b",".join(parts) + b"]", headers={"offsets": [*offsets]})
    await (await channel.get_exchange(topology.EVENTS)).publish(message, TYPE)

    house.start()
    await until(lambda: _all_have(house, 2))
    await until(lambda: _has_dead(house, TENANTS, 1))

    assert await house.effects("analytics") == ["a", "b"]
    (dead,) = [row for row in await house.inbox(TENANTS) if row["state"] == "dead"]
    assert envelopes.read(dead["envelope"]).binary == broken


async def test_an_id_that_tells_no_time_is_counted_and_stops_nobody(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    org = make_org()
    (told,) = await house.tell(org, "strange")
    document = orjson.loads(told.raw) | {"id": "ffffffff-ffff-8fff-bfff-ffffffffffff"}
    await (await channel.get_exchange(topology.EVENTS)).publish(aio_pika.Message(orjson.dumps([document])), TYPE)
    house.start()

    await until(lambda: _all_have(house, 2))


async def test_what_came_back_twice_is_kept_and_run_alone(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    sizes: list[int] = []
    house.hooks[TENANTS] = _noting(sizes)
    house.start("relay", OTHER)
    await house.tell(make_org(), "a", "b", "c")
    await until(lambda: _has(house, "provider_sync", 3))
    await _give_back(channel, TENANTS, times=2)

    await house.tell(make_org(), "fresh-1", "fresh-2")
    await until(lambda: _has(house, "provider_sync", 5))
    house.start(TENANTS)
    await until(lambda: _all_have(house, 5))

    assert sizes.count(1) == 3
    assert sum(sizes) == 5
    assert await _balance(house, "analytics", TENANTS) == {"done": 5, "due": 0}


async def test_declaring_again_changes_nothing_and_loses_nothing(
    house: House, channel: AbstractChannel, make_org: Any
) -> None:
    house.start("relay", OTHER)
    await house.tell(make_org(), "waits")
    await until(lambda: _has(house, "provider_sync", 1))

    first = await topology.declare(house.amqp_url or "")
    second = await topology.declare(house.amqp_url or "")

    assert first == second
    assert set(LISTENERS.values()) <= set(first)
    assert await _holds(channel, TENANTS, 1)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "beside-another"])
async def test_a_consumer_that_is_handed_nothing_subscribes_anew(
    house: House, channel: AbstractChannel, make_org: Any, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """It is told nothing of it: as when its queue was deleted and made again."""
    monkeypatch.setattr(rabbit, "LOOK_SECONDS", 0.2)
    await channel.set_qos(prefetch_count=1)
    for _ in range(others):  # another replica: has its one message and is not ready with it
        await (await channel.get_queue(TENANTS)).consume(_keep)
    subscribe, deaf = Queue.consume, [TENANTS]

    async def consume(queue: Queue, *arguments: Any, **more: Any) -> Any:
        if queue.name in deaf:
            deaf.remove(queue.name)
            return ""
        return await subscribe(queue, *arguments, **more)

    monkeypatch.setattr(Queue, "consume", consume)
    house.start()
    for name in ("held", "a", "b"):
        await house.tell(make_org(), name)
        await until(lambda: _nothing_to_tell(house))
    await until(lambda: _has(house, "analytics", 3 - others))

    assert deaf == []
    assert await house.effects("analytics") == ["a", "b", "held"][: 3 - others]


async def test_a_queue_that_is_not_as_it_must_be_is_refused(rabbit_server: RabbitServer) -> None:
    amqp_url = rabbit_server.new_vhost()
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        await (await connection.channel()).declare_queue(TENANTS, durable=True)

    with pytest.raises(ChannelPreconditionFailed, match=TENANTS):
        await topology.declare(amqp_url)


# Small questions


async def _keep(_: AbstractIncomingMessage) -> None: ...


async def _nothing_to_tell(house: House) -> bool:
    return not await _waiting(house)


def _noting(sizes: list[int]) -> Any:
    async def note(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        sizes.append(len(events))

    return note


async def _give_back(channel: AbstractChannel, name: str, *, times: int) -> int:
    """Take every message of the queue and give it back, so many times; answers how many there were."""
    queue = await channel.get_queue(name)
    there = queue.declaration_result.message_count or 0
    assert there
    for _ in range(times):
        await until(lambda: _holds(channel, name, there))
        for message in [await queue.get(timeout=10) for _ in range(there)]:
            assert message is not None
            await message.nack(requeue=True)
    return there


async def _holds(channel: AbstractChannel, queue: str, count: int) -> bool:
    declared = await channel.declare_queue(queue, passive=True)
    return declared.declaration_result.message_count == count


async def _said(logs: Sequence[Any], event: str) -> bool:
    return any(entry["event"] == event for entry in logs)


async def _has(house: House, service: str, count: int) -> bool:
    return len(await house.effects(service)) == count


async def _all_have(house: House, count: int) -> bool:
    return all([await _has(house, service, count) for service in LISTENERS])


async def _has_dead(house: House, queue: str, count: int) -> bool:
    return [row["state"] for row in await house.inbox(queue)].count("dead") == count


async def _waiting(house: House) -> int:
    return len(await house.query("SELECT 1 FROM gateway.outbox WHERE type = $1", TYPE))


async def _balance(house: House, schema: str, hop: str) -> dict[str, int]:
    rows = await house.query(f"SELECT state, sum(count) AS n FROM {schema}.ledger WHERE hop = $1 GROUP BY state", hop)
    return {row["state"]: row["n"] for row in rows}
