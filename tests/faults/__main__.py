"""`python -m tests.faults [--quick] [--only F1,F10] [--page]`: break what can break, count what came of it.

Exit 1 if a row that ran did not pass.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator

from rich.console import Console

from libs.state import CHECKOUT
from tests.faults import report
from tests.faults.ground import Ground, opened
from tests.faults.load import Measured
from tests.faults.matrix import ROWS
from tests.faults.report import Result
from tests.faults.rows import Row, run_live

_SUITE_SECONDS = 600
_WIDTH = 170  # of a table that goes to a file
_PASSED = re.compile(r"(\d+) passed")

talk = Console(stderr=True)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--quick", action="store_true", help="only the rows that CI runs")
    parser.add_argument("--only", default="", help="some rows: F1,F10")
    parser.add_argument("--page", action="store_true", help="write docs/fault-matrix.md too")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    if unknown := only - {row.id for row in ROWS}:
        parser.error(f"there is no row {', '.join(sorted(unknown))}: F1 to F{len(ROWS)}")
    rows = [row for row in ROWS if (row.id in only if only else row.quick or not asked.quick)]
    about = report.machine()
    results: dict[str, Result] = {}
    in_order: list[Result] = []
    async for result in _run(rows):
        results[result.id] = result
        in_order = [results[row.id] for row in rows if row.id in results]
        report.write(in_order, about)  # row by row: a run that is broken off has said what it knew
    report.show(in_order, Console() if sys.stdout.isatty() else Console(width=_WIDTH))
    if asked.page:
        (CHECKOUT / "docs" / "fault-matrix.md").write_text(report.as_page(in_order, about))
    failed = [one.id for one in in_order if one.passed is False]
    ran = sum(one.passed is not None for one in in_order)
    sys.stdout.write(
        f"faults: {'failed ' + ','.join(failed) if failed else 'ok'} ran={ran} not_run={len(in_order) - ran}\n"
    )
    return 1 if failed else 0


async def _run(rows: list[Row]) -> AsyncIterator[Result]:
    live = [row for row in rows if row.act is not None]
    for row in (row for row in rows if row.act is None):
        talk.print(f"[dim]{row.id} {row.fault}[/dim]")
        yield _suite(row) if row.suite else Result(row.id, row.fault, None, row.why_not)
    if not live:
        return
    async with opened(lambda line: talk.print(f"[dim]{line}[/dim]")) as ground:
        for row in live:
            talk.print(f"[dim]{row.id} {row.fault}[/dim]")
            result = await _live(row, ground)
            if not result.passed:
                talk.print(f"[red]{row.id}: {result.proof}[/red]; logs: {ground.folder / 'logs'}")
            yield result


async def _live(row: Row, ground: Ground) -> Result:
    started = time.monotonic()
    try:
        ran = await run_live(row, ground)
    except Exception as error:  # noqa: BLE001 - a row that cannot be run has failed, and the others go on
        return Result(row.id, row.fault, False, _words(error), seconds=round(time.monotonic() - started, 1))
    counted: Measured = ran.measured
    proof = "; ".join([ran.proof, *counted.others])
    return Result(
        row.id, row.fault, counted.is_clean, proof, counted.lost, counted.duplicate_effects, counted.order_breaks,
        counted.unaccounted, counted.drain_seconds, round(time.monotonic() - started, 1),
    )  # fmt: skip


def _words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_words(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _suite(row: Row) -> Result:
    """Run its tests in a process of their own; none may be skipped."""
    started = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not heavy", "-p", "no:cacheprovider", *row.suite]
    try:
        done = subprocess.run(
            command, cwd=CHECKOUT, capture_output=True, text=True, timeout=_SUITE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(row.id, row.fault, False, f"not within {_SUITE_SECONDS} s: {' '.join(row.suite)}")
    found = _PASSED.search(done.stdout)
    passed = done.returncode == 0 and found is not None and "skipped" not in done.stdout.splitlines()[-1]
    proof = f"{found[1] if found else 0} tests of {', '.join(row.suite)}"
    if not passed:
        proof += f"; {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]}"
    return Result(row.id, row.fault, passed, proof, seconds=round(time.monotonic() - started, 1))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
