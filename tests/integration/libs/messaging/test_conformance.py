"""One suite for both transports: whatever carries the events, each promise holds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import aio_pika
import asyncpg

from libs.contracts import envelope as envelopes
from libs.contracts.events import OrganizationCreatedV1
from libs.errors import ContractViolated, DependencyDown, PermanentError, TransientError
from libs.ids import new_id
from libs.messaging import inbox, ledger, outbox, topology, withholding
from libs.messaging.work import UnitOfWork, Units
from tests.integration.libs.messaging.house import LISTENERS, House, until

TENANTS = "analytics.tenants"
OTHER = "provider-sync.tenants"


async def _all_done(house: House, count: int) -> bool:
    return [len(await house.effects(service)) for service in LISTENERS] == [count] * len(LISTENERS)


async def test_every_listener_hears_every_event_once_with_its_tenant(house: House, make_org: Any) -> None:
    one, two = make_org(), make_org()
    seen: list[tuple[UUID, str, int]] = []

    async def note(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        visible = await work.session.fetchval("SELECT count(*) FROM heard_names WHERE org_id <> $1", work.org_id)
        seen.extend((work.org_id, event.name, visible) for event in events)

    house.hooks[TENANTS] = note
    house.start()

    await house.tell(one, *(f"one-{n:03}" for n in range(250)))
    await house.tell(two, *(f"two-{n:03}" for n in range(5)))
    await until(lambda: _all_done(house, 255))

    assert {name.split("-")[0]: org for org, name, _ in seen} == {"one": one, "two": two}
    assert {foreign for _, _, foreign in seen} == {0}
    assert await house.query("SELECT 1 FROM gateway.outbox") == []


async def test_the_bytes_heard_are_the_bytes_that_were_kept(house: House, make_org: Any) -> None:
    heard: dict[UUID, bytes] = {}

    async def note(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        heard.update({event.envelope.id: event.envelope.raw for event in events})

    house.hooks[TENANTS] = note
    house.start()

    told = await house.tell(make_org(), "ü", '"quoted", [brackets]')
    await until(lambda: _all_done(house, 2))

    assert heard == {envelope.id: envelope.raw for envelope in told}


async def test_an_event_published_twice_changes_state_once(house: House, make_org: Any) -> None:
    org = make_org()
    house.start()
    (told,) = await house.tell(org, "again")
    await until(lambda: _all_done(house, 1))

    # What a relay does that died between the confirm and the delete.
    async with house.gateway.transaction() as transaction:
        await transaction.as_dispatch()
        await outbox.insert(transaction.driver, "gateway", [told])
    await house.tell(org, "after")
    await until(lambda: _all_done(house, 2))

    assert await house.effects("analytics") == ["after", "again"]
    assert Counter(row["state"] for row in await house.inbox(TENANTS)) == {"done": 2}


async def test_only_the_culprit_of_a_batch_is_charged_and_it_is_retried(house: House, make_org: Any) -> None:
    failures: list[str] = []

    async def stumble(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if any(event.name == "stumbles" for event in events) and len(failures) < 2:
            if len(events) == 1:
                failures.append("stumbles")
            raise TransientError("the step is loose")

    house.hooks[TENANTS] = stumble
    await house.tell(make_org(), "a", "stumbles", "b")
    await house.tell(make_org(), "c")
    house.start()
    await until(lambda: _all_done(house, 4))

    rows = {row["attempts"]: row for row in await house.inbox(TENANTS)}
    assert sorted(rows) == [0, 2]
    assert [entry["error_class"] for entry in _history(rows[2])] == ["transient", "transient"]


async def test_what_never_works_is_a_dead_letter_with_its_cause_and_bytes(house: House, make_org: Any) -> None:
    async def refuse(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if any(event.name == "poison" for event in events):
            raise ContractViolated("field name: 'poison' is none")

    house.hooks[TENANTS] = refuse
    told = await house.tell(make_org(), "fine", "poison")
    house.start()
    await until(lambda: _has_state(house, TENANTS, "dead"))
    await until(lambda: _has_effects(house, "analytics", ["fine"]))

    (dead,) = [row for row in await house.inbox(TENANTS) if row["state"] == "dead"]
    assert dead["envelope"] == told[1].raw
    assert dead["error_class"] == "contract_violated"
    assert dead["reason"] == "field name: … is none"
    assert dead["attempts"] == 1
    (event,) = await house.query("SELECT envelope FROM analytics.outbox WHERE type = 'dead_letter.changed.v1'")
    assert b'"state":"dead"' in event["envelope"]
    assert b"poison" not in event["envelope"]


async def test_a_bug_of_ours_is_tried_a_few_times_and_then_dead(house: House, make_org: Any) -> None:
    async def bug(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        raise ZeroDivisionError(f"{len(events)} / 0")

    house.hooks[TENANTS] = bug
    await house.tell(make_org(), "any")
    house.start()
    await until(lambda: _has_state(house, TENANTS, "dead"))

    (dead,) = await house.inbox(TENANTS)
    assert (dead["error_class"], dead["attempts"]) == ("ZeroDivisionError", 2)


async def test_a_version_from_the_future_is_parked(house: House, make_org: Any) -> None:
    async with house.units.begin(make_org()) as work:
        envelope = work.publish(OrganizationCreatedV1(organization_id=new_id(), name="later"))
        work.published[:] = [_retyped(envelope, "organization.created.v1", "organization.created.v7")]
    async with (
        house.gateway.transaction() as transaction
    ):  # it travels under the old key: as from a half-rolled-back deploy
        await transaction.as_dispatch()
        await transaction.driver.execute("UPDATE gateway.outbox SET type = 'organization.created.v1'")
    house.start()
    await until(lambda: _has_state(house, TENANTS, "parked"))

    (parked,) = await house.inbox(TENANTS)
    assert (parked["error_class"], parked["type"]) == ("unknown_version", "organization.created.v7")
    assert await house.effects("analytics") == []


class Doubtful(PermanentError):
    code = "doubtful"


async def test_what_is_withheld_waits_alone_until_it_is_released(house: House, make_org: Any) -> None:
    one, two = make_org(), make_org()
    withholds = True

    async def judge(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        for event in events:
            if event.name == "doubted" and withholds:
                work.withhold(event, Doubtful("'somebody' doubts it"))

    house.hooks[TENANTS] = judge
    good, doubted, other = await house.tell(one, "good", "doubted", "doubted")
    await house.tell(two, "good", "doubted")
    house.start()
    await until(lambda: _has_count(house, "analytics", 2))
    await until(lambda: _has_count(house, "provider_sync", 5))

    rows = {row["event_id"]: row for row in await house.inbox(TENANTS)}
    assert Counter(row["state"] for row in rows.values()) == {"done": 2, "parked": 3}
    parked = rows[doubted.id]
    assert (parked["org_id"], parked["envelope"], parked["attempts"]) == (one, doubted.raw, 1)
    assert (parked["error_class"], parked["reason"]) == ("doubtful", "… doubts it")
    assert rows[good.id]["envelope"] is None
    counts = await _balance(house, "analytics", TENANTS)
    assert counts[one, "parked"] == (2, doubted.id.int ^ other.id.int)
    assert counts[one, "done"] == (1, good.id.int)
    told = await house.query("SELECT org_id FROM analytics.outbox WHERE type = 'dead_letter.changed.v1'")
    assert Counter(row["org_id"] for row in told) == {one: 2, two: 1}

    withholds = False
    units = Units(house.processors[TENANTS].database, "analytics")
    async with units.begin(one) as work:
        assert await withholding.release(work, TENANTS, "other_reason", mentions="") == 0
        assert await withholding.release(work, TENANTS, "doubtful", mentions=str(two)) == 0
        assert await withholding.release(work, TENANTS, "doubtful", mentions=str(doubted.id)) == 1
    await until(lambda: _has_count(house, "analytics", 3))

    rows = {row["event_id"]: row for row in await house.inbox(TENANTS)}
    assert Counter((row["org_id"], row["state"]) for row in rows.values()) == {
        (one, "done"): 2, (one, "parked"): 1, (two, "done"): 1, (two, "parked"): 1,
    }  # fmt: skip
    counts = await _balance(house, "analytics", TENANTS)
    assert counts[one, "parked"] == (1, other.id.int)
    assert counts[one, "done"] == (2, good.id.int ^ doubted.id.int)
    assert counts.get((one, "due"), (0, 0)) == (0, 0)


async def test_an_absent_dependency_charges_nobody_and_ends_by_itself(house: House, make_org: Any) -> None:
    refusals = 0

    async def away(_: Sequence[OrganizationCreatedV1], __: UnitOfWork) -> None:
        nonlocal refusals
        if refusals < 3:
            refusals += 1
            raise DependencyDown("the database is away")

    house.hooks[TENANTS] = away
    await house.tell(make_org(), "x", "y")
    house.start()
    # In one process the rows were handed out before: their lease, here made short, must run out first.
    await until(lambda: _after_release(house, lambda: _all_done(house, 2)))

    assert refusals == 3
    assert {row["attempts"] for row in await house.inbox(TENANTS)} == {0}


async def test_one_consumer_that_stands_still_does_not_stop_the_other(house: House, make_org: Any) -> None:
    house.start("relay", OTHER)

    await house.tell(make_org(), *(f"n{n}" for n in range(20)))
    await until(lambda: _has_count(house, "provider_sync", 20))
    assert await house.effects("analytics") == []

    house.start(TENANTS)
    await until(lambda: _all_done(house, 20))


async def test_what_is_handed_out_and_never_answered_is_given_up_after_running_alone(
    house: House, make_org: Any
) -> None:
    processor = house.processors[TENANTS]
    kills, neighbour = await house.tell(make_org(), "kills", "neighbour")

    async def process_that_dies(*, suspects: bool) -> list[UUID]:
        async with processor.database.transaction() as transaction:
            await transaction.as_dispatch()
            rows = await inbox.take(transaction.driver, "analytics", TENANTS, 1 if suspects else 10, suspects=suspects)
        await house.query("UPDATE analytics.inbox SET due_at = now() WHERE state = 'due'")  # its leases run out
        return [row.event_id for row in rows]

    async with processor.database.transaction() as transaction:
        await transaction.as_dispatch()
        await inbox.defer(transaction.driver, "analytics", TENANTS, [kills, neighbour])
    assert len(await process_that_dies(suspects=False)) == 2
    await house.query("UPDATE analytics.inbox SET takes = 0 WHERE event_id = $1", neighbour.id)
    for _ in range(inbox.MAX_TAKES - 1):
        assert await process_that_dies(suspects=True) == [kills.id]

    await processor.run_due()

    rows = {row["event_id"]: (row["state"], row["error_class"]) for row in await house.inbox(TENANTS)}
    assert rows == {kills.id: ("dead", "crash"), neighbour.id: ("done", None)}


async def test_an_event_that_nobody_can_take_stays_and_is_told_later(house: House, make_org: Any) -> None:
    await _cut_off(house, TENANTS)
    house.start("relay", OTHER)
    await house.tell(make_org(), "alone")

    await until(lambda: _is_returned(house))
    assert await house.effects("analytics") == []

    await _join_again(house, TENANTS)
    await house.query("UPDATE gateway.outbox SET returned_at = now() - interval '1 hour'")
    house.start()
    await until(lambda: _all_done(house, 1))


async def test_the_ledger_balances_in_counts_and_ids(house: House, make_org: Any) -> None:
    one, two = make_org(), make_org()

    async def refuse(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if any(event.name == "poison" for event in events):
            raise ContractViolated("no")

    house.hooks[TENANTS] = refuse
    await house.tell(one, *(f"n{n}" for n in range(30)), "poison")
    told = await house.tell(two, "m")
    async with house.gateway.transaction() as transaction:
        await transaction.as_dispatch()
        await outbox.insert(transaction.driver, "gateway", [])
    house.start()
    await until(lambda: _has_count(house, "analytics", 31))
    await until(lambda: _has_state(house, TENANTS, "dead"))
    async with house.gateway.transaction() as transaction:  # a second delivery of the same event counts nothing
        await transaction.as_dispatch()
        await outbox.insert(transaction.driver, "gateway", told)
    await house.tell(two, "last")
    await until(lambda: _has_count(house, "analytics", 32))

    sent = await _balance(house, "gateway", "organization.created.v1")
    heard = await _balance(house, "analytics", TENANTS)
    assert {state: count for (org, state), (count, _) in sent.items() if org == one} == {"sent": 31}
    assert {state: count for (org, state), (count, _) in heard.items() if org == one and count} == {
        "done": 30,
        "dead": 1,
    }
    for org in (one, two):
        xor = 0
        for (owner, _), (_, ids) in heard.items():
            xor ^= ids if owner == org else 0
        assert xor == sent[org, "sent"][1]


async def test_folding_the_ledger_tells_each_count_once(house: House, make_org: Any) -> None:
    await house.tell(make_org(), "a", "b")
    await house.tell(make_org(), "c")

    assert await ledger.fold(house.gateway, "gateway") == 2
    assert await ledger.fold(house.gateway, "gateway") == 0

    rows = await house.query("SELECT envelope FROM gateway.outbox WHERE type = 'ledger.counted.v1'")
    assert len(rows) == 2


async def test_two_relays_at_once_lose_nothing(house: House, make_org: Any) -> None:
    second = house.transport("gateway-2")
    await house.tell(make_org(), *(f"n{n}" for n in range(100)))

    house.start()
    for _ in range(20):  # the advisory lock keeps a second leader out; here is one that came in all the same
        await second.relay(house.gateway, 7)
        await asyncio.sleep(0)
    await until(lambda: _all_done(house, 100))

    assert Counter(row["state"] for row in await house.inbox(TENANTS)) == {"done": 100}


# What differs between the transports, and small questions


async def _cut_off(house: House, queue: str) -> None:
    if house.amqp_url is None:
        assert house._in_process is not None
        house._in_process._listeners.pop(queue)
        return
    await _rebind(house, bind=False)


async def _join_again(house: House, queue: str) -> None:
    if house.amqp_url is None:
        assert house._in_process is not None
        house._in_process.attach(house.processors[queue])
        return
    await _rebind(house, bind=True)


async def _rebind(house: House, *, bind: bool) -> None:
    connection = await aio_pika.connect(house.amqp_url or "")
    async with connection:
        channel = await connection.channel()
        for queue in (TENANTS, OTHER):
            declared = await channel.get_queue(queue, ensure=False)
            if bind:
                await declared.bind(topology.EVENTS, OrganizationCreatedV1.routing_key)
            else:
                await declared.unbind(topology.EVENTS, OrganizationCreatedV1.routing_key)


async def _has_state(house: House, queue: str, state: str) -> bool:
    return any(row["state"] == state for row in await house.inbox(queue))


async def _has_effects(house: House, service: str, names: list[str]) -> bool:
    return await house.effects(service) == names


async def _has_count(house: House, service: str, count: int) -> bool:
    return len(await house.effects(service)) == count


async def _is_returned(house: House) -> bool:
    rows = await house.query("SELECT returns FROM gateway.outbox WHERE type = 'organization.created.v1'")
    return [row["returns"] >= 1 for row in rows] == [True]


async def _after_release(house: House, condition: Any) -> bool:
    await house.query("UPDATE analytics.inbox SET due_at = now(), takes = 0 WHERE state = 'due'")
    return bool(await condition())


async def _balance(house: House, schema: str, hop: str) -> dict[tuple[UUID, str], tuple[int, int]]:
    found: dict[tuple[UUID, str], tuple[int, int]] = {}
    for row in await house.query(f"SELECT org_id, state, count, ids_xor FROM {schema}.ledger WHERE hop = $1", hop):
        count, xor = found.get((row["org_id"], row["state"]), (0, 0))
        found[row["org_id"], row["state"]] = (count + row["count"], xor ^ int.from_bytes(row["ids_xor"], "big"))
    return found


def _history(row: asyncpg.Record) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(row["history"])
    return entries


def _retyped(envelope: envelopes.Envelope, old: str, new: str) -> envelopes.Envelope:
    return envelopes.read(envelope.raw.replace(f'"type":"{old}"'.encode(), f'"type":"{new}"'.encode()))
