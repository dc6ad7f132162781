"""One copy of the migrated database with rows of two tenants, for all tests here; and one without rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.database.tables import Table
from tests.security.room import Copy, Pool, Room, connected


@pytest.fixture(scope="session")
def room(postgres_server: str, migrated_template: MigratedDatabase) -> Iterator[Room]:
    made = Room(postgres_server, migrated_template)
    asyncio.run(made.prepare())
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def admin(migrated_template: MigratedDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The migrated template itself, as migrations left it: to read, not to change."""
    async with connected(migrated_template.admin_url) as connection:
        yield connection


@pytest.fixture
async def copy(room: Room) -> AsyncIterator[Copy]:
    async with room.copy() as made:
        yield made


@pytest.fixture
def full(migrated_template: MigratedDatabase) -> MigratedDatabase:
    return migrated_template


@pytest.fixture
def filled(copy: Copy) -> list[Table]:
    return copy.filled


@pytest.fixture
def pool(copy: Copy) -> Pool:
    return copy.pool


@pytest.fixture
def given(copy: Copy) -> dict[str, Any]:
    return copy.given()
