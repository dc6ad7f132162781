"""`make crash-grid`: every named place × every way to fail × both transports. Exit 1 unless every cell that was to run passed.

A run that was broken off goes on where it stood, unless the code has changed since (`--anew` begins again).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from libs.state import CHECKOUT
from tests.crashes import grid
from tests.crashes.grid import Result
from tests.crashes.points import TRANSPORTS, Cell, cells
from tests.faults.report import machine

FOLDER = CHECKOUT / "var" / "crashes"

talk = Console(stderr=True)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make crash-grid")
    parser.add_argument("--only", default="", help="cells whose id holds one of these: relay.,kill:rabbitmq")
    parser.add_argument("--anew", action="store_true", help="run what passed before, too")
    parser.add_argument("--json", action="store_true", help="the results on standard output")
    parser.add_argument("--list", action="store_true", help="the cells' ids, and nothing else")
    asked = parser.parse_args()
    only = [word for word in asked.only.split(",") if word]
    wanted = [cell for one in TRANSPORTS for cell in cells(one) if not only or any(word in cell.id for word in only)]
    if not wanted:
        parser.error(f"no cell's id holds {asked.only!r}; --list shows them")
    if asked.list:
        sys.stdout.writelines(f"{cell.id}\n" for cell in wanted)
        return 0
    about, started = machine(), time.monotonic()
    journal = _Journal(None if only else FOLDER / "journal.jsonl", str(about["commit"]), anew=asked.anew)
    results = await _run(wanted, journal)
    about |= {"seconds": round(time.monotonic() - started, 1), "went_on": journal.went_on}
    failed = [one for one in results if not one.passed]
    document = {**about, "cells": [one.as_json() for one in results]}
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / ("some.json" if only else "latest.json")).write_text(json.dumps(document, indent=1) + "\n")
    if asked.json:
        sys.stdout.write(json.dumps(document) + "\n")
    for one in failed:
        talk.print(f"[red]{one.id}[/red] {one.proof}", highlight=False)
    words = f"failed {','.join(one.id for one in failed)}" if failed else "ok"
    counts = f"cells={len(results)} passed={len(results) - len(failed)} seconds={about['seconds']:.0f}"
    sys.stdout.write(f"crash-grid: {words} {counts}\n")
    if len(results) == len(wanted) and not failed:
        journal.end()
    return 1 if failed or len(results) < len(wanted) else 0


async def _run(wanted: Sequence[Cell], journal: _Journal) -> list[Result]:
    results = [one for cell in wanted if (one := journal.passed.get(cell.id)) is not None]
    columns = (TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=talk, transient=True) as progress:
        bar = progress.add_task("", total=len(wanted), completed=len(results))

        async def of(transport: Any) -> None:
            mine = [cell for cell in wanted if cell.transport == transport and cell.id not in journal.passed]
            if not mine:
                return
            async with aclosing(grid.run(transport, mine, _say(transport))) as ran:
                async for cell, result in ran:
                    journal.note(result)
                    results.append(result)
                    progress.update(bar, advance=1, description=f"{cell.id} {result.seconds} s")

        # Cells mostly wait, for leases, restarts and counts that stand still: both transports at once.
        await asyncio.gather(*(of(transport) for transport in TRANSPORTS))
    order = {cell.id: place for place, cell in enumerate(wanted)}
    return sorted(results, key=lambda one: order[one.id])


def _say(transport: str) -> Any:
    return lambda line: talk.print(f"[dim]{transport}: {line}[/dim]", highlight=False)


class _Journal:
    """A line for each cell that ran; of another commit's nothing is kept, and of a run of some cells (no `path`) neither."""

    def __init__(self, path: Path | None, commit: str, *, anew: bool) -> None:
        self.passed: dict[str, Result] = {}
        self._path = path
        if path is None:
            self.went_on = False
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() and not anew else []
        if lines and json.loads(lines[0]) == {"commit": commit}:
            found = (Result(**json.loads(line)) for line in lines[1:])
            self.passed = {one.id: one for one in found if one.passed}
        else:
            path.write_text(json.dumps({"commit": commit}) + "\n")
        self.went_on = bool(self.passed)

    def note(self, result: Result) -> None:
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(result.as_json()) + "\n")

    def end(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
