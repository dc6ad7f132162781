"""`make matrix`: the whole authorization matrix. Its last line is `matrix: ok cells=<n>`; else it exits with 1.

--add     writes cells that are missing into table.txt as they are found; read the diff before you commit it
--merge   when git finds a conflict in table.txt: cell by cell what either side changed; asks nothing else
--only X  operations whose name holds X
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence

import structlog

from tests import servers
from tests.security.matrix.coverage import operations
from tests.security.matrix.principals import GROUPS
from tests.security.matrix.run import whole
from tests.security.matrix.table import FILE, NAME, Table, merged, ordered, parse, write


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__)
    parser.add_argument("--add", action="store_true", help="write missing cells into the table")
    parser.add_argument("--only", default="", help="operations whose name holds this")
    parser.add_argument("--merge", action="store_true", help="resolve a conflict of git's in the table, cell by cell")
    asked = parser.parse_args(arguments)
    if asked.merge:
        versions = [subprocess.check_output(["git", "show", f":{stage}:{NAME}"], text=True) for stage in (1, 2, 3)]
        _write(merged(*(parse(text) for text in versions)))
        return 0
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    table = parse(FILE.read_text())
    with servers.postgres(_show) as server:
        found = asyncio.run(whole(server, table, only=asked.only, say=_show, with_missing=asked.add))
    if asked.add:
        for (section, operation, label, principal), outcome in found.outcomes.items():
            if table.cell(section, operation, label, principal) in (None, "?"):
                table.put(section, operation, label, principal, outcome)
        _write(table)
    for problem in found.problems:
        _show(problem)
    state = f"failed problems={len(found.problems)}" if found.problems else "ok"
    _show(f"matrix: {state} cells={found.cells}")
    return 1 if found.problems else 0


def _write(table: Table) -> None:
    order = [(one.section, one.name, [probe.label for probe in one.probes]) for one in operations()]
    FILE.write_text(write(ordered(table, order), {name: [one.name for one in group] for name, group in GROUPS.items()}))


if __name__ == "__main__":
    sys.exit(main())
