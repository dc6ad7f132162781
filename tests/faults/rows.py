"""The rows of the matrix: what breaks, how it is broken, and how it is known that it broke."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from tests.faults.ground import Ground
from tests.faults.load import Load, Measured

# What a row does while its load is posted; answers the proof that its fault happened.
Break = Callable[[Ground, Load], Awaitable[str]]


class NoFault(Exception):
    """The fault did not happen: what the row measured proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`act` breaks the running house, `suite` names tests that break a part of it; one of them, or `why_not`."""

    id: str
    fault: str
    act: Break | None = None
    posts: int = 150
    plan: tuple[tuple[str, float], ...] = ()
    suite: tuple[str, ...] = ()
    heavy: tuple[tuple[str, str], ...] = ()  # the suite is heavy, and as small as this environment makes it
    why_not: str = ""
    quick: Break | None = None  # what CI does of it, with fewer posts
    large: bool = False  # wants the large ground: three nodes, a disk that can be filled
    needs: Callable[[], str] = lambda: ""
    last: bool = False  # leaves the ground as no other row expects it


_QUICK_POSTS = 100


def in_short(row: Row) -> Row:
    """The row as CI runs it."""
    return replace(row, act=row.quick, posts=_QUICK_POSTS)


@dataclass(frozen=True, slots=True)
class Ran:
    measured: Measured
    proof: str


async def run_live(row: Row, ground: Ground) -> Ran:
    """Post while it breaks, mend, wait until all has drained, count."""
    assert row.act is not None
    async with AsyncExitStack() as stack:
        load = Load(ground, stack)
        await load.open(row.posts, **dict(row.plan))
        posting = asyncio.create_task(load.post())
        try:
            proof = await row.act(ground, load)
            await posting
        finally:
            posting.cancel()
            ground.database.heal()
            ground.broker.heal()
        return Ran(await load.measured(await load.drained()), proof)


def proven(happened: bool, proof: str) -> str:
    """`proof`, if it happened.

    Raises:
        NoFault: it did not.
    """
    if not happened:
        raise NoFault(proof)
    return proof
