"""What becomes of a broker of three nodes, and of a disk that is full. As in `acts`, every act ends healed."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import asyncpg

from tests.faults import broker
from tests.faults.acts import CONNECT_SECONDS
from tests.faults.ground import PUBLISH_SECONDS, Ground
from tests.faults.load import Load, until
from tests.faults.rows import proven

_CONFIRMED_SECONDS = 5


async def quorum_lost(ground: Ground, load: Load) -> str:
    """Two of three nodes go; the services are connected to the third."""
    assert ground.cluster is not None
    others = [node for node in ground.cluster.nodes.values() if node is not ground.rabbit]
    await load.reached(0.2)
    for node in others:
        node.kill()
    await asyncio.sleep(1)  # what was on its way is confirmed, or not
    before, answered = await _waiting(ground), load.acknowledged
    await asyncio.sleep(3 * PUBLISH_SECONDS)
    during, kept = load.acknowledged - answered, await _waiting(ground)
    for node in others:
        node.start()
    return proven(
        during > 0 and before <= kept and len(kept) > len(before),
        f"2 of 3 nodes gone, {during} posts answered 200, none of {len(before)} waiting events was confirmed",
    )


async def leader_killed(ground: Ground, load: Load) -> str:
    """The services are connected to a follower of the queue whose leader dies."""
    assert ground.cluster is not None
    leader = broker.leader_of(ground)
    nodes = ground.cluster.nodes
    follower = next(node for name, node in nodes.items() if name != leader)
    ground.broker.point_at(follower.port)
    ground.broker.reset()
    await load.reached(0.3)
    seen = await _waiting(ground)
    nodes[leader].kill()
    died = time.monotonic()
    try:
        after: set[UUID] = set()

        async def told_again() -> bool:
            # What was posted after the death is told: the newest row that waited is gone.
            waiting = await _waiting(ground)
            new = waiting - seen
            gone = after - waiting
            after.update(new)
            return bool(gone)

        await until(told_again, 60, "an event of after the death is confirmed", every=0.02)
        seconds = time.monotonic() - died
    finally:
        nodes[leader].start()
        ground.broker.point_at(ground.rabbit.port)
    successor = broker.leader_of(ground)
    return proven(
        leader != successor and seconds < _CONFIRMED_SECONDS,
        f"{leader} led and was killed; {successor} leads, the first event of after that was confirmed in {seconds:.1f} s",
    )


async def disk_full(ground: Ground, load: Load) -> str:
    """First the broker says that its disk is full, then the database's is."""
    assert ground.disk is not None
    await load.reached(0.1)
    broker.set_disk(ground, "900000GB")
    try:

        async def alarmed() -> bool:
            return broker.has_alarm(ground)

        await until(alarmed, 30, "the broker raises its alarm")
        before = load.acknowledged
        await asyncio.sleep(3 * PUBLISH_SECONDS)
        taken = load.acknowledged - before
    finally:
        broker.set_disk(ground)

    await load.reached(0.5)
    try:
        refused = _refused(load)
        ground.disk.fill()

        async def felt() -> bool:
            return _refused(load) > refused

        await until(felt, 60, "a post is refused")
        await asyncio.sleep(3 * CONNECT_SECONDS)
        left = ground.disk.free_bytes
    finally:
        ground.disk.free()
    died = ground.postgres.pid is None
    if died:  # it could not even write that it stops: whoever supervises it starts it
        ground.postgres.kill()
        ground.postgres.start()
    refused = _refused(load) - refused
    return proven(
        taken > 0 and refused > 0 and left < 1024 * 1024,
        f"broker's disk alarm: {taken} posts answered 200; no space for the database: {refused} answered 503"
        + (", it ended and was started" if died else ""),
    )


def _refused(load: Load) -> int:
    return sum(account.plan.journal.answers["503"] for account in load.accounts)


async def _waiting(ground: Ground) -> set[UUID]:
    connection = await asyncpg.connect(ground.dsn)
    try:
        return {row["id"] for row in await connection.fetch("SELECT id FROM webhook_ingest.outbox")}
    finally:
        await connection.close()
