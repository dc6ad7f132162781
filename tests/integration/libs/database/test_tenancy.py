"""No tenant sees another's rows, whatever a query forgets: asked of the catalogue, and of every table there is."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest

from libs.database.engine import Database
from libs.database.names import SERVICES, STANDALONE, dispatch_role, login_role
from libs.errors import DependencyDown
from libs.ids import CompanyId, OrgId, new_id
from libs.tenancy.context import CompanyScope
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.database.tables import Table, fill, let_anything_in, tables

A, B = OrgId(new_id()), OrgId(new_id())
A1, A2, B1 = CompanyId(new_id()), CompanyId(new_id()), CompanyId(new_id())

MESSAGING = {
    "outbox",
    "inbox",
    "ledger",
    "org_states",
    "failure_groups",
    "replay_plans",
    "replay_blocks",
    "replay_items",
}
# What a dispatch role may see besides the messaging tables, and why that must be across orgs.
DISPATCHED: dict[str, str] = {}

# Unique keys without org_id, and why they can hold no tenant's natural key.
KEYS_OF_THE_HOUSE = {
    "outbox_pkey": "an event's id is random and is claimed for all orgs in one statement",
    "inbox_pkey": "as the outbox; a consumer's claim spans orgs",
}
# What a service may add to and never take from.
APPEND_ONLY = {"org_states"}
# What it may take away of an erased organization only.
ERASABLE = {"audit_log", "audit_heads"}
every_service = pytest.mark.parametrize("service", SERVICES)


@pytest.fixture(scope="module")
def house(postgres_server: str, migrated_template: MigratedDatabase) -> Iterator[tuple[MigratedDatabase, list[Table]]]:
    """One database for all tests here, none of which changes it, with its tenant tables; each holds rows of A and B."""
    name = f"m{secrets.token_hex(6)}"
    url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))

    async def make() -> list[Table]:
        async with _connected(postgres_server) as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template.template}")
        async with _connected(url) as admin, admin.transaction():
            found = [table for table in await tables(admin) if table.is_tenants]
            await _fill(admin, found)
            return found

    async def drop() -> None:
        async with _connected(postgres_server) as server:
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    found = asyncio.run(make())
    yield MigratedDatabase(url, migrated_template.template, migrated_template.passwords), found
    asyncio.run(drop())


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def _fill(admin: asyncpg.Connection, found: Sequence[Table]) -> None:
    """Rows of A (in two companies and, where that can be, in none) and of B."""
    await let_anything_in(admin)
    for table in found:
        owners: list[tuple[OrgId, CompanyId | None]] = [(A, A1), (B, B1)]
        if table.has_company:
            owners += [(A, A2)] if "company_id" in table.required else [(A, A2), (A, None)]
        for place, (org, company) in enumerate(owners):
            await fill(admin, table, org, company, 10 * place + 1)


@pytest.fixture
def full(house: tuple[MigratedDatabase, list[Table]]) -> MigratedDatabase:
    return house[0]


@pytest.fixture
def filled(house: tuple[MigratedDatabase, list[Table]]) -> list[Table]:
    return house[1]


@pytest.fixture
async def admin(full: MigratedDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with _connected(full.admin_url) as connection:
        yield connection


@pytest.fixture
async def pool(full: MigratedDatabase) -> AsyncIterator[Callable[..., Database]]:
    """`pool("gateway", 1)`: that service's connections, so many."""
    opened: list[Database] = []

    def open_one(service: str, size: int = 2) -> Database:
        opened.append(full.open(service, pool_size=size))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


# The catalogue


async def test_every_tenant_table_is_closed_and_forced(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT c.oid::regclass::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS closed FROM pg_class c"
    )
    closed = {row["name"] for row in rows if row["closed"]}

    found = await tables(admin)
    assert len({table.schema for table in found}) == len(SERVICES)
    assert [str(table) for table in found if table.is_tenants and str(table) not in closed] == []


