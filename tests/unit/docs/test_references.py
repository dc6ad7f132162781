"""What is written about files is true: every path, module, link and make target that a text names exists.

Texts are all Markdown, the Makefile, and what Python says in docstrings and comments.
"""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = "tests|services|libs|docs|deploy|migrations|contracts"
_PATH = re.compile(rf"(?<![\w/.$-])(?:(?:{FOLDERS}|\.ci)/[\w./*{{}},-]*\w[\w./*{{}},-]*)(?:::(\w+))?")
_MODULE = re.compile(r"(?<![\w/.])(?:libs|services|tests)(?:\.\w+)+")
_FILE = re.compile(r"(?<![\w/.*-])\w+\.py\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MAKE = re.compile(r"(?:^|`)make ((?:[a-z]+-)*[a-z]+)(?=[`\s])", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#:? (.*)$", re.MULTILINE)


@cache
def tracked() -> frozenset[str]:
    """Every file of the repository, and every folder."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    found = listed.stdout.decode().splitlines() if listed.returncode == 0 else []
    files = found or [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if ".venv" not in path.parts]
    folders = {str(folder) for file in files for folder in Path(file).parents}
    return frozenset(file for file in files if (ROOT / file).exists()) | folders


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def expanded(text: str) -> Iterator[str]:
    """`a/{b,c}.py` -> `a/b.py`, `a/c.py`; another brace ends what can be known."""
    parts = re.split(r"\{([^{}]*)\}", text)
    if not all("," in choice for choice in parts[1::2]) or re.search("[{}]", "".join(parts)):
        yield text.split("{")[0].rpartition("/")[0]
        return
    choices = [part.split(",") if number % 2 else [part] for number, part in enumerate(parts)]
    yield from ("".join(chosen) for chosen in itertools.product(*choices))


def exists(path: str) -> bool:
    path = path.rstrip("/.,-")
    if "*" in path:
        return any(ROOT.glob(path))
    if re.fullmatch(r"docs/adr/\d{4}", path):  # a decision is named by its number
        return any(ROOT.glob(f"{path}-*.md"))
    return path in tracked()


def module_exists(dotted: str) -> bool:
    """A module, a package, or a name that one of them says."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        base = "/".join(parts[:length])
        rest = parts[length:]
        if base in tracked():
            return not rest or (f"{base}/__init__.py" in tracked() and _says(f"{base}/__init__.py", rest[0]))
        if f"{base}.py" in tracked():
            return not rest or _says(f"{base}.py", rest[0])
    return False


def _says(file: str, name: str) -> bool:
    return name in _words(file)


@cache
def _words(file: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", (ROOT / file).read_text()))


def wrong(text: str, home: Path) -> list[str]:
    """What this text, which stands in the folder `home`, says of files that are not there."""
    found = []
    for path in _PATH.finditer(text):
        whole = path[0].split("::")[0]
        for one in expanded(whole):
            if one and not exists(one):
                found.append(f"{one} is not there")
            elif path[1] and path[1] not in (ROOT / one).read_text():
                found.append(f"{one} has no {path[1]}")
    found += [f"{one[0]} is no module" for one in _MODULE.finditer(text) if not module_exists(one[0].rstrip("."))]
    return found


def wrong_in_markdown(text: str, home: Path) -> list[str]:
    """Also links, make's words, and file names alone: those are near by, or anywhere but of one kind."""
    found = wrong(text, home)
    here = str(home.relative_to(ROOT))
    near = {Path(one).name for one in tracked() if here == "." or one.startswith(f"{here}/")}
    if not here.startswith("services/"):
        near = {Path(one).name for one in tracked()}
    found += [f"no file {one[0]} below {here}" for one in _FILE.finditer(text) if one[0] not in near]
    found += [f"make has no {one[1]}" for one in _MAKE.finditer(text) if one[1] not in targets()]
    for link in _LINK.finditer(text):
        where, _, heading = link[1].partition("#")
        if "://" in where or where.startswith("mailto:"):
            continue
        target = home / where if where else None
        if target is not None and not target.exists():
            found.append(f"the link {link[1]} leads nowhere")
        elif heading and heading not in _headings(text if target is None else target.read_text()):
            found.append(f"the link {link[1]} leads to no heading")
    return found


def _headings(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def remarks(source: str) -> str:
    """Docstrings and comments."""
    parts = _COMMENT.findall(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(ast.get_docstring(node) or "")
    return "\n".join(parts)


def test_every_document_names_what_exists() -> None:
    documents = sorted(one for one in tracked() if one.endswith(".md"))
    assert "README.md" in documents
    assert "docs/api.md" in documents

    found = {one: wrong_in_markdown((ROOT / one).read_text(), (ROOT / one).parent) for one in documents}

    assert {one: what for one, what in found.items() if what} == {}


def test_the_makefile_names_what_exists() -> None:
    assert wrong((ROOT / "Makefile").read_text(), ROOT) == []


def test_docstrings_and_comments_name_what_exists() -> None:
    sources = sorted(one for one in tracked() if one.endswith(".py") and one != str(Path(__file__).relative_to(ROOT)))
    assert len(sources) > 300

    found = {one: wrong(remarks((ROOT / one).read_text()), (ROOT / one).parent) for one in sources}

    assert {one: what for one, what in found.items() if what} == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see `services/gateway/gone.py`.", "services/gateway/gone.py is not there"),
        ("libs/web/{app,gone}.py", "libs/web/gone.py is not there"),
        ("tests/security/*_nothing.py", "tests/security/*_nothing.py is not there"),
        ("tests/security/test_rows.py::test_gone", "tests/security/test_rows.py has no test_gone"),
        ("`services.gateway.audit.gone()`", "services.gateway.audit.gone is no module"),
        ("`libs.gone.app`", "libs.gone.app is no module"),
        ("`gone.py`", "no file gone.py below docs"),
        ("`make gone`", "make has no gone"),
        ("[it](gone.md)", "the link gone.md leads nowhere"),
        ("[it](api.md#gone)", "the link api.md#gone leads to no heading"),
    ],
)
def test_what_does_not_exist_is_told(text: str, told: str) -> None:
    assert wrong_in_markdown(text, ROOT / "docs") == [told]


@pytest.mark.parametrize(
    "text",
    [
        "`services/gateway/gate.py`, libs/web/{app,tenant}.py, `services/<name>/` and tests/security/*.py",
        "`services.gateway.audit.verify(database, org)` and tests.security.grants",
        "[people](api.md#people), `test_rows.py::x`, `make test` and `make demo KILL=1`",
    ],
)
def test_what_exists_is_not(text: str) -> None:
    assert wrong_in_markdown(text, ROOT / "docs") == []
