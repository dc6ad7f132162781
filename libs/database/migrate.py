"""Bring a database to the present schema: roles, schemas, migrations. The administrator's login is used here alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from libs.database.names import SERVICES, STANDALONE, database_name, dispatch_role, login_role

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LOCK = 0x0D7121DE  # any constant: two migrations at once wait for each other


def head(service: str) -> str:
    """The newest revision of the service's branch."""
    return ScriptDirectory.from_config(_config(service)).get_current_head() or ""


async def migrate(admin_url: str, passwords: Mapping[str, str], services: Iterable[str] = SERVICES) -> dict[str, str]:
    """Make roles and schemas where they are missing and run every outstanding migration; answers service -> revision.

    `passwords` holds one for each login role (`libs.database.names.login_role`); an existing role gets it set anew.
    Waits at most 5 s for a lock on a table before it gives up, so that it never stalls a running house.
    """
    database = database_name(admin_url)
    services = tuple(services)
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
        await _prepare(connection, database, passwords, services)
        done = {}
        for service in services:
            await _upgrade(admin_url, database, service)
            done[service] = head(service)
        return done
    finally:
        await connection.close()


async def _prepare(
    connection: asyncpg.Connection, database: str, passwords: Mapping[str, str], services: tuple[str, ...]
) -> None:
    await connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    await connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    standalone = login_role(database, STANDALONE)
    await _login(connection, database, standalone, passwords[standalone])
    for service in services:
        login, dispatch = login_role(database, service), dispatch_role(database, service)
        await _login(connection, database, login, passwords[login])
        if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", dispatch):
            await connection.execute(f'CREATE ROLE "{dispatch}" NOLOGIN NOINHERIT')
        await connection.execute(f'GRANT "{dispatch}" TO "{login}", "{standalone}"')
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {service}")
        await connection.execute(f"REVOKE ALL ON SCHEMA {service} FROM PUBLIC")
        await connection.execute(f'GRANT USAGE ON SCHEMA {service} TO "{login}", "{dispatch}"')


async def _login(connection: asyncpg.Connection, database: str, role: str, password: str) -> None:
    # A role's password cannot be a parameter of DDL; format() quotes it on the server.
    # Of a role that exists only the password is set: to say NOSUPERUSER again takes a superuser, and a service refuses to
    # start with a login that has become one.
    known = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
    words = (
        "ALTER ROLE %I LOGIN PASSWORD %L"
        if known
        else "CREATE ROLE %I LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD %L"
    )
    statement = await connection.fetchval("SELECT format($1, $2::text, $3::text)", words, role, password)
    await connection.execute(statement)
    await connection.execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{role}"')


async def _upgrade(admin_url: str, database: str, service: str) -> None:
    engine = create_async_engine(
        admin_url.replace("postgresql://", "postgresql+asyncpg://", 1),
        connect_args={"server_settings": {"search_path": service, "lock_timeout": "5000"}},
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run, database, service)
            await connection.commit()
            await connection.exec_driver_sql(
                f'GRANT SELECT ON {service}.alembic_version TO "{login_role(database, service)}"'
            )
            await connection.commit()
    finally:
        await engine.dispose()


def _run(connection: Connection, database: str, service: str) -> None:
    config = _config(service)
    config.attributes["connection"] = connection
    config.attributes["database"] = database
    command.upgrade(config, "head")


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(MIGRATIONS / service))
    config.set_main_option("path_separator", "os")
    config.attributes["service"] = service
    return config
