"""Hostile requests at the door: what is answered 200 is kept to the byte; what is refused leaves nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator

import pytest
import structlog

from tests.integration.services.gateway.test_hostile import ask, fault
from tests.integration.services.hostile import METHODS, Dice, Request, drawn
from tests.integration.services.webhook_ingest.conftest import Door, Mailbox
from tests.integration.services.webhook_ingest.test_door import any_body

AT_ONCE = 200


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    config = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**config)


def thought_up(dice: Dice, box: Mailbox, bodies: list[bytes]) -> Request:
    body = (
        dice.choice(bodies) if dice.often(60) else dice.body(["event_type", "to_email"], {"event_type": "EMAIL_SENT"})
    )
    path = box.path
    if dice.often(15):
        at = dice.randint(0, len(path))
        path = path[:at] + dice.segment() + path[at + dice.randint(0, 3) :]
    headers = dice.headers() if dice.often(30) else []
    if dice.often(50):
        headers.append((b"content-length", b"%d" % (len(body) + dice.choice((0, 0, 0, 0, 1, -1)))))
    method = "POST" if dice.often(95) else dice.choice(METHODS)
    return Request(method, path, dice.query([]) if dice.often(20) else b"", tuple(headers), dice.cut(body))


@pytest.mark.parametrize("examples", [400, pytest.param(20_000, marks=pytest.mark.heavy)])
async def test_what_is_taken_is_kept_as_it_came(door: Door, boxes: tuple[Mailbox, Mailbox], examples: int) -> None:
    dice, bodies = Dice(seed=1), drawn(any_body, examples)
    posted = [thought_up(dice, boxes[0], bodies) for _ in range(examples)]
    statuses: Counter[int] = Counter()
    for start in range(0, len(posted), AT_ONCE):
        group = posted[start : start + AT_ONCE]
        answers = await asyncio.gather(*(ask(door.front, one) for one in group))
        taken = {}
        for one, answer in zip(group, answers, strict=True):
            statuses[answer.status] += 1
            assert not fault(answer), f"{fault(answer)}: {one}"
            if answer.status == 200:
                taken[answer.delivery_id] = b"".join(one.chunks)
        rows = await door.rows("SELECT id, org_id, body FROM deliveries")
        assert {row["id"]: row["body"] for row in rows} == taken
        assert {row["org_id"] for row in rows} <= {boxes[0].org_id}
        assert all(event.body == taken[event.delivery_id] for event in await door.told())
        await door.rows("TRUNCATE deliveries, outbox, occurrences, occurrence_variants, ledger")

    print(f"\n{statuses.total()} requests: {dict(sorted(statuses.items()))}")  # noqa: T201
    assert {200, 400, 404, 405, 415} <= statuses.keys()
    assert statuses[200] > examples / 2
