"""One org's flood is nobody else's wait: in the outbox, on the queue, among what is due."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.events import OrganizationCreatedV1
from libs.ids import OrgId
from libs.messaging import inbox, outbox, processor, topology
from libs.messaging.work import UnitOfWork
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import House, open_house, until
from tests.servers import RabbitServer

TENANTS = "analytics.tenants"


@pytest.fixture
async def house(rabbit_server: RabbitServer, migrated: MigratedDatabase) -> AsyncIterator[House]:
    amqp_url = rabbit_server.new_vhost()
    await topology.declare(amqp_url)
    async with open_house(migrated, amqp_url) as opened:
        yield opened


def noted(house: House) -> list[UUID]:
    """The org of each event that analytics handles, in order."""
    handled: list[UUID] = []

    async def note(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        handled.extend(work.org_id for _ in events)

    house.hooks[TENANTS] = note
    return handled


async def sent(house: House, org_id: OrgId, count: int) -> list[Envelope]:
    """So many events, on the queue of everybody."""
    told = await house.tell(org_id, *(f"{number:05}" for number in range(count)))
    await until(lambda: nothing_waits(house))
    return told


async def nothing_waits(house: House) -> bool:
    return not await house.query("SELECT 1 FROM gateway.outbox WHERE type = 'organization.created.v1' LIMIT 1")


async def states(house: House) -> Counter[tuple[UUID, str]]:
    return Counter((row["org_id"], row["state"]) for row in await house.inbox(TENANTS))


async def test_a_flood_that_is_in_the_queue_already_is_passed_by(
    house: House, make_org: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "LIVE_EVENTS", 50)
    monkeypatch.setattr(processor, "_DEFERRED_AT_ONCE", 70)
    flood, quiet = make_org(), make_org()
    handled = noted(house)
    house.start("relay")
    await sent(house, flood, 600)
    await sent(house, quiet, 5)

    consumer = house.processors[TENANTS]
    serving = asyncio.create_task(house.transport("analytics").serve(consumer))  # without the taker of what is due
    try:
        await until(lambda: is_done(house, quiet, 5))
        before = handled[: len(handled) - handled[::-1].index(quiet)]
        # At most four wire messages came one by one, of each of which a half of 50 was handled.
        assert before.count(flood) <= 100
        await until(lambda: holds(house, 605))
        assert (await states(house))[flood, "due"] >= 500
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    while await consumer.run_due():
        pass
    assert await states(house) == {(flood, "done"): 600, (quiet, "done"): 5}
    assert Counter(handled) == {flood: 600, quiet: 5}
    counts = await house.query(
        "SELECT state, sum(count) AS n FROM analytics.ledger WHERE hop = $1 GROUP BY 1 HAVING sum(count) <> 0", TENANTS
    )
    assert {row["state"]: row["n"] for row in counts} == {"done": 605}


async def is_done(house: House, org_id: OrgId, count: int) -> bool:
    return (await states(house))[org_id, "done"] == count


async def holds(house: House, count: int) -> bool:
    return (await states(house)).total() == count


async def test_of_what_is_due_every_org_gets_its_share(house: House, make_org: Any) -> None:
    flood, quiet, backing_off = make_org(), make_org(), [make_org() for _ in range(30)]
    handled = noted(house)
    consumer = house.processors[TENANTS]
    await keep_due(
        house, [*await house.tell(flood, *(str(n) for n in range(300))), *await house.tell(quiet, "a", "b", "c")]
    )
    await keep_due(house, [one for org in backing_off for one in await house.tell(org, "later")])
    await house.query(
        "UPDATE analytics.inbox SET due_at = now() + interval '1 hour' WHERE org_id = ANY($1)", backing_off
    )

    assert await consumer.run_due() == 103  # 200 for two; the thirty whose time has not come take no share
    assert Counter(handled) == {flood: 100, quiet: 3}
    assert await consumer.run_due() == 200
    assert Counter(handled) == {flood: 300, quiet: 3}


async def test_of_many_orgs_all_get_their_turn(house: House, make_org: Any) -> None:
    orgs = [make_org() for _ in range(12)]
    consumer = house.processors[TENANTS]
    for org in orgs:
        await keep_due(house, await house.tell(org, *(str(n) for n in range(40))))

    for _ in range(60):
        async with consumer.database.transaction() as transaction:
            await transaction.as_dispatch()
            assert len(await inbox.take(transaction.driver, "analytics", TENANTS, 4, suspects=False)) == 4
    # Of 60 draws of four of twelve, that one org is never drawn: (2/3)**60.
    assert {row["org_id"] for row in await house.inbox(TENANTS) if row["takes"]} == set(orgs)


async def test_the_relay_takes_of_every_org(house: House, make_org: Any) -> None:
    flood, quiet = make_org(), make_org()
    await house.tell(flood, *(str(n) for n in range(500)))
    await house.tell(quiet, "a", "b", "c")

    async with house.gateway.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await outbox.take(transaction.driver, "gateway", 100)

    assert Counter(row.org_id for row in rows) == {flood: 50, quiet: 3}


async def keep_due(house: House, told: Sequence[Envelope]) -> None:
    async with house.processors[TENANTS].database.transaction() as transaction:
        await transaction.as_dispatch()
        await inbox.defer(transaction.driver, "analytics", TENANTS, told)


@pytest.mark.heavy
async def test_what_a_flood_costs_the_others_measured(house: House, make_org: Any) -> None:
    """50 events of a quiet org, one by one: idle, and behind 20,000 of another that are in the queue. Prints both p95s."""
    flood, quiet = make_org(), make_org()
    handled: dict[str, float] = {}

    async def note(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        handled.update({event.name: time.monotonic() for event in events if work.org_id == quiet})

    house.hooks[TENANTS] = note
    house.start("relay", TENANTS)
    idle = await one_by_one(house, quiet, handled, "idle")
    await house.stop(TENANTS)
    for part in range(20):
        await house.tell(flood, *(f"{part}-{n}" for n in range(1000)))
    await until(lambda: nothing_waits(house), 120)
    started = time.monotonic()
    house.start(TENANTS)
    flooded = await one_by_one(house, quiet, handled, "flooded")
    await until(lambda: is_done(house, flood, 20_000), 300)
    p95s = [statistics.quantiles(times, n=20)[-1] * 1000 for times in (idle, flooded)]
    print(  # noqa: T201 - the figures are what it is for
        f"quiet org, p95: idle {p95s[0]:.0f} ms, behind a flood {p95s[1]:.0f} ms (worst {max(flooded) * 1000:.0f} ms); "
        f"the flood took {time.monotonic() - started:.1f} s"
    )


async def one_by_one(house: House, org_id: OrgId, handled: dict[str, float], word: str) -> list[float]:
    times = []
    for number in range(50):
        name = f"{word}-{number}"
        started = time.monotonic()
        await house.tell(org_id, name)
        while name not in handled:  # noqa: ASYNC110 - a handler tells, that knows no event
            await asyncio.sleep(0.002)
        times.append(handled[name] - started)
    return times
