"""Rows that a suite proves: all their tests run once, in one process apart; each row is told what became of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from libs.child_process import end, start_server
from libs.state import CHECKOUT
from tests.faults.report import LATEST, Result
from tests.faults.rows import Row

LOG = LATEST.parent / "suites.log"
_SECONDS = 1800  # a busy machine's; alone it takes some minutes
_AT_ONCE = ("-n", "2", "--dist", "loadfile")


@dataclass(frozen=True, slots=True)
class Case:
    """One test as it ended: where it stands, with its parameters, and why it did not pass (empty: it did)."""

    path: str
    name: str
    seconds: float
    fault: str

    def is_of(self, named: str) -> bool:
        """`named` is a folder, a file, or a test in a file."""
        path, _, test = named.partition("::")
        within = self.path == path or self.path.startswith(f"{path}/")
        return within and (not test or self.name.split("[", 1)[0] == test)


def run_suites(rows: Sequence[Row]) -> Iterator[Result]:
    """One run for all that CI runs too, then one for each that is heavy and made smaller by its environment."""
    for some in ([row for row in rows if not row.heavy], *([row] for row in rows if row.heavy)):
        if not some:
            continue
        with tempfile.TemporaryDirectory() as folder:
            named = sorted({named for row in some for named in row.suite})
            cases, said = _run(named, Path(folder, "report.xml"), dict(some[0].heavy))
        for row in some:
            yield judged(row, cases, said)


def judged(row: Row, cases: Sequence[Case], said: str = "") -> Result:
    """A row passes when each suite that it names has tests, and all of them passed; one that was skipped has not."""
    own = [case for case in cases if any(case.is_of(named) for named in row.suite)]
    missing = [named for named in row.suite if not any(case.is_of(named) for case in own)]
    wrong = [f"{case.name}: {case.fault}" for case in own if case.fault]
    proof = f"{len(own)} tests of {', '.join(row.suite)}"
    if missing or wrong:
        found = [f"not run: {named}" for named in missing] + wrong
        proof += f"; {'; '.join(found)}" + (f"; {said}" if missing else "")
    return Result(
        row.id, row.fault, not missing and not wrong, proof, seconds=round(sum(one.seconds for one in own), 1)
    )


def _run(named: Sequence[str], xml: Path, heavy: Mapping[str, str]) -> tuple[list[Case], str]:
    """Every test that ran, and pytest's last words; all of them are in `LOG`, also meanwhile."""
    marked = "heavy" if heavy else "not heavy"
    command = [sys.executable, "-m", "pytest", "-q", "-m", marked, "-p", "no:cacheprovider", *_AT_ONCE]
    command += [f"--junitxml={xml}", "-o", "junit_family=xunit1", *named]
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("wb") as log:
        suites = start_server(
            command, death_signal=signal.SIGTERM, env={**os.environ, **heavy}, cwd=CHECKOUT, output=log
        )
        try:
            suites.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            return [], f"the suites did not end within {_SECONDS} s"
        finally:
            end(suites, (signal.SIGTERM, 20.0))
    lines = LOG.read_text(errors="replace").strip().splitlines()
    return cases_of(xml.read_text()) if xml.exists() else [], lines[-1] if lines else "pytest said nothing"


def cases_of(report: str) -> list[Case]:
    """From pytest's report in XML (xunit1, which names files)."""
    cases = []
    for found in ElementTree.fromstring(report).iter("testcase"):
        faults = [*found.iter("failure"), *found.iter("error"), *found.iter("skipped")]
        fault = f"{faults[0].tag}: {(faults[0].get('message') or '').splitlines()[:1]}" if faults else ""
        cases.append(Case(found.get("file") or "", found.get("name") or "", float(found.get("time") or 0), fault))
    return cases
