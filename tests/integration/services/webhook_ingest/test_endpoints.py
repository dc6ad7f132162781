"""How an endpoint becomes known to the door, and stays as its newest revision says."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import pytest

from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.ids import OrgId
from services.webhook_ingest.endpoints import Endpoints
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox, ask, mailbox, sent, until


async def ready(door: Door) -> list[Envelope]:
    rows = await door.rows("SELECT envelope FROM outbox WHERE type = 'webhook_endpoint.ready.v1' ORDER BY id")
    return [envelopes.read(row["envelope"]) for row in rows]


async def test_the_row_and_the_ready_event_come_together(door: Door, make_org: Callable[[], OrgId]) -> None:
    mine, theirs = mailbox(make_org()), mailbox(make_org())
    cause = mine.changed()

    await door.processor.deliver([cause, theirs.changed()])

    rows = await door.rows("SELECT org_id, id, account_id, status FROM endpoints")
    assert {tuple(row) for row in rows} == {(box.org_id, box.id, box.account_id, "open") for box in (mine, theirs)}
    told = {envelope.org_id: envelope for envelope in await ready(door)}
    assert told[mine.org_id].data == {"endpoint_id": str(mine.id), "token_id": str(mine.id)}
    assert told[mine.org_id].causation_id == cause.id
    assert told[theirs.org_id].data == {"endpoint_id": str(theirs.id), "token_id": str(theirs.id)}


async def test_any_order_and_repetition_ends_in_the_newest_revision(door: Door, make_org: Callable[[], OrgId]) -> None:
    org, other = make_org(), make_org()
    bystander = mailbox(other)
    await door.open(bystander)
    for order in itertools.permutations([1, 2, 3, 2]):
        box = mailbox(org)
        for revision in order:
            status = "open" if revision < 3 else "closed"
            await door.processor.deliver([box.changed(revision, status=status)])
        [row] = await door.rows("SELECT revision, status FROM endpoints WHERE id = $1", box.id)
        assert tuple(row) == (3, "closed")
    box = mailbox(org)
    await door.processor.deliver([box.changed(3), box.changed(1), box.changed(2, status="closed")])
    [row] = await door.rows("SELECT revision, status FROM endpoints WHERE id = $1", box.id)
    assert tuple(row) == (3, "open")
    assert len([one for one in await ready(door) if (one.data or {})["endpoint_id"] == str(box.id)]) == 1
    [row] = await door.rows("SELECT revision, status FROM endpoints WHERE id = $1", bystander.id)
    assert tuple(row) == (1, "open")


async def test_a_repeated_wish_is_answered_again_a_closed_one_not(door: Door, make_org: Callable[[], OrgId]) -> None:
    box = mailbox(make_org())

    await door.processor.deliver([box.changed()])
    await door.processor.deliver([box.changed()])
    await door.processor.deliver([box.changed(2, status="closed")])
    await door.processor.deliver([box.changed()])

    assert len(await ready(door)) == 2


async def test_a_token_hash_that_is_none_becomes_a_dead_letter(door: Door, make_org: Callable[[], OrgId]) -> None:
    good, bad = mailbox(make_org()), mailbox(make_org())

    await door.processor.deliver([bad.changed(token_sha256="abc"), good.changed()])

    rows = await door.rows("SELECT org_id, state, error_class FROM inbox WHERE state <> 'done'")
    assert [tuple(row) for row in rows] == [(bad.org_id, "dead", "contract_violated")]
    assert [row["id"] for row in await door.rows("SELECT id FROM endpoints")] == [good.id]


async def test_a_door_that_knows_nothing_yet_looks_before_it_refuses(door: Door, make_org: Callable[[], OrgId]) -> None:
    mine, theirs = mailbox(make_org()), mailbox(make_org())
    await door.processor.deliver([mine.changed(), theirs.changed()])
    assert not door.endpoints.are_known

    answers = await asyncio.gather(door.post(mine, sent(1)), door.post(theirs, sent(1)))

    assert [answer.status for answer in answers] == [200, 200]


async def test_closing_and_a_new_token_are_known_after_a_look(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    rotated = Mailbox(mine.org_id, mine.id, mine.account_id, mine.token[:-1] + ("A" if mine.token[-1] != "A" else "B"))
    await door.processor.deliver([rotated.changed(2), theirs.changed(2, status="closed")])

    assert (await door.post(rotated, sent(1))).status == 200  # refused at first, found on the second look
    assert (await door.post(mine, sent(1))).status == 404
    assert (await door.post(theirs, sent(1))).status == 404


async def test_guessers_share_their_looks(
    door: Door, boxes: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[float] = []
    read = door.endpoints._read

    async def noted_read() -> None:
        reads.append(time.monotonic())
        await read()

    monkeypatch.setattr(door.endpoints, "_read", noted_read)
    for _ in range(2):
        answers = await asyncio.gather(*(ask(door.front, mailbox(boxes[0].org_id).path) for _ in range(150)))
        assert {answer.status for answer in answers} == {404}
    too_many = await asyncio.gather(*(ask(door.front, mailbox(boxes[0].org_id).path) for _ in range(300)))

    assert len(reads) == 3
    assert all(later - earlier > 0.24 for earlier, later in itertools.pairwise(reads))
    assert {answer.status for answer in too_many} == {404, 503}


async def test_other_replicas_hear_of_it_at_commit(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    replica = Endpoints(door.database)
    running = asyncio.create_task(replica.run())

    async def is_open() -> bool:
        return replica.find(mine.id).is_open

    async def is_closed() -> bool:
        return not replica.find(mine.id).is_open

    try:
        await until(is_open)
        await door.processor.deliver([mine.changed(2, status="closed")])
        await until(is_closed)  # well before the next poll
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_was_deleted_is_forgotten(
    door: Door, boxes: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = boxes
    await door.rows("DELETE FROM endpoints WHERE id = $1", mine.id)

    monkeypatch.setattr(door.endpoints, "_whole_at", -1000.0)
    await door.endpoints.refresh()

    assert not door.endpoints.find(mine.id).is_open
    assert door.endpoints.find(theirs.id).is_open
