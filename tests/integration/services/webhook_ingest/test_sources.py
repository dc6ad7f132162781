"""Where posts may come from: a mark first, a quarantine where an endpoint says so, and no stranger's word for it."""

from __future__ import annotations

from tests.integration.services.webhook_ingest.conftest import Answer, Door, Mailbox, sent
from tests.integration.services.webhook_ingest.test_limits import head, served, spoken

OFFICE = "192.0.2.0/24"
LISTED, STRANGE, PROXY = "192.0.2.7", "198.51.100.7", "10.0.0.1"


async def restrict(door: Door, box: Mailbox, mode: str) -> None:
    await door.processor.deliver([box.changed(2, allowed_sources=[OFFICE, "2001:db8::/32"], source_mode=mode)])
    await door.endpoints.refresh()


async def post(door: Door, box: Mailbox, number: int, peer: str, forwarded: str | None = None) -> Answer:
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    return await door.post(box, sent(number), peer=peer, headers=headers)


async def kept(door: Door) -> list[tuple[object, ...]]:
    rows = await door.rows(
        "SELECT verdict, quarantine_reason, host(source_address), source_listed FROM deliveries ORDER BY id"
    )
    return [tuple(row) for row in rows]


async def test_by_default_a_strange_source_is_marked_and_nothing_else(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, theirs = boxes
    await restrict(door, mine, "observe")

    answers = [
        await post(door, mine, 1, LISTED),
        await post(door, mine, 2, STRANGE),
        await post(door, theirs, 1, STRANGE),
    ]

    assert {answer.status for answer in answers} == {200}
    assert await kept(door) == [
        ("accepted", None, LISTED, True),
        ("accepted", None, STRANGE, False),
        ("accepted", None, STRANGE, None),
    ]
    told = {event.delivery_id: event.source_listed for event in await door.told()}
    assert [told[answer.delivery_id] for answer in answers] == [True, False, None]


async def test_enforced_it_is_kept_and_not_told(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    await restrict(door, mine, "enforce")

    answers = [
        await post(door, mine, 1, "2001:db8::7"),
        await post(door, mine, 2, STRANGE),
        await post(door, theirs, 1, STRANGE),
    ]

    assert {answer.status for answer in answers} == {200}
    assert await kept(door) == [
        ("accepted", None, "2001:db8::7", True),
        ("quarantined", "source_not_allowed", STRANGE, False),
        ("accepted", None, STRANGE, None),
    ]
    assert {event.delivery_id for event in await door.told()} == {answers[0].delivery_id, answers[2].delivery_id}


async def test_a_forwarded_address_counts_from_a_proxy_of_ours_only(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    mine, theirs = boxes
    await restrict(door, mine, "enforce")

    spoofed = await post(door, mine, 1, STRANGE, forwarded=LISTED)
    through = await post(door, mine, 2, PROXY, forwarded=f"{STRANGE}, {LISTED}")
    spoofed_through = await post(door, mine, 3, PROXY, forwarded=f"{LISTED}, {STRANGE}")
    await post(door, theirs, 1, STRANGE, forwarded=LISTED)

    assert {spoofed.status, through.status, spoofed_through.status} == {200}
    assert await kept(door) == [
        ("quarantined", "source_not_allowed", STRANGE, False),
        ("accepted", None, LISTED, True),
        ("quarantined", "source_not_allowed", STRANGE, False),
        ("accepted", None, STRANGE, None),
    ]


async def test_over_a_socket_the_header_is_a_strangers_word_too(door: Door, boxes: tuple[Mailbox, Mailbox]) -> None:
    """A server that believes X-Forwarded-For from this machine, as uvicorn does by itself, would believe it here."""
    mine, _ = boxes
    await restrict(door, mine, "enforce")
    body = sent(1)

    async with served(door) as port:
        headers = (b"X-Forwarded-For: " + LISTED.encode(), b"Content-Length: %d" % len(body))
        answer = await spoken(port, head(mine.path, *headers) + body)

    assert answer.startswith(b"HTTP/1.1 200")
    assert await kept(door) == [("quarantined", "source_not_allowed", "127.0.0.1", False)]


async def test_a_source_that_is_no_address_block_becomes_a_dead_letter(
    door: Door, boxes: tuple[Mailbox, Mailbox]
) -> None:
    mine, theirs = boxes

    await door.processor.deliver([mine.changed(2, allowed_sources=["192.0.2.7/24"]), theirs.changed(2)])

    rows = await door.rows("SELECT org_id, error_class FROM inbox WHERE state = 'dead'")
    assert [tuple(row) for row in rows] == [(mine.org_id, "contract_violated")]
    [row] = await door.rows("SELECT revision FROM endpoints WHERE id = $1", theirs.id)
    assert row["revision"] == 2
