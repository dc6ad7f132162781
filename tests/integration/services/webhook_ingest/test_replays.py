"""Deliveries are told again: chosen by id, by what they came to, by when; what was never published is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from libs.errors import Conflict, NotFound
from libs.ids import parse_public_id, public_id
from libs.messaging.work import Units
from libs.providers.registry import PROVIDERS
from services.webhook_ingest.replaying import replay_again
from services.webhook_ingest.schemas import DeliveryReplayIn
from tests.integration.services.webhook_ingest.conftest import SOURCE, Door, Mailbox, sent


async def replay(door: Door, box: Mailbox, **asked: Any) -> dict[str, Any]:
    async with Units(door.database, SOURCE).begin(box.org_id, actor="key:ada") as work:
        return await replay_again(DeliveryReplayIn(reason="mended", **asked), work, providers=PROVIDERS)


def dlv(answer: Any) -> str:
    return public_id("dlv", answer.delivery_id)


async def test_what_was_published_is_told_again_under_a_new_id(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    first, again, other = [await door.post(mine, body) for body in (sent(1), sent(1), sent(2))]
    foreign = await door.post(theirs, sent(1))
    before = await door.told()

    tried = await replay(door, mine, delivery_ids=[dlv(again), dlv(other)], dry_run=True)
    assert tried["delivery_ids"] == [dlv(first), dlv(other)]  # a repeated one stands for its first
    assert await door.told() == before
    done = await replay(door, mine, delivery_ids=[dlv(again), dlv(other)])

    told = {event.delivery_id: event for event in (await door.told())[len(before) :]}
    assert told.keys() == {first.delivery_id, other.delivery_id}
    once = {event.delivery_id: event for event in before}
    for delivery_id, event in told.items():
        assert event.model_dump() == once[delivery_id].model_dump()
        assert event.envelope.id != delivery_id
        assert event.envelope.replay_id == parse_public_id("rpl_deliveries", done["replay_id"])
    with pytest.raises(NotFound):
        await replay(door, mine, delivery_ids=[dlv(other), dlv(foreign)])


async def test_by_time_and_endpoint_in_portions(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    posted = [await door.post(mine, sent(n)) for n in range(3)]
    await door.post(theirs, sent(1))
    rows = await door.rows("SELECT received_at FROM deliveries WHERE org_id = $1 ORDER BY id", mine.org_id)

    part = await replay(door, mine, endpoint_id=public_id("whe", mine.id), max=2)
    rest = await replay(door, mine, endpoint_id=public_id("whe", mine.id), max=2, after=part["next_after"])

    assert part["delivery_ids"] + rest["delivery_ids"] == [dlv(one) for one in posted]
    assert (part["has_more"], rest["has_more"], rest["next_after"]) == (True, False, None)
    late = await replay(door, mine, received_from=rows[-1]["received_at"] + timedelta(microseconds=1), dry_run=True)
    assert late["delivery_ids"] == []
    early = await replay(door, mine, received_until=rows[-1]["received_at"], dry_run=True)
    assert dlv(posted[-1]) not in early["delivery_ids"]


async def test_what_is_quarantined_is_released_instead(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, _ = boxes
    held = await door.post(mine, b"garbage")

    with pytest.raises(Conflict) as caught:
        await replay(door, mine, delivery_ids=[dlv(held)])

    assert caught.value.code == "quarantined"
    assert (await replay(door, mine, account_id=public_id("acc", mine.account_id)))["delivery_ids"] == []
    for wrong in ({}, {"delivery_ids": [dlv(held)], "max": 3, "after": dlv(held)}):
        with pytest.raises(ValidationError):
            await replay(door, mine, **wrong)
