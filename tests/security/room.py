"""Databases to break: copies of a migrated one, with rows of two tenants in every table or with none."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from libs.database.engine import Database
from libs.database.migrate import migrate
from libs.database.names import SERVICES, STANDALONE, login_role
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.database import test_tenancy as tenancy
from tests.integration.libs.database.tables import Table, tables


@dataclass
class Copy:
    """One copy while it lives; what the tests of tenancy ask for under these names."""

    admin: asyncpg.Connection
    full: MigratedDatabase
    filled: list[Table]
    opened: list[Database]

    def pool(self, service: str, size: int = 2) -> Database:
        self.opened.append(self.full.open(service, pool_size=size))
        return self.opened[-1]

    async def hang_up(self) -> None:
        """Close all connections of logins, so that the next ones know nothing of these."""
        for one in self.opened:
            await one.close()
        self.opened.clear()

    def given(self) -> dict[str, Any]:
        by_service: dict[str, Database] = {}

        def database(service: str) -> Database:
            if service not in by_service:
                by_service[service] = self.pool(service, 5)
            return by_service[service]

        return {
            "admin": self.admin,
            "full": self.full,
            "filled": self.filled,
            "pool": self.pool,
            "database": database,
            "migrated": self.full,
        }


class Room:
    """Makes copies on one server. `template` is migrated and never touched; its name is part of the roles' names."""

    def __init__(self, server: str, template: MigratedDatabase) -> None:
        self.server = server
        self.template = template
        self._filled = f"{template.template}_full"

    async def prepare(self) -> None:
        """Make the template with rows: of two orgs, in several companies and in none."""
        await self._copy(self._filled, self.template.template)
        async with connected(renamed(self.server, self._filled)) as admin, admin.transaction():
            await tenancy._fill(admin, await _of_tenants(admin))

    async def close(self) -> None:
        async with connected(self.server) as server:
            await server.execute(f"DROP DATABASE IF EXISTS {self._filled} WITH (FORCE)")

    @asynccontextmanager
    async def copy(self, *, rows: bool = True) -> AsyncIterator[Copy]:
        """A database of one's own; without `rows` it has its constraints on values, too."""
        name = f"c{secrets.token_hex(6)}"
        await self._copy(name, self._filled if rows else self.template.template)
        url = renamed(self.server, name)
        try:
            async with connected(url) as admin:
                full = MigratedDatabase(url, self.template.template, self.template.passwords)
                copy = Copy(admin, full, await _of_tenants(admin), [])
                try:
                    yield copy
                finally:
                    await copy.hang_up()
        finally:
            async with connected(self.server) as server:
                await server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _copy(self, name: str, template: str) -> None:
        async with connected(self.server) as server:
            await server.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
            # A copy does not inherit who may connect.
            await server.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
            for role in self.template.passwords:
                await server.execute(f'GRANT CONNECT ON DATABASE {name} TO "{role}"')


async def _of_tenants(admin: asyncpg.Connection) -> list[Table]:
    return [table for table in await tables(admin) if table.is_tenants]


@asynccontextmanager
async def made_room(server: str, name: str) -> AsyncIterator[Room]:
    """A room with a template of its own, so that no other room shares its roles. All of it is gone afterwards."""
    passwords = {login_role(name, service): secrets.token_hex(12) for service in (*SERVICES, STANDALONE)}
    async with connected(server) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    url = renamed(server, name)
    try:
        await migrate(url, passwords)
        room = Room(server, MigratedDatabase(url, name, passwords))
        try:
            await room.prepare()
            yield room
        finally:
            await room.close()
    finally:
        async with connected(server) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE $1", name + r"\_%"):
                await connection.execute(f'DROP ROLE "{role["rolname"]}"')


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def renamed(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


Pool = Callable[..., Database]
Filled = Sequence[Table]
