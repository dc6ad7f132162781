"""Reads and writes table.txt: what every operation answers to everybody, cell by cell. There is no default cell.

A section is a group of principals (its columns); an operation has a line per probe; a cell is an outcome: the status and,
of answers, whose data is in them (o: the own company's, s: the sibling's, w: the whole org's, t: other tenants').
Refusals have short names (`401k`), written down at the top.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("table.txt")
NAME = "tests/security/matrix/table.txt"

# section -> operation -> label -> principal -> outcome
Cells = dict[str, dict[str, dict[str, dict[str, str]]]]


class Malformed(Exception):
    """The file cannot be read; the message says which line."""


@dataclass
class Table:
    preface: str = ""
    codes: dict[str, str] = field(default_factory=dict)  # "401k" -> "key_revoked"
    cells: Cells = field(default_factory=dict)

    def outcome_of(self, status: int, code: str | None, letters: str) -> str:
        """How an answer is written in a cell."""
        if code is None:
            return f"{status}{letters}"
        short = next((short for short, known in self.codes.items() if known == code and short[:3] == str(status)), None)
        return (short or f"{status}:{code}") + letters

    def cell(self, section: str, operation: str, label: str, principal: str) -> str | None:
        return self.cells.get(section, {}).get(operation, {}).get(label, {}).get(principal)

    def put(self, section: str, operation: str, label: str, principal: str, outcome: str) -> None:
        self.cells.setdefault(section, {}).setdefault(operation, {}).setdefault(label, {})[principal] = outcome


def parse(text: str) -> Table:
    """Raises Malformed."""
    table = Table()
    section, columns, operation = "", [""], ""
    preface = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if line.startswith("<<<<<<<"):
            raise Malformed(
                f"{NAME}:{number}: a conflict of git's: `python -m tests.security.matrix --merge` resolves it"
            )
        if line.startswith("#"):
            if not section:
                preface.append(line)
        elif not words:
            continue
        elif line.startswith("code "):
            table.codes[words[1]] = words[2]
        elif line.startswith("["):
            section, _, rest = line[1:].partition("]")
            columns, operation = rest.split(), ""
            if section in table.cells:
                raise Malformed(f"{NAME}:{number}: a second section [{section}]")
            table.cells[section] = {}
        elif not line.startswith(" "):
            operation = line.strip()
            if not section or operation in table.cells[section]:
                raise Malformed(f"{NAME}:{number}: {operation} stands outside a section, or twice in one")
            table.cells[section][operation] = {}
        else:
            label, _, rest = line.strip().partition("  ")
            outcomes = rest.split()
            if not operation or len(outcomes) != len(columns) or label in table.cells[section][operation]:
                raise Malformed(
                    f"{NAME}:{number}: {len(outcomes)} cells for {len(columns)} columns, or a line twice: {line.strip()}"
                )
            table.cells[section][operation][label] = dict(zip(columns, outcomes, strict=True))
    table.preface = "\n".join(preface)
    return table


def ordered(table: Table, order: Iterable[tuple[str, str, Iterable[str]]]) -> Table:
    """The same cells, in the order of these (section, operation, labels); what is not among them stays, at the end."""
    found = Table(table.preface, table.codes)
    for section, operation, labels in order:
        lines = table.cells.get(section, {}).get(operation, {})
        kept = {label: lines[label] for label in labels if label in lines}
        found.cells.setdefault(section, {})[operation] = {**kept, **lines}
    for section, operations in table.cells.items():
        for operation, lines in operations.items():
            found.cells.setdefault(section, {}).setdefault(operation, lines)
    return found


def merged(base: Table, ours: Table, theirs: Table) -> Table:
    """What either side changed since `base`; where both changed one cell otherwise it is missing, to be asked anew."""
    found = Table(ours.preface, {**theirs.codes, **ours.codes})
    before, mine, others = _flat(base), _flat(ours), _flat(theirs)
    for cell in {**mine, **others}:
        kept, came = mine.get(cell), others.get(cell)
        outcome = kept if came in (before.get(cell), kept) else came if kept == before.get(cell) else "?"
        if outcome is not None:
            found.put(*cell, outcome)
    return found


def _flat(table: Table) -> dict[tuple[str, str, str, str], str]:
    return {
        (section, operation, label, principal): outcome
        for section, operations in table.cells.items()
        for operation, lines in operations.items()
        for label, cells in lines.items()
        for principal, outcome in cells.items()
    }


def write(table: Table, columns: Mapping[str, Iterable[str]]) -> str:
    """The file's text; operations and lines in their order in `table`. A cell that is missing is written `?`."""
    lines = [table.preface, ""] if table.preface else []
    lines += [f"code {short:<5} {code}" for short, code in sorted(table.codes.items())]
    for section, operations in table.cells.items():
        names = list(columns[section])
        labels = [label for lines_ in operations.values() for label in lines_]
        label_width = max(len(one) for one in (*labels, section)) + 4
        widths = [
            max(
                [len(name), *(len(cells.get(name, "?")) for lines_ in operations.values() for cells in lines_.values())]
            )
            for name in names
        ]
        header = " ".join(name.ljust(width) for name, width in zip(names, widths, strict=True))
        lines += ["", f"[{section}]".ljust(label_width) + header.rstrip()]
        for operation, found in operations.items():
            lines.append(operation)
            for label, cells in found.items():
                row = " ".join(cells.get(name, "?").ljust(width) for name, width in zip(names, widths, strict=True))
                lines.append(f"  {label}".ljust(label_width) + row.rstrip())
    return "\n".join(lines) + "\n"
