"""A token is replaced while its provider goes on posting: nothing valid is refused, what is late can be released."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from typing import Any
from uuid import UUID

import orjson
import pytest
import structlog

from libs import clock
from libs.errors import Conflict, Forbidden, NotFound
from libs.ids import CompanyId, new_id
from libs.messaging.work import Units
from libs.providers.registry import PROVIDERS
from libs.tenancy.context import CompanyScope
from services.webhook_ingest import handlers
from tests.integration.services.webhook_ingest.conftest import SOURCE, Answer, Door, Mailbox, ask, sent

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def succeeding(box: Mailbox) -> Mailbox:
    """The same endpoint under its next token."""
    return replace(box, token=f"{box.id.hex}_{secrets.token_urlsafe(32)}")


def earlier(box: Mailbox, token_id: UUID, *, ends_at: datetime | None, dead_at: datetime | None) -> dict[str, Any]:
    sha256 = hashlib.sha256(box.token.encode()).hexdigest()
    return {"token_id": token_id, "token_sha256": sha256, "ends_at": ends_at, "dead_at": dead_at}


async def rotate(
    door: Door, box: Mailbox, *, revision: int = 2, ends_at: datetime | None = None, dead_at: datetime | None = None
) -> tuple[Mailbox, UUID]:
    """`box` gets a successor; answers it and its token's id. The first token has the endpoint's id."""
    newer, token_id = succeeding(box), new_id()
    old = earlier(box, box.id, ends_at=ends_at, dead_at=dead_at)
    await door.processor.deliver([newer.changed(revision, token_id=token_id, earlier_tokens=[old])])
    await door.endpoints.refresh()
    return newer, token_id


async def release(door: Door, box: Mailbox, *ids: UUID, scope: CompanyScope | None = None) -> dict[str, Any]:
    units = Units(door.database, SOURCE)
    async with units.begin(box.org_id, *([scope] if scope else [])) as work:
        return await handlers.release_deliveries(work, ids, providers=PROVIDERS)


async def balance(door: Door, box: Mailbox) -> dict[str, tuple[int, int]]:
    """State at the door -> count, XOR of ids; of one org."""
    rows = await door.rows("SELECT * FROM ledger WHERE hop = 'door' AND org_id = $1", box.org_id)
    return {
        state: (
            sum(row["count"] for row in rows if row["state"] == state),
            reduce(xor, (int.from_bytes(row["ids_xor"], "big") for row in rows if row["state"] == state)),
        )
        for state in {row["state"] for row in rows}
    }


async def test_both_tokens_open_while_they_overlap_and_are_told_apart(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, theirs = boxes
    newer, token_id = await rotate(door, mine)

    answers = await asyncio.gather(door.post(mine, sent(1)), door.post(newer, sent(2)), door.post(theirs, sent(1)))

    assert [answer.status for answer in answers] == [200, 200, 200]
    told = {event.delivery_id: event for event in await door.told()}
    assert [told[answer.delivery_id].token_id for answer in answers] == [mine.id, token_id, theirs.id]
    assert told[answers[2].delivery_id].envelope.org_id == theirs.org_id


async def test_an_occurrence_is_one_whatever_token_it_comes_by(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    newer, _ = await rotate(door, mine)

    first, second = await door.post(mine, sent(1)), await door.post(newer, sent(1))

    assert (await door.verdicts()) == {first.delivery_id: "accepted", second.delivery_id: "duplicate"}


async def test_the_ready_event_names_the_newest_token(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    newer, token_id = await rotate(door, mine)
    await door.processor.deliver([mine.changed(1), theirs.changed(1)])  # older news, told again

    rows = await door.rows("SELECT envelope FROM outbox WHERE type = 'webhook_endpoint.ready.v1' ORDER BY id")
    told = [orjson.loads(row["envelope"])["data"] for row in rows]
    assert [one["token_id"] for one in told if one["endpoint_id"] == str(newer.id)] == [
        str(newer.id),
        str(token_id),
        str(token_id),
    ]
    assert {one["token_id"] for one in told if one["endpoint_id"] == str(theirs.id)} == {str(theirs.id)}


async def test_late_posts_are_kept_then_refused(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    newer, _ = await rotate(door, mine, ends_at=NOON + HOUR, dead_at=NOON + 2 * HOUR)

    statuses: list[tuple[int, int]] = []
    posted: list[Answer] = []
    with structlog.testing.capture_logs() as logs:
        for moment in (NOON, NOON + HOUR, NOON + 2 * HOUR):
            with clock.frozen(moment):
                posted.append(await door.post(mine, sent(len(posted))))
                statuses.append((posted[-1].status, (await door.post(newer, sent(10 + len(posted)))).status))
    unknown = await ask(door.front, succeeding(mine).path, [sent(1)])

    assert statuses == [(200, 200), (200, 200), (404, 200)]
    assert {**posted[2].problem, "request_id": ""} == {**unknown.problem, "request_id": ""}
    rows = await door.rows("SELECT id, verdict, quarantine_reason, body, dedupe_key FROM deliveries ORDER BY id")
    assert [tuple(row) for row in rows if row["verdict"] == "quarantined"] == [
        (posted[1].delivery_id, "quarantined", "token_ended", sent(1), None)
    ]
    assert posted[1].delivery_id not in {event.delivery_id for event in await door.told()}
    assert (await door.post(theirs, sent(1))).status == 200
    assert not [line for line in logs if mine.token in str(line) or newer.token in str(line)]


async def test_a_late_post_does_not_make_the_good_one_a_repetition(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    newer, _ = await rotate(door, mine, ends_at=NOON)

    late, good = await door.post(mine, sent(1)), await door.post(newer, sent(1))

    assert (await door.verdicts()) == {late.delivery_id: "quarantined", good.delivery_id: "accepted"}


async def test_what_is_released_is_told_once_and_balances(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    newer, _ = await rotate(door, mine, ends_at=NOON)
    known = await door.post(newer, sent(1))
    repeated, fresh, other = [await door.post(mine, body) for body in (sent(1), sent(2), sent(1, subject="b"))]
    untouched = await door.post(mine, sent(3))
    stranger = await door.post(theirs, sent(1))
    wanted = [fresh.delivery_id, repeated.delivery_id, other.delivery_id]

    first = await release(door, mine, *wanted)
    second = await release(door, mine, *wanted, known.delivery_id)

    verdicts = {UUID(one["id"].removeprefix("dlv_")): one["verdict"] for one in first["data"]}
    assert verdicts == {
        fresh.delivery_id: "accepted",
        repeated.delivery_id: "duplicate",
        other.delivery_id: "conflict",
    }
    assert all(one["released_at"] and one["released_from"] == "token_ended" for one in first["data"])
    assert [one["verdict"] for one in second["data"]] == ["accepted", "duplicate", "conflict", "accepted"]
    assert second["data"][:3] == first["data"]
    told = [event for event in await door.told() if event.envelope.org_id == mine.org_id]
    assert sorted(event.delivery_id for event in told) == sorted(
        [known.delivery_id, fresh.delivery_id, other.delivery_id]
    )
    assert {event.delivery_id: event.body for event in told}[fresh.delivery_id] == sent(2)
    counts = await balance(door, mine)
    assert counts["accepted"][0] == 5
    assert counts["quarantined"] == (1, untouched.delivery_id.int)
    assert counts["duplicate"] == (1, repeated.delivery_id.int)
    assert counts["published"] == (3, known.delivery_id.int ^ fresh.delivery_id.int ^ other.delivery_id.int)
    assert (await balance(door, theirs))["published"] == (1, stranger.delivery_id.int)


async def test_what_may_not_be_released(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    await rotate(door, mine, ends_at=NOON)
    await rotate(door, theirs, ends_at=NOON)
    good, garbage, foreign = [
        await door.post(box, body) for box, body in ((mine, sent(1)), (mine, b"garbage"), (theirs, sent(1)))
    ]

    with pytest.raises(Conflict, match="is no payload of smartlead: not JSON"):
        await release(door, mine, good.delivery_id, garbage.delivery_id)
    for missing in (foreign.delivery_id, new_id()):
        with pytest.raises(NotFound, match="there is no dlv_ object with this id"):
            await release(door, mine, good.delivery_id, missing)
    with pytest.raises(Forbidden):
        await release(door, mine, good.delivery_id, scope=CompanyScope.of([CompanyId(new_id())]))

    assert set((await door.verdicts()).values()) == {"quarantined"}
    assert await door.told() == []


async def test_two_releases_at_once_tell_it_once(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    await rotate(door, mine, ends_at=NOON)
    late = await door.post(mine, sent(1))
    await asyncio.gather(
        *(release(door, mine) for _ in range(4))
    )  # else the first is done when the next has a connection

    await asyncio.gather(*(release(door, mine, late.delivery_id) for _ in range(4)))

    assert [event.delivery_id for event in await door.told()] == [late.delivery_id]
    assert (await balance(door, mine))["published"] == (1, late.delivery_id.int)
