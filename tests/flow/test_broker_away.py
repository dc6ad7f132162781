"""The broker goes away while a provider posts: every post is answered 200, and all of it arrives when the broker is back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from libs.database.engine import Database
from libs.ids import OrgId
from libs.messaging import topology
from libs.messaging.rabbit import RabbitTransport
from libs.messaging.relay import Relay
from libs.messaging.work import Units
from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator import SmartleadSimulator
from libs.providers.smartlead.simulator.journal import Happened
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import until
from tests.integration.services.provider_sync.stage import inbox_states, processor, rows_of, set_stage
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox, mailbox
from tests.servers import RabbitServer

WEBHOOKS = "provider-sync.webhooks"


async def _box(units: Units, org: OrgId) -> Mailbox:
    """An endpoint at the door for an account that provider_sync knows."""
    box = mailbox(org)
    await set_stage(units, org, account_id=box.account_id)  # type: ignore[arg-type]
    return box


async def test_posts_are_taken_without_a_broker_and_applied_once_it_is_back(
    migrated: MigratedDatabase,
    database: Callable[[str], Database],
    units: Callable[[str], Units],
    rabbit_server: RabbitServer,
    make_org: Callable[[], OrgId],
) -> None:
    if not rabbit_server.can_stop:
        pytest.skip("this broker is not ours to stop")
    amqp_url = rabbit_server.new_vhost()
    await topology.declare(amqp_url)
    ours, theirs = make_org(), make_org()
    boxes = [await _box(units("provider_sync"), org) for org in (ours, theirs)]
    door = Door(database("webhook_ingest"), migrated.admin_url)
    await door.open(*boxes)
    simulator = SmartleadSimulator(seed=3)
    bodies = [post.body for post in simulator.deliveries(60, duplicates=0).of(PostKind.NORMAL)]
    happened = set().union(
        *map(simulator.journal.message_keys, (Happened.SENT, Happened.REPLIED, Happened.UNTRACKED_REPLY))
    )
    outgoing, incoming = RabbitTransport(amqp_url, "webhook-ingest"), RabbitTransport(amqp_url, "provider-sync")
    consumer = processor(database("provider_sync"), WEBHOOKS)
    tasks = [
        asyncio.create_task(Relay(database("webhook_ingest"), outgoing).run()),
        asyncio.create_task(incoming.serve(consumer)),
    ]
    try:
        first = [await door.post(box, bodies[0]) for box in boxes]
        await until(lambda: _done(database, 2))
        await asyncio.sleep(2)  # a younger quorum queue may not survive the crash (libs/messaging/embedded.py)

        rabbit_server.stop()
        try:
            answers = await asyncio.gather(*(door.post(box, body) for body in bodies[1:] for box in boxes))
        finally:
            rabbit_server.start()

        assert Counter(answer.status for answer in [*first, *answers]) == {200: 2 * len(bodies)}
        await until(lambda: _done(database, 2 * len(bodies)), seconds=40)
        assert set((await inbox_states(database("provider_sync"), WEBHOOKS)).values()) == {"done"}
        for org in (ours, theirs):
            rows = await rows_of(database("provider_sync"), org)
            assert {row["key"] for row in rows["messages"]} == happened
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await outgoing.close()
        await door.committer.close()


async def _done(database: Callable[[str], Database], count: int) -> bool:
    return len(await inbox_states(database("provider_sync"), WEBHOOKS)) == count
