"""An agency sees the same bytes whether its twin, who shares every name and number with it, is idle or busy.

Whatever differs is a leak, also one that nobody thought of: in a list, a count, an order, an error, a page, a time. The twin
is another organization, whose companies, accounts and runs even have the same ids; then another company of the same one.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import asyncpg
import pytest

from libs.clock import now
from libs.ids import new_id, parse_public_id
from services.gateway import app as gateway_app
from services.gateway.rates import Limits
from tests.integration.libs.database.tables import tables
from tests.integration.services.provider_sync.stage import forget_org_filters
from tests.security.room import Copy, Room
from tests.security.stack import opened
from tests.security.twins.crawl import Crawl, Reader
from tests.security.twins.eyes import ELSEWHEN, Eyes, ids_in
from tests.security.twins.story import TWIN_SAYS, Agency

Copies = Callable[[], Awaitable[Copy]]
Chapter = Callable[[Agency], Awaitable[None]]
# Of each kind one that is the twin's, or nobody's, is asked for. Of two organizations some kinds have the same ids.
OF_ANOTHER_ORG = {
    "key": "/v1/api-keys", "usr": "/v1/users", "sch": "/v1/reconciliation-schedules", "whe": "/v1/webhook-endpoints",
    "dlv": "/v1/deliveries", "org": "/v1/organizations", "acc": "/v1/provider-accounts", "cam": "/v1/email/campaigns",
    "rec": "/v1/reconciliations",
}  # fmt: skip
OF_A_SIBLING = {
    "acc": "/v1/provider-accounts", "cam": "/v1/email/campaigns", "led": "/v1/leads", "cnv": "/v1/inbox/conversations",
    "rec": "/v1/reconciliations", "sch": "/v1/reconciliation-schedules", "whe": "/v1/webhook-endpoints",
}  # fmt: skip
MOMENT = now() - timedelta(hours=1)  # up to which the providers play, in every run


@dataclass
class Told:
    eyes: Eyes
    foreign: list[str]
    twin_only: set[str]  # ids that are in the twin's rows and in no other's
    twin_rows: int
    copied: str  # every page of every table that the first one may copy


async def told(
    copy: Copy,
    *,
    busy: bool,
    siblings: bool = False,
    only: str = "/v1/",
    before_looking: Callable[[], Awaitable[None]] | None = None,
) -> Told:
    eyes = Eyes(with_limits=not siblings)
    async with opened(copy.full) as stack:
        first, twin = Agency(stack, copy.admin, MOMENT, "", eyes), Agency(stack, copy.admin, MOMENT, TWIN_SAYS)
        if siblings:
            async with eyes.step():
                house = Agency(stack, copy.admin, MOMENT, "", numbers=itertools.count(50))
                await house.found()
            twin.numbers = itertools.count(100)
            for one in (first, twin):
                await one.join(house)
        else:
            # Both companies and the first account have the same ids; other accounts and runs have not.
            twin.numbers = itertools.chain(range(3), itertools.count(100))
            for one in (first, twin):
                await one.found()
        await first.settle()
        people: list[Chapter] = [] if siblings else [Agency.people]
        chapters: list[Chapter] = [Agency.open_accounts, Agency.post_odd, partial(Agency.post, count=60)]
        for chapter in people + chapters:
            await chapter(first)
            if busy:
                await chapter(twin)
        await first.settle()  # both at once, in the same batches
        chapters = [Agency.act, Agency.compare, partial(Agency.post, count=20)]
        for chapter in chapters:
            await chapter(first)
            if busy:
                await chapter(twin)
        await first.settle()
        foreign = await _foreign(twin, OF_A_SIBLING if siblings else OF_ANOTHER_ORG, busy=busy)
        live = twin.live()
        if before_looking is not None:
            await before_looking()

        async def meanwhile() -> None:
            if busy and len(eyes.seen) % 10 == 0:
                await anext(live)

        crawl = Crawl(stack, eyes, foreign, f"{MOMENT - timedelta(days=9):%Y-%m-%d}", meanwhile, only)
        for name in ("admin", "viewer"):
            await crawl.run(Reader(name, first.keys[name]))
        await live.aclose()
        copied = "" if siblings else await _copied(first)
    ids, rows = await _only_in(copy.admin, twin.org, first.org)
    return Told(eyes, foreign, ids, rows, copied)


async def _copied(agency: Agency) -> str:
    """Not by its eyes: rows tell of queues and timers, which are not the same in two runs."""
    ask, pages = partial(agency.stack.ask, "GET", key=agency.keys["admin"]), []
    for table in (await ask("/v1/exports")).json()["data"]:
        path = f"/v1/exports/{table['owner']}/{table['table']}?limit=1000"
        cursor: str | None = ""
        while cursor is not None:
            page = await ask(path + (f"&after={cursor}" if cursor else ""))
            pages.append(page.text)
            cursor = page.json()["next_cursor"]
    return "\n".join(pages)


async def _foreign(twin: Agency, paths: dict[str, str], *, busy: bool) -> list[str]:
    if not busy:
        return [f"{kind}_{new_id().hex}" for kind in paths]
    found = []
    for path in paths.values():
        listed = await twin.stack.ask("GET", path, twin.keys["admin"])
        if listed.status_code == 422:
            listed = await twin.stack.ask("GET", f"{path}?all_companies=true", twin.keys["admin"])
        found.append(listed.json()["data"][0]["id"])
    return found


async def _only_in(admin: asyncpg.Connection, twin: str, first: str) -> tuple[set[str], int]:
    """Ids in the rows of the twin's organization that are in none of the other's, and how many rows it has."""
    texts: dict[str, list[str]] = {}
    for table in [table for table in await tables(admin) if table.is_tenants]:
        for org in {twin, first}:
            rows = await admin.fetch(f"SELECT t::text FROM {table} t WHERE org_id = $1", parse_public_id("org", org))
            texts.setdefault(org, []).extend(row[0] for row in rows)
    ids = {
        org: set(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "\n".join(rows)))
        for org, rows in texts.items()
    }
    return {one.replace("-", "") for one in ids[twin] - ids[first]}, len(texts[twin])


def difference(idle: Eyes, busy: Eyes) -> str:
    """The first looks that differ, line by line; "" when none does."""
    found: list[str] = []
    for before, after in itertools.zip_longest(idle.impersonal(), busy.impersonal(), fillvalue=""):
        if before != after and len(found) < 5:
            lines = difflib.unified_diff(_lines(before), _lines(after), "idle", "busy", lineterm="", n=1)
            found.append("\n".join(lines))
    return "\n\n".join(found)


def _lines(look: str) -> list[str]:
    return [line[:300] for line in look.replace(',"', ',\n"').splitlines()]


@pytest.fixture
async def copies(room: Room) -> AsyncIterator[Copies]:
    async with AsyncExitStack() as stack:
        yield lambda: stack.enter_async_context(room.copy(rows=False))


@pytest.fixture(autouse=True)
def long_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many requests may follow is part of what is seen; it must not start anew on the way."""
    monkeypatch.setattr(gateway_app, "Limits", partial(Limits, window_seconds=86_400))


