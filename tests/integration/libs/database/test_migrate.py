"""Bringing databases to the present schema: again, at once, and each service its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from libs.contracts.events import OrganizationCreatedV1
from libs.database import startup
from libs.database.engine import Database, DatabaseUrl
from libs.database.migrate import _config, head, migrate
from libs.database.names import SERVICES, STANDALONE, dispatch_role, login_role, process_name
from libs.ids import OrgId, new_id
from libs.messaging.work import Units
from libs.settings import with_login

# Everything that a migration can leave behind, as text.
SHAPE = """
  SELECT format('%s.%s %s %s %s', n.nspname, c.relname, c.relkind, c.relrowsecurity, c.relacl) AS line
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ANY($1)
  UNION ALL SELECT format('%s.%s %s %s', schemaname, tablename, policyname, qual) FROM pg_policies WHERE schemaname = ANY($1)
  UNION ALL SELECT format('%s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
  WHERE connamespace::regnamespace::text = ANY($1)
  UNION ALL SELECT format('%s %s', proname, proacl) FROM pg_proc WHERE pronamespace::regnamespace::text = ANY($1)
  UNION ALL SELECT format('%s %s', nspname, nspacl) FROM pg_namespace WHERE nspname = ANY($1)
"""


@dataclass(frozen=True)
class Empty:
    name: str
    url: str
    passwords: dict[str, str]

    def open(self, service: str) -> Database:
        role = login_role(self.name, service)
        url = with_login(self.url, role, self.passwords[role])
        return Database(
            DatabaseUrl(url, service), service=service, dispatch_role=dispatch_role(self.name, service), pool_size=1
        )


class Server:
    """Makes empty databases and, at the end, takes them and their roles away."""

    def __init__(self, url: str, admin: asyncpg.Connection) -> None:
        self._url = url
        self._admin = admin
        self._made: list[str] = []

    async def empty(self) -> Empty:
        name = f"n{secrets.token_hex(5)}"
        await self._admin.execute(f"CREATE DATABASE {name}")
        self._made.append(name)
        passwords = {login_role(name, service): secrets.token_hex(8) for service in (*SERVICES, STANDALONE)}
        return Empty(name, urlunsplit(urlsplit(self._url)._replace(path=f"/{name}")), passwords)

    async def clear(self) -> None:
        for name in self._made:
            await self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for name in self._made:
            roles = await self._admin.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE $1", f"{name}\\_%")
            for row in roles:
                await self._admin.execute(f'DROP ROLE "{row["rolname"]}"')


@pytest.fixture
async def server(postgres_server: str) -> AsyncIterator[Server]:
    admin = await asyncpg.connect(postgres_server)
    made = Server(postgres_server, admin)
    yield made
    await made.clear()
    await admin.close()


async def shape_of(url: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        return sorted(row["line"] for row in await connection.fetch(SHAPE, list(SERVICES)))
    finally:
        await connection.close()


async def test_a_second_run_changes_nothing_and_keeps_rows(server: Server) -> None:
    database = await server.empty()
    first = await migrate(database.url, database.passwords)
    gateway = database.open("gateway")
    org = OrgId(new_id())
    async with Units(gateway, "gateway").begin(org) as work:
        work.publish(OrganizationCreatedV1(organization_id=org, name="Acme"))
    before = await shape_of(database.url)

    second = await migrate(database.url, database.passwords)

    assert second == first == {service: head(service) for service in SERVICES}
    assert await shape_of(database.url) == before
    async with gateway.tenant_transaction(org) as session:
        assert await session.fetchval("SELECT count(*) FROM outbox") == 1
    await startup.check(gateway)
    await gateway.close()


async def test_two_runs_at_once_wait_for_each_other(server: Server) -> None:
    database = await server.empty()

    done = await asyncio.gather(*(migrate(database.url, database.passwords) for _ in range(2)))

    assert done[0] == done[1]


async def test_five_services_may_have_five_databases(server: Server) -> None:
    org, other = OrgId(new_id()), OrgId(new_id())
    for service in SERVICES:
        own = await server.empty()
        await migrate(own.url, own.passwords, [service])
        database = own.open(service)
        await startup.check(database)

        units = Units(database, process_name(service))
        async with units.begin(org) as work:
            work.publish(OrganizationCreatedV1(organization_id=org, name="Acme"))
        async with units.begin(other) as work:
            assert await work.session.fetch("SELECT * FROM outbox") == []
        async with units.begin(org) as work:
            assert await work.session.fetchval("SELECT count(*) FROM outbox") == 1
        await database.close()

        schemas = {line.split(".")[0] for line in await shape_of(own.url) if "." in line.split(" ")[0]}
        assert schemas == {service}


async def test_a_new_password_is_set_for_a_role_that_exists(server: Server) -> None:
    database = await server.empty()
    await migrate(database.url, database.passwords, ["gateway"])
    changed: dict[str, Any] = {role: f'{password}\'; \\ "new"' for role, password in database.passwords.items()}

    await migrate(database.url, changed, ["gateway"])

    again = Empty(database.name, database.url, changed).open("gateway")
    await startup.check(again)
    await again.close()


async def test_tables_that_are_cut_into_weeks_keep_their_rows(server: Server) -> None:
    """Of all times, in all states, of two orgs, and such whose ids tell no time; also their indexes keep their names."""
    empty = await server.empty()
    await migrate(empty.url, empty.passwords, ["webhook_ingest"])
    admin = await asyncpg.connect(empty.url)
    try:
        indexes = "SELECT indexname FROM pg_indexes WHERE schemaname = 'webhook_ingest' AND tablename = ANY('{inbox,deliveries}')"
        after = {row["indexname"] for row in await admin.fetch(indexes)}
        await admin.execute("DROP SCHEMA webhook_ingest CASCADE")
        await _to(empty, admin, "webhook_ingest", "webhook_ingest_0006")
        assert {row["indexname"] for row in await admin.fetch(indexes)} <= after
        ids = [UUID(int=1), UUID(int=0x018F << 112 | 7), new_id(), UUID(int=0xFF << 120 | 3)]
        for org_id in (new_id(), new_id()):
            for place, id_ in enumerate(ids):
                other = UUID(int=id_.int ^ (org_id.int & 0xFFFFFFFF))
                await admin.execute(
                    "INSERT INTO webhook_ingest.inbox (consumer, event_id, org_id, type, subject, state, envelope) "
                    "VALUES ('c', $1, $2, 't', 's', $3, '\\x00')",
                    other, org_id, ("done", "dead", "due", "parked")[place],
                )  # fmt: skip
                await admin.execute(
                    "INSERT INTO webhook_ingest.deliveries (org_id, id, endpoint_id, account_id, provider, received_at, "
                    "body_sha256, body, event_type, verdict, headers) VALUES ($1, $2, $2, $2, 'p', now(), '', '\\x01', 't', "
                    "'accepted', '[]')",
                    org_id, other,
                )  # fmt: skip
        queries = [f"SELECT * FROM webhook_ingest.{table} AS t ORDER BY t::text" for table in ("inbox", "deliveries")]
        before = [[dict(row) for row in await admin.fetch(query)] for query in queries]

        await migrate(empty.url, empty.passwords, ["webhook_ingest"])

        assert [len(rows) for rows in before] == [8, 8]
        found = [await admin.fetch(query) for query in queries]
        names = [rows[0].keys() for rows in before]  # later versions have more columns
        assert [
            [{name: row[name] for name in of} for row in rows] for rows, of in zip(found, names, strict=True)
        ] == before
    finally:
        await admin.close()


async def _to(empty: Empty, admin: asyncpg.Connection, service: str, revision: str) -> None:
    """The service's schema as it was at `revision`."""
    await admin.execute(f"CREATE SCHEMA {service}")
    engine = create_async_engine(
        empty.url.replace("postgresql://", "postgresql+asyncpg://", 1),
        connect_args={"server_settings": {"search_path": service}},
    )

    def upgrade(connection: Connection) -> None:
        config = _config(service)
        config.attributes["connection"] = connection
        config.attributes["database"] = empty.name
        command.upgrade(config, revision)

    async with engine.connect() as connection:
        await connection.run_sync(upgrade)
        await connection.commit()
    await engine.dispose()