async def test_every_tenant_table_lets_its_service_in_by_org_alone(
    admin: asyncpg.Connection, full: MigratedDatabase
) -> None:
    rows = await admin.fetch(
        "SELECT schemaname, tablename, policyname, permissive, roles::text[], cmd, coalesce(qual, '') AS qual, "
        "coalesce(with_check, '') AS with_check FROM pg_policies"
    )
    for table in [table for table in await tables(admin) if table.is_tenants]:
        login = login_role(full.template, table.schema)
        mine = [row for row in rows if (row["schemaname"], row["tablename"]) == (table.schema, table.name)]
        org = [row for row in mine if row["policyname"] == "org"]
        assert [(row["roles"], row["cmd"]) for row in org] == [([login], "ALL")], str(table)
        expressions = {_flat(org[0]["qual"]), _flat(org[0]["with_check"])}
        assert expressions == {"(org_id = ( SELECT app_org_id() AS app_org_id))"}, str(table)
        if table.has_company:
            company = [row for row in mine if row["permissive"] == "RESTRICTIVE" and login in row["roles"]]
            assert company, f"{table} has companies and no company policy"
            assert "app_company_ids()" in company[0]["qual"], str(table)


async def test_policies_call_functions_of_ours_only(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT tablename, coalesce(qual, '') || ' ' || coalesce(with_check, '') AS said FROM pg_policies"
    )
    assert rows

    for row in rows:
        called = set(re.findall(r"([a-z_][a-z_0-9.]*)\(", row["said"]))
        assert all(name.rsplit(".", 1)[-1].startswith("app_") for name in called), (row["tablename"], called)


async def test_no_policy_of_a_login_lets_all_rows_pass(admin: asyncpg.Connection, full: MigratedDatabase) -> None:
    owner = await admin.fetchval("SELECT current_user")
    dispatch = {dispatch_role(full.template, service) for service in SERVICES}
    rows = await admin.fetch(
        "SELECT schemaname, tablename, policyname, roles::text[] FROM pg_policies WHERE qual = 'true'"
    )

    for row in rows:
        assert set(row["roles"]) <= dispatch | {owner}, dict(row)


async def test_every_key_between_tenant_tables_holds_the_org(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        """
        SELECT i.indexrelid::regclass::text AS index, c.relname AS name, i.indrelid::regclass::text AS table,
          array(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)) AS columns
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indisunique
        """
    )
    of_tenants = {str(table) for table in await tables(admin) if table.is_tenants}
    without = {row["name"] for row in rows if row["table"] in of_tenants and "org_id" not in row["columns"]}

    assert without == set(KEYS_OF_THE_HOUSE)


async def test_every_reference_between_tenant_tables_stays_within_the_org(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        """
        SELECT k.conname AS name, k.conrelid::regclass::text AS child, k.confrelid::regclass::text AS parent,
          array(SELECT (SELECT attname::text FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = pair.mine) || '=' ||
                       (SELECT attname::text FROM pg_attribute WHERE attrelid = k.confrelid AND attnum = pair.theirs)
                FROM unnest(k.conkey, k.confkey) AS pair(mine, theirs)) AS pairs
        FROM pg_constraint k WHERE k.contype = 'f' AND k.connamespace = ANY($1::text[]::regnamespace[])
        """,
        list(SERVICES),
    )
    of_tenants = {str(table) for table in await tables(admin) if table.is_tenants}

    assert [dict(row) for row in rows if row["parent"] in of_tenants and "org_id=org_id" not in row["pairs"]] == []
    assert [dict(row) for row in rows if row["child"].split(".")[0] != row["parent"].split(".")[0]] == []


async def test_a_view_sees_what_its_reader_may_see(admin: asyncpg.Connection) -> None:
    rows = await admin.fetch(
        "SELECT oid::regclass::text AS name, relkind::text AS kind, coalesce(reloptions, '{}') AS options FROM pg_class "
        "WHERE relkind IN ('v', 'm') AND relnamespace = ANY($1::text[]::regnamespace[])",
        list(SERVICES),
    )

    assert [row["name"] for row in rows if row["kind"] == "m" or "security_invoker=true" not in row["options"]] == []


