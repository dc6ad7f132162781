"""A row that a suite proves passes only if every test that it names ran and passed."""

from __future__ import annotations

import pytest

from tests.faults.rows import Row
from tests.faults.suites import cases_of, judged

REPORT = """<testsuites><testsuite>
  <testcase file="tests/a.py" name="test_one[x]" time="1.0"/>
  <testcase file="tests/a.py" name="test_one[y]" time="0.5"/>
  <testcase file="tests/a.py" name="test_two" time="0"><failure message="assert 1 == 2&#10;more">…</failure></testcase>
  <testcase file="tests/b/c.py" name="test_three" time="2"><skipped message="no broker"/></testcase>
  <testcase file="tests/b/d.py" name="test_four" time="2"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("suite", "passed", "words"),
    [
        (("tests/a.py::test_one",), True, "2 tests of"),
        (("tests/a.py",), False, "test_two: failure: ['assert 1 == 2']"),
        (("tests/b/d.py", "tests/a.py::test_one"), True, "3 tests of"),
        (("tests/b",), False, "test_three: skipped"),
        (("tests/a.py::test_one", "tests/a.py::test_nine"), False, "not run: tests/a.py::test_nine"),
    ],
)
def test_a_row_is_judged_by_its_own_tests(suite: tuple[str, ...], passed: bool, words: str) -> None:
    result = judged(Row(id="F1", fault="-", suite=suite), cases_of(REPORT))

    assert result.passed is passed
    assert words in result.proof
