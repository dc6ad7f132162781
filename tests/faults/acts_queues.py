"""What becomes of queues, letters and releases. As in `acts`, every act ends healed."""

from __future__ import annotations

import asyncio

import aio_pika
import asyncpg

from libs.client.client import OutriderClient
from libs.messaging import topology
from libs.messaging.rabbit import LOOK_SECONDS
from tests.faults import broker, next_release
from tests.faults.acts import count, unsent
from tests.faults.ground import VHOST, Ground
from tests.faults.load import Load, until
from tests.faults.rows import proven

_SHORT = 3
_PATIENCE_SECONDS = 2.0
_DEAD = topology.dead_queue("provider-sync")


async def dead_queue_full(ground: Ground, load: Load) -> str:
    """The broker gives up on what waits for provider_sync, and has no room for it where it files such letters."""
    ground.house.stop("provider_sync")
    await load.reached(1.0)
    await until(lambda: _told(ground), 60, "the relay told everything")
    policy = f"/api/policies/{VHOST}/short"
    broker.ask(
        ground, "PUT", policy, {"pattern": f"^{_DEAD}$", "definition": {"max-length": _SHORT}, "apply-to": "queues"}
    )
    try:
        letters = await _given_up(ground)

        async def settled() -> bool:
            return broker.depth(ground, _DEAD) >= min(_SHORT, letters) and _both(ground) >= letters

        await until(settled, 60, "the broker counts what it keeps")
        filed, kept = broker.depth(ground, _DEAD), broker.depth(ground)
    finally:
        ground.house.start("provider_sync")
        await ground.house.ready("provider_sync")

    async def emptied() -> bool:
        return _both(ground) == 0

    try:
        await until(emptied, 120, "every letter was filed in the inbox")
    finally:
        broker.ask(ground, "DELETE", policy)
    log = (ground.folder / "logs" / "provider_sync.log").read_text()
    return proven(
        letters > _SHORT and filed + kept >= letters and "dead_letters_drained" in log,
        f"of {letters} letters {filed} were filed and {kept} stayed at their queue; dead_letters_drained told for each",
    )


def _both(ground: Ground) -> int:
    return broker.depth(ground) + broker.depth(ground, _DEAD)


async def _given_up(ground: Ground) -> int:
    """Take every message and give it back until the broker gives up; answers how many messages there were."""
    connection = await aio_pika.connect(ground.vhost_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.get_queue(broker.WEBHOOKS)
        there = queue.declaration_result.message_count or 0
        for _ in range(topology.DELIVERY_LIMIT + 1):
            held = []
            while message := await queue.get(fail=False):
                held.append(message)
            for message in held:
                await message.nack(requeue=True)
            await asyncio.sleep(0.05)
    return there


async def slower_than_the_broker_waits(ground: Ground, load: Load) -> str:
    """Handlers stand still for three times as long as the broker lets a delivery be unanswered (30 min as shipped)."""
    broker.set_patience(ground, _PATIENCE_SECONDS, look_seconds=0.5)
    try:
        await _again(ground, "provider_sync")
        before = broker.said(ground, "timed out")
        await load.reached(0.3)
        connection = await asyncpg.connect(ground.dsn)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE provider_sync.inbox IN EXCLUSIVE MODE")
                await asyncio.sleep(3 * _PATIENCE_SECONDS)

                async def cut() -> bool:
                    return broker.said(ground, "timed out") > before

                await until(cut, 20, "the broker cuts a channel")
        finally:
            await connection.close()
        await load.reached(1.0)
        await load.drained()
        cuts = broker.said(ground, "timed out") - before
        dead = await count(ground, "SELECT count(*) FROM provider_sync.inbox WHERE state = 'dead'")
    finally:
        broker.set_patience(ground, 1800, look_seconds=60)
        await _again(ground, "provider_sync")
    return proven(cuts > 0, f"{cuts} channels cut by the broker in the middle of a batch, {dead} letters died of it")


async def deaf(ground: Ground, load: Load) -> str:
    """A queue is deleted and made again: the consumer's connection is well, and nothing comes on it."""
    broker.unbind(ground)
    await asyncio.sleep(2)  # what was bound for it is in it

    async def empty() -> bool:
        return broker.depth(ground) == 0

    await until(empty, 60, "the queue is empty")
    broker.ask(ground, "DELETE", f"/api/queues/{VHOST}/{broker.WEBHOOKS}")
    await asyncio.sleep(1)  # one that is made at once has what is sent to it swallowed by the old one (3.10.8)
    await topology.declare(ground.vhost_url)
    log = ground.folder / "logs" / "provider_sync.log"

    async def heard() -> bool:
        return "consumer_deaf" in log.read_text()

    await until(heard, 4 * LOOK_SECONDS, "the consumer finds that it is deaf", every=0.5)
    return proven(True, "queue made again under its consumer; consumer_deaf told within a minute, by itself")


async def rolled_back(ground: Ground, load: Load) -> str:
    """A later release tells what this one does not know, and is taken back in the middle of the load."""
    later = ground.later
    bindings = f"/api/bindings/{VHOST}/e/{topology.EVENTS}/q/{broker.WEBHOOKS}"
    broker.ask(ground, "POST", bindings, {"routing_key": next_release.NEW})
    later |= {"webhook_ingest", "provider_sync", "analytics"}
    await _again(ground, *sorted(later, reverse=True))
    new = f"SELECT count(*) FROM provider_sync.inbox WHERE type = '{next_release.NEW}' AND state"
    done = await _until_some(ground, f"{new} = 'done'")
    later.discard("provider_sync")
    await _again(ground, "provider_sync")
    await _until_some(ground, f"{new} = 'parked'")
    await load.reached(1.0)
    later.discard("webhook_ingest")
    await _again(ground, "webhook_ingest")
    await until(lambda: _told(ground), 60, "the relay told everything")
    await load.drained()
    parked = await count(ground, f"{new} = 'parked'")
    later.add("provider_sync")
    await _again(ground, "provider_sync")
    for agency in load.agencies:
        await _replayed(agency.client)

    async def none_parked() -> bool:
        return await count(ground, f"{new} <> 'done'") == 0

    await until(none_parked, 90, "all that was parked is done")
    later.discard("provider_sync")
    await _again(ground, "provider_sync")
    return proven(
        done > 0 and parked > 0,
        f"{done} events of version 2 done, {parked} parked by this release, done by the later one",
    )


async def _replayed(client: OutriderClient) -> None:
    """Try all that waits for a person at provider_sync, then do it."""
    plan = await client.plan_replay("provider-sync", everything=True, rate=500, account_rate=500)
    await client.try_replay(plan["id"])

    async def tried() -> bool:
        return bool((await client.replay(plan["id"]))["dry_run_state"] == "done")

    await until(tried, 60, "the dry run is done")
    await client.apply_replay(plan["id"], plan_hash=plan["hash"], reason="rolled forward")


async def _again(ground: Ground, *names: str) -> None:
    for name in names:
        ground.house.stop(name)
        ground.house.start(name)
    for name in names:
        await ground.house.ready(name)


async def _until_some(ground: Ground, sql: str) -> int:
    found = 0

    async def some() -> bool:
        nonlocal found
        found = await count(ground, sql)
        return found > 0

    await until(some, 60, sql)
    return found


async def _told(ground: Ground) -> bool:
    return await unsent(ground, "webhook_ingest") == 0
