"""A service starts on a database that is right, and says in one line what is not."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from libs.database import startup
from libs.database.engine import Database, DatabaseUrl
from libs.database.migrate import head
from libs.database.names import SERVICES, dispatch_role, login_role
from libs.database.startup import StartRefused
from libs.errors import DependencyDown
from libs.settings import with_login
from tests.fixtures.database import MigratedDatabase


def as_login(migrated: MigratedDatabase, url: str, service: str = "gateway") -> Database:
    role = dispatch_role(migrated.template, service)
    return Database(DatabaseUrl(url, service), service=service, dispatch_role=role, pool_size=1)


async def refusal(database: Database) -> str:
    """The one line with which it does not start."""
    try:
        with pytest.raises(StartRefused) as refused:
            await startup.check(database)
    finally:
        await database.close()
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200
    return str(refused.value)


@pytest.fixture
async def admin(migrated: MigratedDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated.admin_url)
    yield connection
    await connection.close()


@pytest.fixture
async def own_role(migrated: MigratedDatabase, admin: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
    """A login of this test's own, as the server has it for all databases, and its URL."""
    role, password = f"r{secrets.token_hex(5)}", secrets.token_hex(8)
    await admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    await admin.execute(f"GRANT USAGE ON SCHEMA gateway TO {role}")
    yield role, with_login(migrated.admin_url, role, password)
    await admin.execute(f"DROP OWNED BY {role} CASCADE")
    await admin.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_migrated_database_is_right_for_every_service(
    database: Callable[[str], Database], service: str
) -> None:
    await startup.check(database(service))


async def test_a_superuser_is_refused(migrated: MigratedDatabase) -> None:
    said = await refusal(as_login(migrated, migrated.admin_url))

    assert said.startswith("gateway must not log in as")
    assert "outrider migrate" in said


async def test_a_login_that_row_level_security_does_not_bind_is_refused(
    migrated: MigratedDatabase, admin: asyncpg.Connection, own_role: tuple[str, str]
) -> None:
    role, url = own_role
    await admin.execute(f"ALTER ROLE {role} BYPASSRLS")

    assert f"must not log in as {role}" in await refusal(as_login(migrated, url))


async def test_the_owner_of_the_tables_is_refused(
    migrated: MigratedDatabase, admin: asyncpg.Connection, own_role: tuple[str, str]
) -> None:
    role, url = own_role
    await admin.execute(f"GRANT CREATE ON SCHEMA gateway TO {role}; CREATE TABLE gateway.mine (x int);"
                        f"ALTER TABLE gateway.mine OWNER TO {role}")  # fmt: skip

    assert "logs in as the owner of its tables" in await refusal(as_login(migrated, url))


async def test_a_database_without_the_schema_is_refused(migrated: MigratedDatabase, admin: asyncpg.Connection) -> None:
    name = f"e{secrets.token_hex(5)}"
    await admin.execute(f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(migrated.url("gateway"))._replace(path=f"/{name}"))
    try:
        assert "has no schema gateway yet: run `outrider migrate`" in await refusal(as_login(migrated, url))
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_an_older_schema_is_refused_by_both_names(migrated: MigratedDatabase, admin: asyncpg.Connection) -> None:
    await admin.execute("UPDATE gateway.alembic_version SET version_num = 'gateway_0000'")

    said = await refusal(as_login(migrated, migrated.url("gateway")))

    assert f"is at gateway_0000, this build needs {head('gateway')}: run `outrider migrate`" in said


async def test_another_services_login_is_refused(migrated: MigratedDatabase) -> None:
    said = await refusal(as_login(migrated, migrated.url("analytics")))

    assert login_role(migrated.template, "analytics") in said


async def test_a_wrong_password_is_refused_and_not_shown(migrated: MigratedDatabase) -> None:
    url = with_login(migrated.admin_url, login_role(migrated.template, "gateway"), "guessed-wrong")

    said = await refusal(as_login(migrated, url))

    assert "guessed-wrong" not in said


async def test_a_database_that_is_not_there_is_refused(migrated: MigratedDatabase) -> None:
    url = urlunsplit(urlsplit(migrated.url("gateway"))._replace(path="/nowhere"))

    assert "nowhere" in await refusal(as_login(migrated, url))


async def test_a_server_that_is_away_is_waited_for(migrated: MigratedDatabase) -> None:
    database = as_login(migrated, "postgresql://a:b@127.0.0.1:1/x")

    with pytest.raises(DependencyDown):
        await startup.check(database)
    await database.close()
