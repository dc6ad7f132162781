"""Pages of a table: each row that stays is in them once, whatever comes and goes meanwhile; long rows make short pages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from libs.database.engine import Database, OrganizationErased
from libs.ids import OrgId, new_id
from libs.messaging import exports
from libs.messaging.exports import Exported, Source
from libs.messaging.standing import set_standing

FACTS = Exported("subject version data recorded_at company_id")
NOON = datetime(2026, 7, 11, 12, 0, 0, 250, tzinfo=UTC)


async def add_fact(database: Database, org_id: OrgId, subject: str, data: str = "{}") -> None:
    async with database.tenant_transaction(org_id) as session:
        await session.execute(
            "INSERT INTO facts (org_id, subject, version, type, event_id, recorded_at, data) "
            "VALUES ($1, $2, 1, 'lead.recorded.v1', $3, $4, $5::text::jsonb)",
            org_id,
            subject,
            new_id(),
            NOON,
            data,
        )


async def page(
    database: Database,
    org_id: OrgId,
    after: list[str] | None,
    limit: int,
    *,
    table: str = "facts",
    of: Exported = FACTS,
) -> tuple[list[dict[str, Any]], list[str] | None]:
    async with database.tenant_transaction(org_id) as session:
        source = await Source.of(session, table, of)
        read = await source.read(session, after, limit)
    return [orjson.loads(line) for line in read.lines], read.position


async def test_each_row_is_in_the_pages_once_while_others_come_and_go(
    database: Callable[[str], Database], make_org: Callable[[], OrgId]
) -> None:
    analytics, mine, other = database("analytics"), make_org(), make_org()
    stay = [f"lead/{number:02}" for number in range(10, 22)]
    for subject in stay:
        await add_fact(analytics, mine, subject)
        await add_fact(analytics, other, subject)

    found: list[str] = []
    position: list[str] | None = None
    turns = 0
    while True:
        rows, position = await page(analytics, mine, position, 3)
        found += [row["subject"] for row in rows]
        if position is None:
            break
        turns += 1
        # Before what was read, right behind it, and at the end; and one that was read is gone.
        for subject in (f"lead/0{turns}", f"{found[-1]}+", f"lead/9{turns}"):
            await add_fact(analytics, mine, subject)
        async with analytics.tenant_transaction(mine) as session:
            await session.execute("DELETE FROM facts WHERE org_id = $1 AND subject = $2", mine, found[0])

    assert len(found) == len(set(found))
    assert [subject for subject in found if subject in stay] == stay
    assert turns >= 4
    assert {subject for subject in found if subject.endswith("+")} != set(), "what comes behind the position is read"
    assert not {subject for subject in found if subject.startswith("lead/0")}, "what comes before it is not"


async def test_long_rows_make_short_pages_and_none_is_lost(
    database: Callable[[str], Database], make_org: Callable[[], OrgId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE_BYTES", 10_000)
    analytics, mine = database("analytics"), make_org()
    lengths = [100, 100, 9_900, 100, 30_000, 100, 100]
    for number, length in enumerate(lengths):
        await add_fact(analytics, mine, f"lead/{number}", orjson.dumps({"text": "x" * length}).decode())

    pages, position = [], None
    while True:
        rows, position = await page(analytics, mine, position, 100)
        pages.append([len(row["data"]["text"]) for row in rows])
        if position is None:
            break

    assert [length for one in pages for length in one] == lengths
    # A page ends with the row that makes it too long.
    assert pages == [[100, 100, 9_900], [100, 30_000], [100, 100]]


async def test_values_are_written_as_they_are_stored(
    database: Callable[[str], Database], make_org: Callable[[], OrgId]
) -> None:
    analytics, door, mine = database("analytics"), database("webhook_ingest"), make_org()
    odd = '{"n": 12345678901234567890, "d": 0.1, "nothing": null, "text": "ä\\u2028 \\"\\\\ \\n🙂", "list": [[], {}]}'
    await add_fact(analytics, mine, 'lead/"quoted" \\ ü', odd)
    body = bytes(range(256)) * 4
    async with door.tenant_transaction(mine) as session:
        await session.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'")
        await session.execute(
            "INSERT INTO deliveries (org_id, id, endpoint_id, account_id, provider, received_at, body_sha256, body, "
            "event_type, verdict, headers, source_address) "
            "VALUES ($1, $2, $2, $2, 'smartlead', $3, 'x', $4, 'SENT', 'accepted', '{}', '192.0.2.7')",
            mine,
            new_id(),
            NOON,
            body,
        )
        of = Exported("received_at body source_address headers dedupe_key token_id")
        read = await (await Source.of(session, "deliveries", of)).read(session, None, 10)
        as_hex = Exported("body", as_hex=frozenset({"body"}))
        hexed = await (await Source.of(session, "deliveries", as_hex)).read(session, None, 10)

    (fact,), position = await page(analytics, mine, None, 10)
    assert fact == {
        "subject": 'lead/"quoted" \\ ü',
        "version": 1,
        "data": {"n": 12345678901234567890, "d": 0.1, "nothing": None, "text": 'ä\u2028 "\\ \n🙂', "list": [[], {}]},
        "recorded_at": "2026-07-11T12:00:00.000250Z",
        "company_id": None,
    }
    assert position is None
    assert orjson.loads(read.lines[0]) == {
        "received_at": "2026-07-11T12:00:00.000250Z",
        "body": base64.b64encode(body).decode(),
        "source_address": "192.0.2.7",
        "headers": {},
        "dedupe_key": None,
        "token_id": None,
    }
    assert orjson.loads(hexed.lines[0]) == {"body": body.hex()}


async def test_an_erased_organization_has_no_pages(
    database: Callable[[str], Database], make_org: Callable[[], OrgId]
) -> None:
    analytics, mine = database("analytics"), make_org()
    await add_fact(analytics, mine, "lead/1")
    async with analytics.tenant_transaction(mine) as session:
        await set_standing(session, "erased", 1)

    with pytest.raises(OrganizationErased):
        await page(analytics, mine, None, 10)
