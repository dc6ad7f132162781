"""One mutant at a time: break a copy, ask the detectors, say who noticed."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self

import asyncpg

from tests.security.code_mutants import CodeMutant, StaleMutant
from tests.security.detectors import CATALOGUE, CODE, IN_A_HOUSE, ROWS, killer
from tests.security.grants import read, rolled_back
from tests.security.room import Copy, Room
from tests.security.sql_mutants import KEYS, SqlMutant, named

Mutant = SqlMutant | CodeMutant


@dataclass(frozen=True)
class Verdict:
    """`killer` is a test that failed; `missed` says what else should have noticed, "" when all did that should.

    `stale`: why there is no verdict: what the mutant takes away is no longer there.
    """

    kind: str
    name: str
    killer: str = ""
    missed: str = ""
    seconds: float = 0.0
    stale: str = ""

    @property
    def killed(self) -> bool:
        return not self.survived and not self.stale

    @property
    def survived(self) -> bool:
        return self.missed != ""


class HarnessBroken(Exception):
    """Nothing was broken and yet a detector fails, or a mutant cannot be made: no verdict would mean anything."""


class Trial:
    """`async with Trial(room) as trial`: entering sees that the detectors to be asked (`check`: of code, by the names in
    CODE; and the catalogue's) are content with what nobody broke; with None nothing is seen to, as that is known.

    Raises:
        HarnessBroken: one is not.
    """

    def __init__(self, room: Room, *, check: Collection[str] | None) -> None:
        self._room = room
        self._check = check

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._bare = await stack.enter_async_context(self._room.copy(rows=False))
            self._full = await stack.enter_async_context(self._room.copy())
            self._reviewed = await self._rights(self._bare)
            if self._check is not None:
                for where in sorted(self._check):
                    self._is_content(await self._of_code(where, kind=""))
                self._is_content(await killer(CATALOGUE, self._bare.given(), kind=""))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _is_content(self, found: str) -> None:
        if found:
            raise HarnessBroken(f"with nothing broken {found} fails: mend that first (`make test`)")

    async def of(self, mutant: Mutant) -> Verdict:
        """Raises: HarnessBroken: what was broken could not be mended, so this trial is over."""
        began = time.monotonic()
        try:
            if isinstance(mutant, CodeMutant):
                with mutant.applied():
                    found = await self._of_code(mutant.where, mutant.kind)
                missed = "" if found else "no test fails"
            else:
                found, missed = await self._of_sql(mutant)
        except StaleMutant as error:
            return Verdict(mutant.kind, mutant.name, stale=str(error))
        return Verdict(mutant.kind, mutant.name, found, missed, time.monotonic() - began)

    async def _of_sql(self, mutant: SqlMutant) -> tuple[str, str]:
        """Who noticed, and what is missing to be content with that."""
        # The catalogue's tests ask one connection only, so the mutant need not be committed.
        async with rolled_back(self._bare.admin):
            await self._apply(self._bare, mutant.sql)
            seen = mutant.kind == KEYS or await self._rights(self._bare) != self._reviewed
            by_catalogue = await killer(CATALOGUE, self._bare.given(), kind=mutant.kind)
        by_rows = await self._of_rows(mutant) if mutant.in_rows or not by_catalogue else ""
        if mutant.in_rows and not by_rows:
            return by_catalogue, "no test of rows fails"
        if not by_rows and not by_catalogue:
            return "", "no test fails"
        return by_rows or by_catalogue, "" if seen else "grants.txt does not show it"

    async def _of_rows(self, mutant: SqlMutant) -> str:
        services = (*mutant.services, "standalone")
        if not mutant.in_rows:
            # Whatever the tests were allowed to do may have been done.
            async with self._room.copy() as copy:
                return await self._asked_of_rows(copy, mutant, services)
        found = await self._asked_of_rows(self._full, mutant, services)
        if await self._rights(self._full) != self._reviewed:
            raise HarnessBroken(f"{mutant.name} was not undone")
        return found

    async def _asked_of_rows(self, copy: Copy, mutant: SqlMutant, services: Sequence[str]) -> str:
        try:
            await self._apply(copy, mutant.sql)
            return await killer(ROWS, copy.given(), kind=mutant.kind, services=services)
        finally:
            await copy.hang_up()
            try:
                await self._apply(copy, mutant.undo)
            except StaleMutant as error:
                raise HarnessBroken(f"{mutant.name} was not undone: {error}") from error

    async def _apply(self, copy: Copy, statements: Sequence[str]) -> None:
        name = copy.full.admin_url.rsplit("/", 1)[-1]
        for sql in statements:
            try:
                await copy.admin.execute(named(sql, template=self._room.template.template, database=name))
            except asyncpg.PostgresError as error:
                raise StaleMutant(f"the database refuses it: {error}") from error

    async def _of_code(self, where: str, kind: str) -> str:
        if where == "rows":
            async with self._room.copy() as copy:
                return await killer(ROWS, copy.given(), kind=kind)
        for test in CODE[where]:
            if where in IN_A_HOUSE:
                # A house is built once in a database, so each test has its own.
                async with self._room.copy(rows=False) as copy:
                    found = await killer([test], copy.given(), kind=kind)
            else:
                found = await killer([test], {}, kind=kind)
            if found:
                return found
        return ""

    async def _rights(self, copy: Copy) -> str:
        return await read(copy.admin, self._room.template.template)