async def test_functions_that_see_more_are_few_closed_to_others_and_pinned_to_their_schema(
    admin: asyncpg.Connection, full: MigratedDatabase
) -> None:
    rows = await admin.fetch(
        "SELECT p.pronamespace::regnamespace::text AS schema, p.proname AS name, coalesce(p.proconfig, '{}') AS config, "
        "array(SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END "
        "FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a) AS grantees "
        "FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = ANY($1::text[]::regnamespace[])",
        list(SERVICES),
    )
    owner = await admin.fetchval("SELECT current_user")
    for row in rows:
        assert set(row["grantees"]) <= {owner, login_role(full.template, row["schema"])}, dict(row)
        assert row["config"] == [f"search_path={row['schema']}, pg_temp"], dict(row)


# Logins


@pytest.mark.parametrize("service", [*SERVICES, STANDALONE])
async def test_a_login_is_bound_by_row_level_security_and_owns_nothing(
    admin: asyncpg.Connection, full: MigratedDatabase, service: str
) -> None:
    role = login_role(full.template, service)
    me = await admin.fetchrow("SELECT * FROM pg_roles WHERE rolname = $1", role)

    assert me is not None
    powers = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolcreatedb", "rolreplication", "rolinherit")
    assert [power for power in powers if me[power]] == []
    assert await admin.fetchval("SELECT count(*) FROM pg_class WHERE relowner = $1::regrole", role) == 0
    assert await admin.fetchval("SELECT count(*) FROM pg_proc WHERE proowner = $1::regrole", role) == 0
    roles = await admin.fetch(
        "SELECT roleid::regrole::text AS role FROM pg_auth_members WHERE member = $1::regrole", role
    )
    own = SERVICES if service == STANDALONE else [service]
    assert {row["role"] for row in roles} == {dispatch_role(full.template, one) for one in own}


@every_service
async def test_a_login_has_no_rights_in_other_schemas(
    admin: asyncpg.Connection, full: MigratedDatabase, service: str
) -> None:
    foreign = [table for table in await tables(admin) if table.schema != service]
    others = [one for one in SERVICES if one != service]
    async with _connected(full.url(service)) as connection:
        for table in foreign:
            for attempt in (f"SELECT * FROM {table}", f"DELETE FROM {table}", f"TRUNCATE {table}"):
                await _refused(connection, attempt)
        for other in others:
            await _refused(connection, f"SELECT * FROM {other}.alembic_version")
            await _refused(connection, f"CREATE TABLE {other}.mine (x int)")
            await _refused(connection, f'SET ROLE "{dispatch_role(full.template, other)}"')
            await _refused(connection, f'SET ROLE "{login_role(full.template, other)}"')
        for schema in (service, "public"):
            await _refused(connection, f"CREATE TABLE {schema}.mine (x int)")


