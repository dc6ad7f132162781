"""A part of `make matrix`, so that `make test` finds what is wrong first; the whole is `make matrix`."""

from __future__ import annotations

from tests.fixtures.database import MigratedDatabase
from tests.security.matrix.run import asked
from tests.security.matrix.table import FILE, parse


async def test_everybody_is_answered_as_is_written(migrated: MigratedDatabase) -> None:
    matrix = await asked(migrated, parse(FILE.read_text()), quick=True)

    assert matrix.problems == []
    assert matrix.cells > 1000
