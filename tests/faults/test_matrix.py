"""The matrix is whole, what it names exists, and its quick rows pass."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from libs.state import CHECKOUT
from tests.faults import report
from tests.faults.matrix import ROWS
from tests.faults.rows import NoFault, proven
from tests.servers import RabbitServer

_ROWS_OF_THE_MATRIX = 54
_PATIENCE_SECONDS = 300


def test_every_row_is_run_or_says_why_not() -> None:
    assert [row.id for row in ROWS] == [f"F{number}" for number in range(1, _ROWS_OF_THE_MATRIX + 1)]
    for row in ROWS:
        assert sum((row.act is not None, bool(row.suite), bool(row.why_not))) == 1, row.id


@pytest.mark.parametrize("row", [row for row in ROWS if row.suite], ids=lambda row: row.id)
def test_the_tests_a_row_names_are_there(row) -> None:
    for named in row.suite:
        path, _, test = named.partition("::")
        place = CHECKOUT / path
        assert place.exists(), named
        assert f"def {test}(" in place.read_text() if test else True, named


def test_a_fault_that_did_not_happen_proves_nothing() -> None:
    assert proven(True, "it broke") == "it broke"
    with pytest.raises(NoFault, match="it held"):
        proven(False, "it held")


def test_the_quick_rows_pass(rabbit_server: RabbitServer) -> None:
    """In a process of their own, with servers of their own; `rabbit_server` says, or fails, when there is no broker."""
    del rabbit_server
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--quick"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said = json.loads(report.LATEST.read_text())
    assert [row["passed"] for row in said["rows"]] == [True] * sum(row.quick is not None for row in ROWS)
    assert all(row["proof"] for row in said["rows"])
