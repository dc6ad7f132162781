"""The matrix from an empty server to its last cell."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from libs.database.migrate import migrate
from libs.database.names import SERVICES, STANDALONE, login_role
from services.gateway import denials
from tests.fixtures.database import MigratedDatabase
from tests.security.matrix.audited import gaps
from tests.security.matrix.coverage import missing_cells, operations, served, unknown_routes
from tests.security.matrix.runner import Matrix
from tests.security.matrix.table import Table
from tests.security.matrix.watch import watching
from tests.security.matrix.world import made_world
from tests.security.room import connected, renamed


@asynccontextmanager
async def database_of(server: str) -> AsyncIterator[MigratedDatabase]:
    """A migrated database and its roles, gone afterwards."""
    name = f"matrix{os.getpid()}"
    passwords = {login_role(name, service): secrets.token_hex(12) for service in (*SERVICES, STANDALONE)}
    async with connected(server) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    url = renamed(server, name)
    try:
        await migrate(url, passwords)
        yield MigratedDatabase(url, name, passwords)
    finally:
        async with connected(server) as connection:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
            for role in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE $1", name + r"\_%"):
                await connection.execute(f'DROP ROLE "{role["rolname"]}"')


async def whole(
    server: str,
    table: Table,
    *,
    only: str = "",
    say: Callable[[str], None] = lambda _: None,
    with_missing: bool = False,
) -> Matrix:
    """Ask everything; with `with_missing`, that cells are missing is no problem."""
    async with database_of(server) as migrated:
        return await asked(migrated, table, only=only, say=say, with_missing=with_missing)


async def asked(
    migrated: MigratedDatabase,
    table: Table,
    *,
    only: str = "",
    say: Callable[[str], None] = lambda _: None,
    with_missing: bool = False,
    quick: bool = False,
) -> Matrix:
    chosen = [one for one in operations() if only in f"[{one.section}] {one.name}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denials, "PER_MINUTE", 10**9)  # else the eleventh refusal of a minute could go unrecorded
        async with made_world(migrated, say) as world:
            matrix = Matrix(world, await watching(world.admin), table, say)
            matrix.problems += unknown_routes(served(world))
            if not with_missing:
                matrix.problems += missing_cells(table, chosen if only else None)
            await matrix.run(chosen, quick=quick)
            matrix.problems += await gaps(world, matrix.acts)
            return matrix
