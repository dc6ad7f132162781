"""`python -m tests.faults [--quick] [--only F1,F10] [--failed] [--page]`: break what can break, count what came of it.

Exit 1 if a row that ran did not pass.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from rich.console import Console

from libs.state import CHECKOUT
from tests.faults import disk, report
from tests.faults.ground import Ground, opened
from tests.faults.load import Measured
from tests.faults.matrix import ROWS
from tests.faults.report import Result
from tests.faults.rows import Row, in_short, run_live
from tests.faults.suites import run_suites

_WIDTH = 170  # of a table that goes to a file

talk = Console(stderr=True)


async def main() -> int:
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--quick", action="store_true", help="only the rows that CI runs")
    parser.add_argument("--only", default="", help="some rows: F1,F10")
    parser.add_argument("--failed", action="store_true", help="what failed in the last run, and keep the rest of it")
    parser.add_argument("--page", action="store_true", help="write docs/fault-matrix.md too")
    asked = parser.parse_args()
    only = set(filter(None, asked.only.split(",")))
    if unknown := only - {row.id for row in ROWS}:
        parser.error(f"there is no row {', '.join(sorted(unknown))}: F1 to F{len(ROWS)}")
    rows = [row for row in ROWS if not only or row.id in only]
    if asked.quick:
        rows = [in_short(row) for row in rows if row.quick is not None]
    if any(row.large for row in rows):
        disk.enter()
    about = report.machine()
    results: dict[str, Result] = {}
    again_on = ""
    if asked.failed:
        before, about_before = report.read()
        results = {one.id: one for one in before}
        rows = [row for row in rows if row.id in results and results[row.id].passed is False]
        about, again_on = about_before, str(about["commit"])
    in_order: list[Result] = []
    async for result in _run(rows):
        results[result.id] = replace(result, again_on=again_on)
        in_order = [results[row.id] for row in ROWS if row.id in results]
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
    suites = [row for row in rows if row.suite]
    for row in rows:
        if reason := row.why_not or row.needs():
            yield Result(row.id, row.fault, None, reason)
    if suites:
        talk.print(f"[dim]the suites of {', '.join(row.id for row in suites)}[/dim]")
        for result in run_suites(suites):
            yield result
    for large in (False, True):
        live = [row for row in rows if row.act is not None and row.large is large and not row.needs()]
        if not live:
            continue
        async with opened(lambda line: talk.print(f"[dim]{line}[/dim]"), large=large) as ground:
            for row in sorted(live, key=lambda one: one.last):
                talk.print(f"[dim]{row.id} {row.fault}[/dim]")
                result = await _live(row, ground)
                if not result.passed:
                    talk.print(f"[red]{row.id}: {result.proof}[/red]")
                    _keep_logs(row, ground)
                yield result


def _keep_logs(row: Row, ground: Ground) -> None:
    """The ground goes with the run; what its services said is wanted afterwards."""
    kept = report.LATEST.parent / "logs" / row.id
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(ground.folder / "logs", kept)
    talk.print(f"logs: {kept}")


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


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
