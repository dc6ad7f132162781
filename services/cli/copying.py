"""Copies an organization through the public API into a folder: a file of JSON lines per table, and at the end a manifest.

Until then `unfinished.json` says how far each file is. It is written after each page, behind the page's lines; so whoever is
killed leaves at most lines that it does not tell of, and who goes on cuts those off.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from libs.client.client import ApiProblem, Json, OutriderClient
from libs.clock import now, rfc3339
from libs.errors import PermanentError

MANIFEST = "manifest.json"
UNFINISHED = "unfinished.json"
VERSION = 1
PAGE_ROWS = 1000

_HALF = ".half"  # of what is being written in one piece

# A minute's rate limit and a restart of the other side are waited for; who is away for longer is come back to.
_TRIES = 6
_MOST_SECONDS = 60.0

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Show = Callable[[str, int, int, int], None]


class CopyRefused(PermanentError):
    """This folder does not take this copy. Nothing in it was changed."""

    code = "copy_refused"


async def copy_organization(
    client: OutriderClient,
    folder: Path,
    *,
    gateway: str,
    page_rows: int = PAGE_ROWS,
    show: Show = lambda *_: None,
    sleep: Sleep = asyncio.sleep,
) -> Json:
    """All that can be copied, or what is missing of it in a folder where this was begun; answers the manifest.

    `show` is told of each page: table, rows of it so far, tables that are whole, tables in all.

    Raises:
        CopyRefused: the folder holds something else, or a copy that was begun otherwise.
        ApiProblem: the API said no, also when asked again. What is copied stays, and is gone on with.
        httpx.TransportError: it did not answer, also when asked again. The same.
    """
    with _held(folder):
        state = _state_of(folder)
        offered = await _patiently(client.exports, sleep)
        mine = {"gateway": gateway, "organization_id": offered["organization_id"]}
        mine |= {name: offered[name] for name in ("data", "left_out")}
        if state is None:
            state = {"version": VERSION, "begun_at": rfc3339(now()), **mine, "files": {}}
            _write(folder / UNFINISHED, state)
        elif differing := [name for name, value in mine.items() if state[name] != value]:
            raise CopyRefused(_otherwise(folder, differing[0]))
        for number, table in enumerate(offered["data"]):
            await _copy_table(client, folder, state, table, page_rows, number, show, sleep)
        return _finish(folder, state)


async def _copy_table(
    client: OutriderClient,
    folder: Path,
    state: Json,
    table: Json,
    page_rows: int,
    number: int,
    show: Show,
    sleep: Sleep,
) -> None:
    owner, name = table["owner"], table["table"]
    file: Json = state["files"].setdefault(
        f"{owner}/{name}",
        {"file": f"{owner}.{name}.ndjson", "rows": 0, "bytes": 0, "cursor": None, "is_whole": False},
    )

    async def ask() -> Json:
        return await client.export_page(owner, name, after=file["cursor"], limit=page_rows)

    while not file["is_whole"]:
        page = await _patiently(ask, sleep)
        lines = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in page["data"])
        file["bytes"] = _append(folder / file["file"], file["bytes"], lines.encode())
        file["rows"] += len(page["data"])
        file.setdefault("first_as_of", page["as_of"])
        file |= {"last_as_of": page["as_of"], "cursor": page["next_cursor"], "is_whole": not page["has_more"]}
        _write(folder / UNFINISHED, state)
        show(f"{owner}/{name}", file["rows"], number + file["is_whole"], len(state["data"]))


async def _patiently(ask: Callable[[], Awaitable[T]], sleep: Sleep) -> T:
    """Reading may be repeated, whatever became of it."""
    for tries in range(1, _TRIES):
        try:
            return await ask()
        except ApiProblem as problem:
            if not problem.retryable and problem.status != 504:
                raise
            wait = problem.retry_after_seconds or 0.0
        except httpx.TransportError:
            wait = 0.0
        await sleep(min(max(wait, 2.0**tries / 2), _MOST_SECONDS))
    return await ask()


# The folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The folder is there, for its owner only, and nobody else writes into it meanwhile."""
    if folder.exists() and not folder.is_dir():
        raise CopyRefused(f"{folder} is no folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CopyRefused(f"another process copies into {folder}") from None
        yield
    finally:
        os.close(handle)


def _state_of(folder: Path) -> Json | None:
    """How far the copy in the folder is; None when it is empty."""
    found = {path.name for path in folder.iterdir() if path.suffix != _HALF}
    if not found:
        return None
    if MANIFEST in found:
        raise CopyRefused(f"{folder} holds a copy that is whole: name another folder")
    if UNFINISHED not in found:
        raise CopyRefused(f"{folder} is not empty: name a folder that is, or none yet")
    try:
        state: Any = json.loads((folder / UNFINISHED).read_bytes())
    except ValueError:
        state = None
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise CopyRefused(f"{folder / UNFINISHED} is none of ours: name another folder")
    for file in state["files"].values():
        path = folder / file["file"]
        if (path.stat().st_size if path.exists() else 0) < file["bytes"]:
            raise CopyRefused(f"{path} is shorter than it was written: begin anew in another folder")
    return state


def _otherwise(folder: Path, what: str) -> str:
    said = {"gateway": "at another address", "organization_id": "of another organization"}
    words = said.get(what, "when other tables and columns could be copied")
    return f"the copy in {folder} was begun {words}: begin anew in another folder"


def _append(path: Path, at: int, lines: bytes) -> int:
    """Write at this place, where the file may go on with what nobody tells of; answers the new end."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.truncate(at)
        file.seek(at)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())
    return at + len(lines)


def _write(path: Path, document: Json) -> None:
    """All of it or nothing."""
    beside = path.with_suffix(_HALF)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def _finish(folder: Path, state: Json) -> Json:
    tables = []
    for table in state["data"]:
        file = state["files"][f"{table['owner']}/{table['table']}"]
        with (folder / file["file"]).open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        tables.append(
            {
                "owner": table["owner"],
                "table": table["table"],
                **{name: file[name] for name in ("file", "rows", "bytes")},
                "sha256": digest,
                "first_as_of": file["first_as_of"],
                "last_as_of": file["last_as_of"],
                "columns": table["columns"],
                "left_out": table["left_out"],
            }
        )
    manifest = {
        **{name: state[name] for name in ("version", "organization_id", "gateway", "begun_at")},
        "completed_at": rfc3339(now()),
        "tables": tables,
        "left_out": state["left_out"],
    }
    _write(folder / MANIFEST, manifest)
    (folder / UNFINISHED).unlink()
    return manifest