async def test_an_organization_sees_nothing_of_its_twin(copies: Copies) -> None:
    idle, busy = await told(await copies(), busy=False), await told(await copies(), busy=True)

    assert len(idle.eyes.seen) > 500
    assert busy.twin_rows > idle.twin_rows + 500
    if differing := difference(idle.eyes, busy.eyes):
        pytest.fail(differing, pytrace=False)
    assert not [look for look in busy.eyes.impersonal() if TWIN_SAYS in look or ELSEWHEN in look]
    named = {one[4:] for one in busy.foreign}  # asked for by their ids, and refused
    assert busy.twin_only & busy.eyes.ids() <= named
    assert len(busy.copied) > 100_000
    assert TWIN_SAYS not in busy.copied
    assert not busy.twin_only & ids_in(busy.copied)


@pytest.mark.heavy
async def test_a_company_sees_nothing_of_its_sibling(copies: Copies) -> None:
    idle = await told(await copies(), busy=False, siblings=True)
    busy = await told(await copies(), busy=True, siblings=True)

    assert len(idle.eyes.seen) > 300
    assert busy.twin_rows > idle.twin_rows + 500
    if differing := difference(idle.eyes, busy.eyes):
        pytest.fail(differing, pytrace=False)
    assert not [look for look in busy.eyes.impersonal() if TWIN_SAYS in look or ELSEWHEN in look]


# One policy less, and what is under it: then it must be seen.


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("table", "policy", "siblings", "path"),
    [
        ("provider_sync.campaigns", "org", False, "/v1/email/campaigns"),
        ("analytics.campaigns", "company", True, "/v1/analytics/campaigns"),
    ],
)
async def test_a_policy_that_is_gone_is_seen(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, table: str, policy: str, siblings: bool, path: str
) -> None:
    idle = await told(await copies(), busy=False, siblings=siblings, only=path)
    copy = await copies()

    async def spoil() -> None:
        if policy == "company":
            await copy.admin.execute(f"DROP POLICY company ON {table}")
        else:
            await copy.admin.execute(f"ALTER POLICY org ON {table} USING (true)")
            forget_org_filters(monkeypatch)

    busy = await told(copy, busy=True, siblings=siblings, only=path, before_looking=spoil)

    assert difference(idle.eyes, busy.eyes) != ""
