"""Posts for an organization that was erased while the door still remembered its endpoint."""

from __future__ import annotations

import asyncio

import orjson

from libs.messaging.standing import set_standing
from libs.messaging.work import Units
from tests.integration.services.webhook_ingest.conftest import Answer, Door, Mailbox, mailbox, sent


def seen(answer: Answer) -> tuple[int, dict[str, str], dict[str, object]]:
    """All that tells one refusal from another, but for its own id."""
    body = orjson.loads(answer.body)
    del body["request_id"]
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status, headers, body


async def test_they_are_answered_as_if_it_never_was_and_cost_their_neighbours_nothing(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    erased, other = boxes
    async with Units(door.database, "webhook-ingest").begin(erased.org_id) as work:
        await set_standing(work.session, "erased", 1)

    # One flush holds both: the door remembers both endpoints.
    answers = await asyncio.gather(*(door.post(boxes[n % 2], sent(n)) for n in range(40)))

    nobodys = await door.post(mailbox(other.org_id), sent(99))
    assert nobodys.status == 404
    assert [seen(answer) for answer in answers[::2]] == [seen(nobodys)] * 20
    assert [answer.status for answer in answers[1::2]] == [200] * 20
    assert {row["org_id"] for row in await door.rows("SELECT org_id FROM deliveries")} == {other.org_id}
    assert {row["org_id"] for row in await door.rows("SELECT org_id FROM outbox WHERE type LIKE 'webhook.%'")} == {
        other.org_id
    }
    assert {row["org_id"] for row in await door.rows("SELECT org_id FROM ledger WHERE hop = 'door'")} == {other.org_id}
