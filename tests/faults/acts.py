"""What each live row does to the house. Every act ends healed, and answers how it knows that its fault happened.

Time-outs as the ground sets them: heartbeat 2 s, publishing 4 s; as shipped: connecting to the database 5 s, reconnecting
after at most 5 s. A fault lasts three times the one it tests.
"""

from __future__ import annotations

import asyncio
import time

import asyncpg

from libs.messaging import topology
from libs.providers.simulation import PostKind
from tests.faults import broker
from tests.faults.ground import HEARTBEAT_SECONDS, VHOST, Ground
from tests.faults.load import Load, until
from tests.faults.proxy import Faults
from tests.faults.rows import proven

_RECONNECT_SECONDS = 5
CONNECT_SECONDS = 5
_SERVICES = ("webhook_ingest", "provider_sync", "analytics", "reconciliation", "gateway")


async def broker_stopped(ground: Ground, load: Load) -> str:
    await load.reached(0.3)
    ground.rabbit.kill()
    before, away = load.acknowledged, ground.rabbit.pid is None
    await asyncio.sleep(3 * _RECONNECT_SECONDS)
    during = load.acknowledged - before
    waiting = await unsent(ground)
    ground.rabbit.start()
    return proven(
        away and during > 0 and waiting > 0, f"broker gone, {during} posts answered 200, {waiting} events kept"
    )


async def broker_restarted_with_backlog(ground: Ground, load: Load) -> str:
    ground.house.stop("provider_sync")
    await load.reached(1.0)

    async def told() -> bool:
        return await unsent(ground, "webhook_ingest") == 0

    await until(told, 60, "the relay told everything")

    async def counted() -> bool:
        return broker.depth(ground) > 0

    await until(counted, 20, "the broker counts its backlog")
    backlog = broker.depth(ground)
    ground.rabbit.kill()
    ground.rabbit.start()
    after = broker.depth(ground)
    ground.house.start("provider_sync")
    await ground.house.ready("provider_sync")
    return proven(backlog > 0, f"{backlog} messages in the queue before the crash, {after} after it")


async def memory_alarm(ground: Ground, load: Load) -> str:
    await load.reached(0.2)
    broker.set_memory(ground, "1MB")
    try:

        async def alarmed() -> bool:
            return broker.has_alarm(ground)

        await until(alarmed, 20, "the broker raises its alarm")
        before = load.acknowledged
        await asyncio.sleep(6)
        during = load.acknowledged - before
    finally:
        broker.set_memory(ground)
    return proven(during > 0, f"alarm raised, {during} posts answered 200 meanwhile")


async def half_open_to_broker(ground: Ground, load: Load) -> str:
    await load.reached(0.2)
    ground.broker.faults = Faults(black_hole=True)
    await asyncio.sleep(3 * 2 * HEARTBEAT_SECONDS)
    ground.broker.heal()
    swallowed = ground.broker.counts["swallowed"]
    return proven(swallowed > 0, f"{swallowed} bytes swallowed without a word")


async def unroutable(ground: Ground, load: Load) -> str:
    gone = broker.unbind(ground)
    await load.reached(0.5)

    async def returned() -> bool:
        log = (ground.folder / "logs" / "webhook_ingest.log").read_text()
        return "event_unroutable" in log

    await until(returned, 30, "the relay complains")
    kept = await unsent(ground, "webhook_ingest")
    await topology.declare(ground.vhost_url)
    return proven(gone > 0 and kept > 0, f"{gone} bindings deleted, event_unroutable logged, {kept} events kept")


async def database_stopped(ground: Ground, load: Load) -> str:
    await load.reached(0.3)
    ground.postgres.kill()
    before = load.acknowledged
    await asyncio.sleep(3 * CONNECT_SECONDS)
    during = load.acknowledged - before
    ground.postgres.start()
    refused = sum(account.plan.journal.answers["503"] for account in load.accounts)
    # Posts that were on their way when it died may still be counted; with a dead database none is taken.
    return proven(refused > 0 and during <= 2, f"database gone, {refused} posts answered 503, {during} answered 200")


async def database_slow(ground: Ground, load: Load) -> str:
    ground.database.faults = Faults(latency_seconds=0.02, slice_bytes=1400)
    await load.reached(0.4, seconds=120)
    ground.database.faults = Faults(black_hole=True)
    await asyncio.sleep(3 * CONNECT_SECONDS)
    ground.database.heal()
    cut = ground.database.reset()
    counts = ground.database.counts
    return proven(
        counts["delayed"] > 0 and counts["swallowed"] > 0,
        f"{counts['delayed']} pieces late, {counts['swallowed']} bytes swallowed, {cut} connections reset at the end",
    )


