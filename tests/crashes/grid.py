"""Runs cells: order a crash, let somebody pass the place, see that it happened, wait until all has drained, count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

from libs.crash import Crash
from tests.crashes.errands import ERRANDS
from tests.crashes.ground import CrashGround, opened
from tests.crashes.points import Cell, Transport
from tests.crashes.scene import Check, Scene
from tests.crashes.service import STALL_SECONDS
from tests.faults.load import Load, Measured, NotDrained

_CELL_SECONDS = 240
_DRAIN_SECONDS = 90
_LOOK_AGAIN_SECONDS = 20
_MOST_ERRANDS = 4  # until somebody has passed the place
_HAPPENS_SECONDS = 10  # after the errand: what is done by the clock, or by a process that starts
_LOOK_SECONDS = 0.05
_CELLS_OF_A_SCENE = 40  # its tables are read whole after each cell
_EXIT_CODES = {"kill": -9, "term": 0}


class NotAsOrdered(Exception):
    """The crash did not happen, or not as it was ordered: what the cell counted proves nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    id: str
    passed: bool
    proof: str
    lost: int | None = None
    duplicate_effects: int | None = None
    order_breaks: int | None = None
    unaccounted: int | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def run(
    transport: Transport, cells: Sequence[Cell], say: Callable[[str], None]
) -> AsyncGenerator[tuple[Cell, Result]]:
    """All on one ground; after a cell that failed the next one begins with organizations of its own."""
    async with opened(transport, say) as ground, AsyncExitStack() as stack:
        scene: Scene | None = None
        played = 0
        for cell in cells:
            if scene is None or played >= _CELLS_OF_A_SCENE:
                scene, played = Scene(ground, Load(ground, stack)), 0
                await scene.open(stack)
                await scene.drained()
            result = await _result(cell, scene)
            played += 1
            if not result.passed:
                scene = None
                say(f"{cell.id}: {result.proof}")
            yield cell, result


async def _result(cell: Cell, scene: Scene) -> Result:
    started = time.monotonic()
    try:
        async with asyncio.timeout(_CELL_SECONDS):
            proof, checks = await _crash(cell, scene)
            await scene.ground.all_ready()
            problems = []
            try:
                await scene.drained(_DRAIN_SECONDS)
            except NotDrained as error:  # what is lost is still counted
                problems.append(str(error))
            measured = await scene.load.measured(0, patience_seconds=_LOOK_AGAIN_SECONDS)
            problems += [problem for check in checks for problem in await check()]
    except Exception as error:  # noqa: BLE001 - a cell that cannot be run has failed, and the others go on
        return Result(cell.id, False, f"{type(error).__name__}: {error}"[:2000], seconds=_since(started))
    finally:
        scene.ground.take_back()
    return _told(cell, proof, measured, problems, _since(started))


def _told(cell: Cell, proof: str, measured: Measured, problems: Sequence[str], seconds: float) -> Result:
    return Result(
        cell.id, measured.is_clean and not problems, "; ".join([proof, *measured.others, *problems]), measured.lost,
        measured.duplicate_effects, measured.order_breaks, measured.unaccounted, seconds,
    )  # fmt: skip


async def _crash(cell: Cell, scene: Scene) -> tuple[str, list[Check]]:
    """Raises: NotAsOrdered."""
    ground, point = scene.ground, cell.point
    crash = Crash(point.name, cell.kind, stall_seconds=STALL_SECONDS)
    ended_before = len(ground.ended)
    ground.order(point.service, crash)
    checks = []
    for _ in range(_MOST_ERRANDS):
        checks.append(await ERRANDS[point.errand_on(cell.transport)](scene))
        if await _happens(ground, point.service):
            break
    happened_at = ground.happened_at(point.service)
    if happened_at is None:
        raise NotAsOrdered(f"nobody passed {point.name}")
    process = ground.process_of(point.service)
    if cell.kind == "stall":
        await asyncio.sleep(max(0.0, happened_at + STALL_SECONDS - time.time()))
        return f"{process} stood still for {STALL_SECONDS:g} s", checks
    if cell.kind == "exception":
        return f"{process} raised", checks
    return await _ended(ground, ended_before, _EXIT_CODES[cell.kind], process), checks


async def _happens(ground: CrashGround, service: str) -> bool:
    deadline = time.monotonic() + _HAPPENS_SECONDS
    while ground.happened_at(service) is None and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's file
        await asyncio.sleep(_LOOK_SECONDS)
    return ground.happened_at(service) is not None


async def _ended(ground: CrashGround, since: int, code: int, process: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for called, ended_with in ground.ended[since:]:
            if ended_with == code and called.replace("_", "-").startswith(process):
                return f"{process} ended with {code} and was started again"
        await asyncio.sleep(_LOOK_SECONDS)
    raise NotAsOrdered(f"{process} did not end with {code}: {ground.ended[since:]}")


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)
