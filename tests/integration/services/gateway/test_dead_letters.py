"""The thin list of dead letters: the newer change wins, in whatever order they come."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from libs.contracts.event import seal
from libs.contracts.events import DeadLetterChangedV1
from libs.ids import OrgId, new_id, public_id
from libs.messaging.processor import Processor
from services.gateway.consumers import consumers
from tests.integration.services.gateway.test_own_routes import walk

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
EVENT = new_id()


def change(minutes: int, state: str = "dead", *, event_id=EVENT, attempts: int = 1) -> DeadLetterChangedV1:
    return DeadLetterChangedV1.model_validate(
        {
            "service": "analytics",
            "consumer": "analytics.facts",
            "event_id": event_id,
            "event_type": "message.recorded.v1",
            "event_subject": "message/1",
            "state": state,
            "error_class": "KeyError",
            "reason": "…",
            "fingerprint": "f00d",
            "attempts": attempts,
            "changed_at": NOON + timedelta(minutes=minutes),
        }
    )


async def deliver(database, org_id: OrgId, *changes: DeadLetterChangedV1) -> None:
    consumer = next(one for one in consumers() if one.queue == "gateway.dead-letters")
    processor = Processor(database("gateway"), consumer, "gateway")
    await processor.deliver([seal(event, source="analytics", org_id=org_id) for event in changes])


async def state_of(database, org_id: OrgId) -> list[tuple]:
    async with database("gateway").tenant_transaction(org_id) as session:
        return [tuple(row) for row in await session.fetch("SELECT state, attempts, changed_at FROM dead_letters")]


async def test_every_order_and_repetition_ends_alike(database, make_org):
    changes = [change(0), change(1, "due"), change(2, "dead", attempts=2), change(2, "discarded", attempts=2)]
    seen = set()
    for order in itertools.permutations(changes):
        org = make_org()
        await deliver(database, org, *order[:2])
        await deliver(database, org, order[2])
        await deliver(database, org, order[3], order[0])
        (found,) = await state_of(database, org)
        seen.add(found)

    assert seen == {("discarded", 2, NOON + timedelta(minutes=2))}


async def test_the_list_shows_what_needs_a_person_and_how_fresh_it_is(house, database):
    first, second = house.first, house.second
    empty = (await house.ask("GET", "/v1/dead-letters", first.admin)).json()
    assert (empty["data"], empty["as_of"]) == ([], None)

    ids = [new_id() for _ in range(4)]
    await deliver(database, first.org_id, *(change(n, event_id=ids[n]) for n in range(3)))
    await deliver(database, first.org_id, change(5, "done", event_id=ids[3]))
    await deliver(database, second.org_id, change(9, "parked"))

    page = (await house.ask("GET", "/v1/dead-letters", first.admin)).json()
    assert [item["event_id"] for item in page["data"]] == [str(ids[2]), str(ids[1]), str(ids[0])]
    assert page["as_of"] == "2026-07-01T12:05:00.000000Z"
    assert page["data"][0]["consumer"] == "analytics.facts"
    walked = await walk(house, "/v1/dead-letters", first.admin)
    assert walked == [f"dlt_analytics_facts_{ids[n].hex}" for n in (2, 1, 0)]
    few = (
        await house.ask("GET", "/v1/dead-letters?service=analytics&fingerprint=f00d&consumer=none", first.admin)
    ).json()
    assert few["data"] == []
    done = (await house.ask("GET", "/v1/dead-letters?state=done", first.admin)).json()
    assert [item["event_id"] for item in done["data"]] == [str(ids[3])]
    assert (await house.ask("GET", "/v1/dead-letters?state=rotten", first.admin)).status_code == 422
    theirs = (await house.ask("GET", "/v1/dead-letters", second.admin)).json()
    assert [item["state"] for item in theirs["data"]] == ["parked"]


async def test_a_cursor_is_for_its_filter(house, database):
    ids = [new_id() for _ in range(2)]
    await deliver(database, house.first.org_id, *(change(n, event_id=ids[n]) for n in range(2)))
    cursor = (await house.ask("GET", "/v1/dead-letters?limit=1", house.first.admin)).json()["next_cursor"]

    other = await house.ask("GET", f"/v1/dead-letters?state=dead&after={cursor}", house.first.admin)

    assert other.json()["code"] == "invalid_cursor"
    assert public_id("org", house.first.org_id) == house.first.org