async def database_connections_cut(ground: Ground, load: Load) -> str:
    cut = 0
    for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        await load.reached(share)
        cut += ground.database.reset()
    return proven(cut > 0, f"{cut} connections reset, at nine moments")


async def rolling_restarts(ground: Ground, load: Load, rounds: int = 6) -> str:
    kills = 0
    async with asyncio.TaskGroup() as waiting:
        for number in range(rounds):
            name = _SERVICES[number % len(_SERVICES)]
            await load.reached(0.9 * (number + 1) / (rounds + 1))
            if number % 2:
                ground.house.stop(name)
            else:
                ground.house.kill(name)
            ground.house.start(name)
            kills += 1
            waiting.create_task(ground.house.ready(name))
    return proven(kills == rounds, f"{(rounds + 1) // 2} × SIGKILL, {rounds // 2} × SIGTERM, under load")


async def two_of_each(ground: Ground, load: Load) -> str:
    extra = [ground.house.start(name, replica=2) for name in ("webhook_ingest", "provider_sync", "analytics")]

    async def connected() -> bool:
        # Two relays, two consumers of each queue.
        return len(broker.ask(ground, "GET", f"/api/queues/{VHOST}/{broker.WEBHOOKS}")["consumer_details"]) == 2

    try:
        await until(connected, 60, "the second replica consumes too")
        await load.reached(1.0)
        await load.drained()
        alive = not set(extra) & set(ground.house.dead())
    finally:
        for name in extra:
            ground.house.stop(name)
            ground.house.forget(name)
    return proven(alive, f"beside the first: {', '.join(extra)}; two consumers on {broker.WEBHOOKS}")


async def storm_of_duplicates(ground: Ground, load: Load) -> str:
    await load.reached(1.0)
    posts = [post for account in load.accounts for post in account.plan.to_send()]
    repeated = sum(post.kind is PostKind.DUPLICATE for post in posts)
    return proven(repeated > 4 * (len(posts) - repeated), f"{repeated} of {len(posts)} posts were repetitions")


async def poison(ground: Ground, load: Load) -> str:
    await load.reached(1.0)
    planned = sum(1 for account in load.accounts for post in account.plan.posts if post.kind is PostKind.POISON)

    async def dead() -> bool:
        return await count(ground, "SELECT count(*) FROM provider_sync.inbox WHERE state = 'dead'") >= planned

    await until(dead, 60, "poison is dead")
    return proven(planned > 0, f"{planned} posts that contradict themselves, each a dead letter with its bytes")


async def everything_at_once(ground: Ground, load: Load) -> str:
    await load.reached(0.3)
    ground.rabbit.kill()
    ground.postgres.kill()
    for name in _SERVICES:
        ground.house.kill(name)
    await asyncio.sleep(1)
    for name in _SERVICES:
        ground.house.start(name)  # before what they need: they wait for it, or end and are started again
    ground.rabbit.start()
    ground.postgres.start()
    restarts = 0
    deadline = time.monotonic() + 90
    for name in _SERVICES:
        while time.monotonic() < deadline:
            for fallen in ground.house.dead():
                ground.house.start(fallen)
                restarts += 1
            try:
                await ground.house.ready(name)
                break
            except Exception:  # noqa: BLE001 - it fell again: a supervisor starts it again
                await asyncio.sleep(0.5)
    return proven(not ground.house.dead(), f"all gone at once; back with {restarts} starts by a supervisor")


async def owner_away(ground: Ground, load: Load) -> str:
    await load.reached(0.3)
    client = load.agencies[0].client
    ground.house.kill("analytics")
    refused = ""
    try:
        await client.ledger()
    except Exception as error:  # noqa: BLE001 - its words are the proof
        refused = str(error)
    others = await client.provider_account(load.agencies[0].accounts[0].id)
    ground.house.start("analytics")
    await ground.house.ready("analytics")
    return proven(
        "503" in refused or "unavailable" in refused,
        f"analytics gone: {refused:.80}; accounts answered {others['name']}",
    )


async def unsent(ground: Ground, *schemas: str) -> int:
    tables = schemas or ("webhook_ingest", "provider_sync")
    return sum([await count(ground, f"SELECT count(*) FROM {schema}.outbox") for schema in tables])


async def count(ground: Ground, sql: str) -> int:
    connection = await asyncpg.connect(ground.dsn)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()
