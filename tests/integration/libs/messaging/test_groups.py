"""Failures of one cause are one group, per org, and what people made of it survives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.event import seal
from libs.contracts.events import OrganizationCreatedV1
from libs.errors import Conflict, ContractViolated, NotFound
from libs.ids import OrgId, new_id
from libs.messaging import groups
from libs.messaging.consumer import Consumer, RetryPolicy
from libs.messaging.groups import GroupQuery, Groups
from libs.messaging.processor import Processor
from libs.messaging.work import UnitOfWork, Units
from libs.observability.build import build_id

QUEUE = "analytics.tenants"
Handler = Callable[[Sequence[Any], UnitOfWork], Awaitable[None]]


async def refuse(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
    for event in events:
        raise ContractViolated(f"{'no name' if event.name == 'nameless' else 'no date'} in '{event.name}'")


def processor(database: Any, handler: Handler = refuse) -> Processor:
    consumer = Consumer(QUEUE, (OrganizationCreatedV1,), handler, RetryPolicy((), ()))
    return Processor(database("analytics"), consumer, "analytics")


def told(org_id: OrgId, *names: str) -> list[Envelope]:
    return [
        seal(OrganizationCreatedV1(organization_id=new_id(), name=name), source="gateway", org_id=org_id)
        for name in names
    ]


async def groups_of(database: Any, org_id: OrgId, query: GroupQuery = GroupQuery()) -> list[dict[str, Any]]:
    async with database("analytics").tenant_transaction(org_id) as session:
        return await Groups(session).page(query, before=None, limit=100)


async def test_letters_of_one_cause_are_one_group_of_their_org(database, make_org):
    one, two = make_org(), make_org()
    working = processor(database)

    await working.deliver(told(one, "nameless", "nameless", "nameless", "Ada") + told(two, "nameless"))

    mine = {found["reason"]: found for found in await groups_of(database, one)}
    assert {reason: found["letters"] for reason, found in mine.items()} == {"no name in …": 3, "no date in …": 1}
    found = mine["no name in …"]
    assert (found["status"], found["failures"], found["dead"], found["subjects"]) == ("open", 3, 3, 3)
    assert (found["first_build"], found["last_build"]) == (build_id(), build_id())
    assert found["frames"][-1].endswith("test_groups.py:refuse")
    (theirs,) = await groups_of(database, two)
    assert (theirs["fingerprint"], theirs["letters"]) == (found["fingerprint"], 1)
    assert theirs["id"] != found["id"]


async def test_a_resolved_group_that_fails_again_is_open_and_keeps_its_notes(database, make_org):
    org, other = make_org(), make_org()
    working = processor(database)
    await working.deliver(told(org, "nameless") + told(other, "nameless"))
    (found,), (theirs,) = await groups_of(database, org), await groups_of(database, other)
    units = Units(working.database, "analytics")

    async with units.begin(org, actor="key:ada") as work:
        with pytest.raises(NotFound):
            await groups.change(work, theirs["id"], revision=1, status="ignored", note=None, public_id="g")
        changed = await groups.change(
            work, found["id"], revision=1, status="resolved", note="names again", public_id="g"
        )
        with pytest.raises(Conflict):
            await groups.change(work, found["id"], revision=1, status="ignored", note=None, public_id="g")
    assert (changed["status"], changed["revision"]) == ("resolved", 2)
    assert [one.type for one in work.published] == ["action.performed.v1"]
    assert b"names again" not in work.published[0].raw

    await working.deliver(told(org, "nameless"))
    (again,) = await groups_of(database, org, GroupQuery(status="open", with_letters=True))
    assert (again["revision"], again["letters"], again["failures"]) == (3, 2, 2)
    assert again["reopened_at"] is not None
    assert [(note["by"], note["text"]) for note in again["notes"]] == [("key:ada", "names again")]
    assert await groups_of(database, org, GroupQuery(status="resolved")) == []


async def test_what_is_acknowledged_stays_so_however_often_it_fails(database, make_org):
    org = make_org()
    working = processor(database)
    await working.deliver(told(org, "nameless"))
    (found,) = await groups_of(database, org)
    async with Units(working.database, "analytics").begin(org) as work:
        await groups.change(work, found["id"], revision=1, status="acknowledged", note=None, public_id="g")

    await working.deliver(told(org, "nameless"))

    ((status, revision),) = [(one["status"], one["revision"]) for one in await groups_of(database, org)]
    assert (status, revision) == ("acknowledged", 2)


async def test_of_many_attempts_the_first_and_the_newest_are_kept(database, make_org):
    org = make_org()
    (envelope,) = told(org, "nameless")
    working = processor(database)
    await working.deliver([envelope])

    for _ in range(30):
        async with working.database.transaction() as transaction:
            await transaction.as_dispatch()
            await transaction.driver.execute("UPDATE analytics.inbox SET state = 'due', due_at = now()")
        assert await working.run_due() == 1

    async with working.database.tenant_transaction(org) as session:
        row = await session.fetchrow("SELECT attempts, history FROM inbox")
    assert row is not None
    assert row["attempts"] == 31
    assert [entry["attempt"] for entry in row["history"]] == [1, *range(13, 32)]


async def test_a_handler_that_withholds_fills_a_group_too(database, make_org):
    async def doubt(events: Sequence[OrganizationCreatedV1], work: UnitOfWork) -> None:
        for event in events:
            work.withhold(event, ContractViolated("doubted"))

    org = make_org()
    await processor(database, doubt).deliver(told(org, "a", "b"))

    (found,) = await groups_of(database, org)
    assert (found["parked"], found["dead"], found["failures"]) == (2, 0, 2)


def test_whatever_fails_there_is_advice():
    assert groups.advice("KeyError")[0] == "fix"
    assert groups.advice("organization_suspended")[0] == "wait"
    assert groups.advice("some_new_word")[0] == "investigate"
