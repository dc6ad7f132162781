"""Rows cannot be put where their reader may not see them; what test_tenancy asks of reading is asked here of writing."""

from __future__ import annotations

import asyncpg
import pytest

from libs.database.engine import TenantSession
from libs.database.names import SERVICES
from libs.ids import CompanyId, OrgId, new_id
from libs.tenancy.context import CompanyScope
from tests.integration.libs.database.tables import Table, fill
from tests.integration.libs.database.test_tenancy import A1, A2, B1, A, B
from tests.security.room import Filled, Pool

every_service = pytest.mark.parametrize("service", SERVICES)
_UNUSED = 5001  # no row of the copy was made from a number as high


async def _refused(session: TenantSession, table: Table, org_id: OrgId, company_id: CompanyId | None) -> None:
    """A row of this org and company is refused by a policy, not by a key that is taken."""
    await session.execute("SAVEPOINT before")
    try:
        await fill(session, table, org_id, company_id, _UNUSED)  # type: ignore[arg-type]  # it takes `execute` alone
    except asyncpg.InsufficientPrivilegeError as error:
        if "row-level security" not in str(error):
            pytest.fail(f"{table}: {error}")
        await session.execute("ROLLBACK TO before")
        return
    pytest.fail(f"{table}: a row of another was let in")


@every_service
async def test_a_row_of_another_org_cannot_be_inserted(filled: Filled, pool: Pool, service: str) -> None:
    async with pool(service).tenant_transaction(A) as session:
        for table in [table for table in filled if table.schema == service]:
            await _refused(session, table, B, B1 if table.has_company else None)


@every_service
async def test_in_a_company_scope_no_row_goes_to_another_company(filled: Filled, pool: Pool, service: str) -> None:
    mine = [table for table in filled if table.schema == service and table.has_company]
    async with pool(service).tenant_transaction(A, CompanyScope.of([A1])) as session:
        for table in mine:
            await _refused(session, table, A, A2)
            if "company_id" not in table.required:
                await _refused(session, table, A, None)
            await session.execute("SAVEPOINT before")
            try:
                moved = await session.execute(f"UPDATE {table.name} SET company_id = $1", A2)
            except asyncpg.InsufficientPrivilegeError:
                await session.execute("ROLLBACK TO before")
            else:
                pytest.fail(f"{table}: {moved} rows went to another company")


@pytest.mark.parametrize("through", ["conversations", "engagements", "enrolments"])
async def test_a_lead_is_seen_through_rows_of_ones_companies_only(filled: Filled, pool: Pool, through: str) -> None:
    by_name = {table.name: table for table in filled if table.schema == "provider_sync"}
    leads = by_name["leads"]
    async with pool("provider_sync").transaction() as transaction:
        session = await transaction.as_tenant(A)
        ids = {row["id"] for row in await session.fetch("SELECT id FROM leads")}
        assert ids
        (first, *_) = sorted(ids)
        await session.execute("UPDATE conversations SET lead_id = NULL")
        await session.execute("UPDATE engagements SET lead_id = $1", new_id())
        await session.execute("UPDATE enrolments SET lead_id = $1", new_id())
        await session.execute(f"UPDATE {through} SET lead_id = $1 WHERE company_id = $2", first, A1)

        async def seen(scope: CompanyScope) -> set[object]:
            narrow = await transaction.as_tenant(A, scope)
            return {row["id"] for row in await narrow.fetch(f"SELECT id FROM {leads.name}")}

        assert await seen(CompanyScope.of([A1])) == {first}
        assert await seen(CompanyScope.of([A2])) == set()
        assert await seen(CompanyScope.of([])) == set()
        await transaction.as_tenant(A)
        await session.execute("ROLLBACK")
