"""An owner's routes for copying an organization: whom they refuse, what a cursor is good for, and what is told of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, new_id
from libs.messaging.exports import Exported, Exports
from libs.messaging.work import Units
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from libs.web.app import make_app
from libs.web.cursors import Cursors
from libs.web.exports import export_routes
from libs.web.tenant import InnerHop

PRIVATE = new_private_key()
EXPORTS = Exports(
    "analytics",
    {"companies": Exported("company_id name"), "syncs": Exported("kind")},
    {"facts": "for this test"},
)


class Owner:
    def __init__(self, app: object, org_id: OrgId, database: Database) -> None:
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),  # type: ignore[arg-type]
            base_url="http://owner.example.com",
        )
        self.org_id = org_id
        self.database = database

    async def ask(
        self, path: str, scope: CompanyScope = ALL_COMPANIES, *, org_id: OrgId | None = None, may: str = "exports:read"
    ) -> httpx.Response:
        context = TenantContext("key:1", org_id or self.org_id, scope, frozenset({may}))
        return await self.http.get(path, headers={HEADER: ContextSigner(PRIVATE).sign(context, "analytics")})

    async def told(self) -> list[str]:
        async with self.database.tenant_transaction(self.org_id) as session:
            rows = await session.fetch(
                "SELECT convert_from(envelope, 'UTF8') AS text FROM outbox WHERE org_id = $1", self.org_id
            )
        return [row["text"] for row in rows]


@pytest.fixture
async def owner(database: Callable[[str], Database], make_org: Callable[[], OrgId]) -> AsyncIterator[Owner]:
    analytics, org_id = database("analytics"), make_org()
    app = make_app("analytics", ready=analytics.why_away)
    hop = InnerHop(ContextVerifier([public_key_of(PRIVATE)], "analytics"), Units(analytics, "analytics"))
    app.include_router(export_routes(hop, Cursors("key"), EXPORTS))
    async with analytics.tenant_transaction(org_id) as session:
        for number in range(3):
            await session.execute("INSERT INTO companies VALUES ($1, $2, $3)", org_id, new_id(), f"company {number}")
    made = Owner(app, org_id, analytics)
    yield made
    await made.http.aclose()


async def test_who_is_limited_to_companies_copies_nothing(owner: Owner) -> None:
    for scope in (CompanyScope.of([CompanyId(new_id())]), CompanyScope.of([])):
        answer = await owner.ask("/exports/analytics/companies", scope)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await owner.ask("/exports/analytics/companies", may="leads:read")).status_code == 403
    assert await owner.told() == []


async def test_what_is_not_handed_out_is_not_there(owner: Owner) -> None:
    for table in ("facts", "outbox", "org_states", "pg_class", "companies%20c"):
        assert (await owner.ask(f"/exports/analytics/{table}")).status_code == 404, table
    assert await owner.told() == []


async def test_pages_follow_each_other_and_only_the_first_is_told(owner: Owner) -> None:
    names: list[str] = []
    after = ""
    while True:
        page = (await owner.ask(f"/exports/analytics/companies?limit=1{after}")).json()
        names += [row["name"] for row in page["data"]]
        if not page["has_more"]:
            break
        after = f"&after={page['next_cursor']}"

    assert sorted(names) == ["company 0", "company 1", "company 2"]
    assert page["next_cursor"] is None
    (told,) = await owner.told()
    assert '"export.begun"' in told
    assert '"exports/analytics/companies"' in told


async def test_a_cursor_of_another_table_or_organization_is_none(owner: Owner, make_org: Callable[[], OrgId]) -> None:
    page = (await owner.ask("/exports/analytics/companies?limit=1")).json()
    after = f"limit=1&after={page['next_cursor']}"

    for answer in (
        await owner.ask(f"/exports/analytics/syncs?{after}"),
        await owner.ask(f"/exports/analytics/companies?{after}", org_id=make_org()),
        await owner.ask(f"/exports/analytics/companies?after={page['next_cursor'][:-2]}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_cursor")


async def test_the_list_says_what_stays_and_why(owner: Owner) -> None:
    found = (await owner.ask("/exports")).json()
    assert [one["table"] for one in found["data"]] == ["companies", "failure_groups", "syncs"]
    assert found["data"][0]["left_out"] == [{"column": "org_id", "why": "the organization's, the same in every row"}]
    assert {one["table"] for one in found["left_out"]} >= {"facts", "inbox", "outbox", "org_states"}
    assert await owner.told() == []
