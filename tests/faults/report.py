"""What a run of the matrix says: a table, `var/faults/latest.json`, and a page for the repository."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from libs.clock import now, rfc3339
from libs.state import CHECKOUT

LATEST = CHECKOUT / "var" / "faults" / "latest.json"


@dataclass(frozen=True, slots=True)
class Result:
    """One row as it ran. The counts are None where nothing was counted: not run, or a suite that asserts for itself."""

    id: str
    fault: str
    passed: bool | None  # None: not run
    proof: str
    lost: int | None = None
    duplicate_effects: int | None = None
    order_breaks: int | None = None
    unaccounted: int | None = None
    drain_seconds: float | None = None
    seconds: float = 0.0
    again_on: str = ""  # the commit on which it ran, when the others had run before


def machine() -> dict[str, object]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    return {
        "at": rfc3339(now()),
        "commit": commit.stdout.strip() or "unknown",
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def write(results: Sequence[Result], about: dict[str, object], path: Path = LATEST) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": [asdict(one) for one in results]}, indent=1) + "\n")


def read(path: Path = LATEST) -> tuple[list[Result], dict[str, object]]:
    """The last run, as `write` left it: its rows, and where it ran."""
    told = json.loads(path.read_text())
    return [Result(**row) for row in told.pop("rows")], told


def show(results: Sequence[Result], out: Console) -> None:
    table = Table("", "fault", "", "lost", "doubled", "order", "unacc.", "drain s", "proof", highlight=False)
    words = {True: "[green]passed[/green]", False: "[red]failed[/red]", None: "not run"}
    for one in results:
        counts = (one.lost, one.duplicate_effects, one.order_breaks, one.unaccounted, one.drain_seconds)
        table.add_row(
            one.id, one.fault, words[one.passed], *("" if count is None else str(count) for count in counts), one.proof
        )
    out.print(table)


def as_page(results: Sequence[Result], about: dict[str, object]) -> str:
    """`docs/fault-matrix.md`."""
    on = f"{about['cores']} cores with a load of {about['load']} at its start, {about['system']}, Python {about['python']}"
    lines = [
        "# The fault matrix",
        "",
        "Written by `make faults`. Each row breaks something, and afterwards the tables are held against what the simulated",
        "providers know to have happened. A row passes when nothing was lost or done twice, no projection is behind its facts",
        "and no event is unaccounted for; and only if the fault is known to have happened (*proof*). A row without counts is",
        'a suite of tests that asserts the same for the part it breaks. `make faults ARGS="--only F5,F32"` runs some rows; with',
        "`--page` this page is written. It wants the programs of RabbitMQ and PostgreSQL, and for F32 root. A new row is one in",
        "`tests/faults/matrix.py`; `tests/faults/test_counts.py` shows that the counts see what is lost, doubled or behind.",
        "",
        f"Run {about['at']} on {about['commit']}: {on}.",
        "",
        "| | fault | | lost | doubled | order | unaccounted | drained in | proof |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    words = {True: "passed", False: "**failed**", None: "not run"}
    for one in results:
        counts = ["" if count is None else str(count) for count in (
            one.lost, one.duplicate_effects, one.order_breaks, one.unaccounted)]  # fmt: skip
        drained = "" if one.drain_seconds is None else f"{one.drain_seconds} s"
        proof = one.proof.replace("|", "\\|").replace("\n", " ")
        if one.again_on:
            proof += f" (run again on {one.again_on})"
        lines.append(f"| {one.id} | {one.fault} | {words[one.passed]} | {' | '.join(counts)} | {drained} | {proof} |")
    return "\n".join(lines) + "\n"
