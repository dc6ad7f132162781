"""Every right in the database is one that somebody reviewed."""

from __future__ import annotations

import difflib

import asyncpg

from tests.fixtures.database import MigratedDatabase
from tests.security import grants


async def test_rights_are_the_reviewed_ones(admin: asyncpg.Connection, full: MigratedDatabase) -> None:
    found = await grants.read(admin, full.template)
    reviewed = grants.REVIEWED.read_text()

    difference = "\n".join(
        difflib.unified_diff(reviewed.splitlines(), found.splitlines(), "reviewed", "found", lineterm="")
    )
    assert found == reviewed, f"if it is meant, write it with `python -m tests.security.grants`\n{difference}"
