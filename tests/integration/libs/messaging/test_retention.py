"""What is forgotten is not applied as new: on both transports, and only what nobody remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.events import OrganizationCreatedV1
from libs.errors import ContractViolated
from libs.ids import EventId, OrgId, new_id
from libs.messaging import outbox
from libs.messaging.work import UnitOfWork
from tests.integration.libs.messaging.house import House, until

TENANTS = "analytics.tenants"
OTHER = "provider-sync.tenants"


async def forget(house: House, schema: str) -> None:
    """Two months later: all weeks up to now are dropped."""
    dropped = 1
    while dropped:
        (row,) = await house.query(
            f"SELECT * FROM (SELECT set_config('search_path', '{schema}', false)) AS s, LATERAL {schema}.move_partitions_v1("
            "'inbox', 'event_id', 'state NOT IN (''done'', ''discarded'')', now() + interval '60 days', 30)"
        )
        dropped = row["dropped"]


async def tell_again(house: House, *told: Envelope) -> None:
    """What a broker's backup, a forgotten queue or a slow outbox does."""
    async with house.gateway.transaction() as transaction:
        await transaction.as_dispatch()
        await outbox.insert(transaction.driver, "gateway", told)


def young(org_id: OrgId, name: str) -> Envelope:
    """An event of two months later."""
    later = int((datetime.now(UTC) + timedelta(days=60)).timestamp() * 1000)
    id_ = new_id()
    id_ = type(id_)(int=id_.int & ((1 << 80) - 1) | later << 80)
    made = envelopes.seal(
        type=OrganizationCreatedV1.routing_key, source="gateway", subject="organization/1", org_id=org_id,
        data={"organization_id": str(org_id), "name": name}, event_id=EventId(id_),
    )  # fmt: skip
    return envelopes.read(made.raw)


async def test_what_comes_again_after_its_week_was_forgotten_is_a_dead_letter(house: House, make_org: Any) -> None:
    one, two = make_org(), make_org()

    async def refuse(events: Sequence[OrganizationCreatedV1], _: UnitOfWork) -> None:
        if any(event.name == "poison" for event in events):
            raise ContractViolated("no")

    house.hooks[TENANTS] = refuse
    applied, poison = await house.tell(one, "applied", "poison")
    await house.tell(two, "theirs")
    house.start()
    await until(lambda: has_states(house, done=2, dead=1))

    await forget(house, "analytics")
    assert [row["event_id"] for row in await house.inbox(TENANTS)] == [poison.id]
    await tell_again(house, applied, poison, young(two, "young"))
    await until(lambda: has_states(house, done=1, dead=2))

    rows = {row["event_id"]: row for row in await house.inbox(TENANTS)}
    assert (rows[applied.id]["error_class"], rows[applied.id]["attempts"]) == ("too_old", 1)
    assert rows[applied.id]["envelope"] == applied.raw
    assert rows[poison.id]["error_class"] == "contract_violated"
    assert await house.effects("analytics") == ["applied", "theirs", "young"]
    assert Counter(await house.effects("provider_sync")) == {"applied": 1, "poison": 1, "theirs": 1, "young": 1}
    told = await house.query("SELECT org_id FROM analytics.outbox WHERE type = 'dead_letter.changed.v1'")
    assert {row["org_id"] for row in told} == {one}
    assert await balance(house) == {"done": 3, "dead": 2}

    # An operator who knows that it was never applied may release it: then it is handled like any other.
    await house.query(
        "UPDATE analytics.inbox SET state = 'due', due_at = now(), takes = 0 WHERE event_id = $1", applied.id
    )
    await until(lambda: has_states(house, done=2, dead=1))
    assert Counter(await house.effects("analytics"))["applied"] == 2


async def test_what_was_open_when_its_week_was_forgotten_is_still_handled_once(house: House, make_org: Any) -> None:
    org = make_org()
    (told,) = await house.tell(org, "waits")
    processor = house.processors[TENANTS]
    await processor.defer([told])
    await forget(house, "analytics")

    house.start()  # the relay tells it only now: the first was somebody's duplicate
    await until(lambda: has_states(house, done=1))
    await until(lambda: heard_by_the_other(house))

    assert await house.effects("analytics") == ["waits"]


async def has_states(house: House, **states: int) -> bool:
    return Counter(row["state"] for row in await house.inbox(TENANTS)) == states


async def heard_by_the_other(house: House) -> bool:
    return len(await house.effects("provider_sync")) == 1


async def balance(house: House) -> dict[str, int]:
    rows = await house.query(
        "SELECT state, sum(count) AS n FROM analytics.ledger WHERE hop = $1 GROUP BY state HAVING sum(count) <> 0",
        TENANTS,
    )
    return {row["state"]: row["n"] for row in rows}