@every_service
async def test_in_its_own_schema_a_login_can_neither_truncate_nor_change_the_tables(
    admin: asyncpg.Connection, full: MigratedDatabase, service: str
) -> None:
    async with _connected(full.url(service)) as connection:
        for table in await tables(admin, [service]):
            for attempt in (
                f"TRUNCATE {table}",
                f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
                f"DROP TABLE {table}",
                f"CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            ):
                await _refused(connection, attempt)
        await _refused(connection, f"UPDATE {service}.alembic_version SET version_num = 'x'")


@pytest.mark.parametrize("service", [*SERVICES, STANDALONE])
async def test_dispatch_sees_messages_of_all_orgs_and_no_other_table(
    admin: asyncpg.Connection, full: MigratedDatabase, filled: Sequence[Table], service: str
) -> None:
    async with _connected(full.url(service)) as connection:
        for own in SERVICES if service == STANDALONE else [service]:
            await connection.execute(f'SET ROLE "{dispatch_role(full.template, own)}"')
            for table in filled:
                messaging = table.schema == own and (table.name in MESSAGING or str(table) in DISPATCHED)
                if messaging:
                    assert {row["org_id"] for row in await connection.fetch(f"SELECT org_id FROM {table}")} == {A, B}
                else:
                    await _refused(connection, f"SELECT * FROM {table}")
                await _refused(connection, f"TRUNCATE {table}")


async def test_the_standalone_login_sees_nothing_by_itself(
    admin: asyncpg.Connection, full: MigratedDatabase, filled: Sequence[Table]
) -> None:
    async with _connected(full.url(STANDALONE)) as connection:
        for table in filled:
            await _refused(connection, f"SELECT * FROM {table}")


# Queries that forget their filter


@every_service
async def test_a_query_without_a_where_clause_sees_its_own_org_only(
    filled: Sequence[Table], pool: Callable[..., Database], service: str
) -> None:
    mine = [table for table in filled if table.schema == service]
    for org in (A, B):
        async with pool(service).tenant_transaction(org) as session:
            for table in mine:
                orgs = {row["org_id"] for row in await session.fetch(f"SELECT * FROM {table.name}")}
                assert orgs == {org}, str(table)


@every_service
async def test_an_update_or_delete_without_a_where_clause_changes_its_own_org_only(
    admin: asyncpg.Connection, filled: Sequence[Table], pool: Callable[..., Database], service: str
) -> None:
    mine = [table for table in filled if table.schema == service]
    before = {str(table): await admin.fetchval(f"SELECT count(*) FROM {table} WHERE org_id = $1", A) for table in mine}

    async with pool(service).transaction() as transaction:
        session = await transaction.as_tenant(A)
        for table in mine:
            await _refused_row(session, f"UPDATE {table.name} SET org_id = $1", B)
            if table.name in APPEND_ONLY:
                await _refused_row(session, f"DELETE FROM {table.name}")
            elif table.name in ERASABLE:
                assert await session.execute(f"DELETE FROM {table.name}") == 0, str(table)
            else:
                assert await session.execute(f"DELETE FROM {table.name}") == before[str(table)], str(table)
        session = await transaction.as_tenant(B)
        for table in mine:
            assert await session.fetchval(f"SELECT count(*) FROM {table.name}") > 0, str(table)
        await session.execute("ROLLBACK")


@every_service
async def test_a_company_scope_hides_other_companies_and_what_has_none(
    filled: Sequence[Table], pool: Callable[..., Database], service: str
) -> None:
    mine = [table for table in filled if table.schema == service and table.has_company]
    for scope, companies in (
        (CompanyScope.of([A1]), {A1}),
        (CompanyScope.of([]), set()),
        (CompanyScope.of([B1]), set()),
    ):
        async with pool(service).tenant_transaction(A, scope) as session:
            for table in mine:
                seen = {row["company_id"] for row in await session.fetch(f"SELECT company_id FROM {table.name}")}
                assert seen == companies, str(table)


@every_service
async def test_the_next_transaction_on_the_same_connection_starts_blind(
    pool: Callable[..., Database], filled: Sequence[Table], service: str
) -> None:
    mine = [table for table in filled if table.schema == service]
    one = pool(service, 1)
    async with one.tenant_transaction(A) as session:
        first = await session.fetchval("SELECT pg_backend_pid()")
        assert await session.fetchval("SELECT count(*) FROM inbox") > 0

    async with one.transaction() as transaction:
        await transaction.as_service()
        assert await transaction.driver.fetchval("SELECT pg_backend_pid()") == first
        for table in mine:
            assert await transaction.driver.fetch(f"SELECT * FROM {table.name}") == [], str(table)


async def test_so_it_does_after_a_transaction_that_failed(pool: Callable[..., Database]) -> None:
    one = pool("gateway", 1)

    async def fail() -> None:
        async with one.tenant_transaction(A) as session:
            await session.fetch("SELECT 1 / 0")

    with pytest.raises(asyncpg.DivisionByZeroError):
        await fail()

    async with one.transaction() as transaction:
        await transaction.as_service()
        assert await transaction.driver.fetch("SELECT * FROM inbox") == []


async def test_a_dispatch_role_ends_with_its_transaction_and_before_a_tenants_view(
    pool: Callable[..., Database],
) -> None:
    one = pool("gateway", 1)
    async with one.transaction() as transaction:
        await transaction.as_dispatch()
        assert {row["org_id"] for row in await transaction.driver.fetch("SELECT org_id FROM outbox")} == {A, B}
        session = await transaction.as_tenant(B)
        assert {row["org_id"] for row in await session.fetch("SELECT org_id FROM outbox")} == {B}
        await transaction.as_dispatch()

    async with one.transaction() as transaction:
        await transaction.as_service()
        assert await transaction.driver.fetch("SELECT * FROM outbox") == []


# Cancellation


@pytest.mark.parametrize("cancels", [300, pytest.param(10_000, marks=pytest.mark.heavy)])
async def test_a_storm_of_cancellations_hands_no_connection_on_in_another_tenants_view(
    admin: asyncpg.Connection, pool: Callable[..., Database], cancels: int
) -> None:
    # asyncpg, cancelled while it connects, leaves a future that nobody asks; asyncio would print that at the end.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    random.seed(cancels)
    analytics = pool("analytics", 6)
    strangers: list[UUID] = []
    outcomes: dict[str, int] = {"cancelled": 0, "done": 0, "busy": 0}

    async def look(org: OrgId) -> None:
        try:
            async with analytics.tenant_transaction(org) as session:
                for _ in range(3):
                    rows = await session.fetch("SELECT org_id, pg_sleep(0.001) FROM inbox")
                    strangers.extend(row["org_id"] for row in rows if row["org_id"] != org)
                    assert {row["org_id"] for row in rows} == {org}
            outcomes["done"] += 1
        except asyncio.CancelledError:
            outcomes["cancelled"] += 1
            raise
        except DependencyDown:
            outcomes["busy"] += 1

    async def cancelled_on_its_way(org: OrgId) -> None:
        task = asyncio.create_task(look(org))
        await asyncio.sleep(random.expovariate(1 / 0.008))
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            raise error

    for start in range(0, cancels, 30):
        await asyncio.gather(
            *(cancelled_on_its_way(random.choice([A, B])) for _ in range(start, min(start + 30, cancels)))
        )
    assert strangers == []
    assert outcomes["cancelled"] > cancels / 4
    await asyncio.gather(*(look(org) for org in (A, B) for _ in range(6)))  # nothing of the pool was lost
    assert outcomes["busy"] == 0
    idle = await _soon(admin, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                              "AND state LIKE 'idle in transaction%'", 0)  # fmt: skip
    assert idle == 0


# Small questions


def _flat(expression: str) -> str:
    return re.sub(r"[a-z_]+\.(app_)", r"\1", " ".join(expression.split()))


async def _refused(connection: asyncpg.Connection, sql: str) -> None:
    try:
        await connection.execute(sql)
    except asyncpg.InsufficientPrivilegeError:
        return
    pytest.fail(f"this was allowed: {sql}")


async def _refused_row(session: Any, sql: str, *arguments: Any) -> None:
    await session.execute("SAVEPOINT before")
    try:
        await session.execute(sql, *arguments)
    except asyncpg.InsufficientPrivilegeError:
        await session.execute("ROLLBACK TO before")
        return
    pytest.fail(f"this was allowed: {sql}")


async def _soon(connection: asyncpg.Connection, sql: str, expected: int) -> int:
    found: int = await connection.fetchval(sql)
    for _ in range(50):
        if found == expected:
            break
        await asyncio.sleep(0.05)
        found = await connection.fetchval(sql)
    return found
