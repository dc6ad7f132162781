"""The list of places is whole, and one cell of the grid runs as all do."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from libs.crash import KINDS
from libs.state import CHECKOUT
from tests.crashes.errands import ERRANDS
from tests.crashes.points import POINTS, TRANSPORTS, cells

_PASSED = re.compile(r'crash_point\("([^"]+)"\)')
_PATIENCE_SECONDS = 120


def test_the_grid_knows_every_place_in_the_code() -> None:
    code = [path.read_text() for folder in ("libs", "services") for path in (CHECKOUT / folder).rglob("*.py")]
    named = {name for text in code for name in _PASSED.findall(text)}
    assert named == {point.name for point in POINTS}
    assert sum(text.count("crash_point(") for text in code) == sum(len(_PASSED.findall(text)) for text in code) + 1


def test_every_place_has_all_its_cells_or_says_why_not() -> None:
    assert len({point.name for point in POINTS}) == len(POINTS)
    for point in POINTS:
        assert {point.errand, point.embedded or point.errand} <= set(ERRANDS), point.name
        assert bool(point.why) == (point.transports != TRANSPORTS), point.name
    for transport in TRANSPORTS:
        ids = [cell.id for cell in cells(transport)]
        assert len(set(ids)) == len(ids) == len(KINDS) * sum(transport in point.transports for point in POINTS)


@pytest.mark.heavy
def test_a_cell_passes() -> None:
    """In a process of its own, with a house of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.crashes", "--json", "--only", "relay.published:kill:embedded"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (cell,) = json.loads(done.stdout.splitlines()[0])["cells"]
    assert (cell["passed"], cell["lost"], cell["duplicate_effects"]) == (True, 0, 0)
    assert cell["proof"] == "standalone ended with -9 and was started again"
