"""A copy that is interrupted is gone on with, and becomes the same; a folder that holds anything else is left as it is."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from libs.client.client import ApiProblem, Json
from services.cli import export
from services.cli.copying import CopyRefused, copy_organization
from services.cli.main import app

OFFERED: Json = {
    "organization_id": "org_1",
    "data": [
        {"owner": "gateway", "table": "users", "columns": ["n", "text"], "left_out": []},
        {"owner": "analytics", "table": "facts", "columns": ["n"], "left_out": [{"column": "k", "why": "a secret"}]},
        {"owner": "analytics", "table": "syncs", "columns": ["n"], "left_out": []},
    ],
    "left_out": [{"owner": "gateway", "table": "outbox", "why": "bookkeeping"}],
    "as_of": "2026-07-11T12:00:00.000000Z",
}
ROWS: dict[str, list[Json]] = {
    "users": [{"n": number, "text": f"ü {number} \u2028"} for number in range(7)],
    "facts": [{"n": 10**18 + number} for number in range(4)],
    "syncs": [],
}


class Api:
    """Stands for OutriderClient. `fails` are raised in turn, each before the page with that number (from 1) is given."""

    def __init__(self, offered: Json = OFFERED, fails: dict[int, list[Exception]] | None = None) -> None:
        self.offered = offered
        self.fails = fails or {}
        self.pages = 0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def exports(self) -> Json:
        return self.offered

    async def export_page(self, owner: str, table: str, *, after: str | None, limit: int) -> Json:
        if waiting := self.fails.get(self.pages + 1):
            raise waiting.pop(0)
        self.pages += 1
        start = int(after or 0)
        rows, end = ROWS[table][start : start + limit], start + limit
        more = end < len(ROWS[table])
        return {
            "data": rows,
            "has_more": more,
            "next_cursor": str(end) if more else None,
            "as_of": f"moment {self.pages}",
        }

    async def copy(self, folder: Path, gateway: str = "http://gateway.example.com") -> Json:
        return await copy_organization(
            self, folder, gateway=gateway, page_rows=2, sleep=self.sleep  # type: ignore[arg-type]
        )  # fmt: skip

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".ndjson"}


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def away(status: int = 500) -> ApiProblem:
    return ApiProblem(status, "internal", "something failed", None)


@pytest.fixture
async def whole(tmp_path: Path) -> dict[str, bytes]:
    """What an undisturbed copy is made of."""
    await Api().copy(tmp_path / "undisturbed")
    return contents(tmp_path / "undisturbed")


async def test_a_copy_has_all_rows_and_says_so(tmp_path: Path, whole: dict[str, bytes]) -> None:
    manifest = json.loads((tmp_path / "undisturbed" / "manifest.json").read_text())
    assert [[json.loads(line) for line in whole[one["file"]].splitlines()] for one in manifest["tables"]] == [
        ROWS[one["table"]] for one in manifest["tables"]
    ]
    assert [(one["rows"], one["first_as_of"], one["last_as_of"]) for one in manifest["tables"]] == [
        (7, "moment 1", "moment 4"), (4, "moment 5", "moment 6"), (0, "moment 7", "moment 7"),
    ]  # fmt: skip
    assert manifest["left_out"] == OFFERED["left_out"]
    assert not (tmp_path / "undisturbed" / "unfinished.json").exists()


@pytest.mark.parametrize("page", range(1, 8))
async def test_an_interrupted_copy_goes_on_where_it_stopped(tmp_path: Path, whole: dict[str, bytes], page: int) -> None:
    folder = tmp_path / "copy"
    with pytest.raises(ApiProblem):
        await Api(fails={page: [away()]}).copy(folder)
    assert not (folder / "manifest.json").exists()

    second = Api()
    await second.copy(folder)

    assert contents(folder) == whole
    assert second.pages == 7 - (page - 1), "what is there is not read again"


async def test_lines_that_were_written_and_not_noted_are_written_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    folder = tmp_path / "copy"
    with pytest.raises(ApiProblem):
        await Api(fails={3: [away()]}).copy(folder)
    with (folder / "gateway.users.ndjson").open("ab") as file:  # killed behind the lines, before the note
        file.write(b'{"n":4,"text":"\xc3\xbc 4 \xe2\x80\xa8"}\n{"n":5,"te')
    (folder / "unfinished.half").write_bytes(b'{"vers')

    await Api().copy(folder)

    assert contents(folder) == whole


async def test_who_is_busy_or_away_for_a_moment_is_asked_again(tmp_path: Path, whole: dict[str, bytes]) -> None:
    limited = ApiProblem(429, "rate_limited", "wait", None, retry_after_seconds=17.0)
    api = Api(fails={1: [limited, away(503)], 4: [httpx.ConnectError("refused")], 6: [away(504)]})

    await api.copy(tmp_path / "copy")

    assert contents(tmp_path / "copy") == whole
    assert api.slept == [17.0, 2.0, 1.0, 1.0]


async def test_who_stays_away_is_given_up_after_some_tries(tmp_path: Path) -> None:
    api = Api(fails={2: [httpx.ConnectError("refused")] * 10})
    with pytest.raises(httpx.ConnectError):
        await api.copy(tmp_path / "copy")
    assert api.slept == [1.0, 2.0, 4.0, 8.0, 16.0]


async def _begun(folder: Path) -> None:
    with pytest.raises(ApiProblem):
        await Api(fails={3: [away()]}).copy(folder)


def _other(**fields: Any) -> Callable[[Path], Api]:
    return lambda _: Api(offered=OFFERED | fields)


def _cut(folder: Path) -> Api:
    os.truncate(folder / "gateway.users.ndjson", 3)
    return Api()


def _spoil(folder: Path) -> Api:
    (folder / "unfinished.json").write_text("[]")
    return Api()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other(organization_id="org_2"), "of another organization"),
        (_other(data=OFFERED["data"][:2]), "other tables and columns"),
        (_cut, "shorter than it was written"),
        (_spoil, "none of ours"),
    ],
)
async def test_what_was_begun_otherwise_is_left_as_it_is(
    tmp_path: Path, change: Callable[[Path], Api], said: str
) -> None:
    await _begun(tmp_path)
    api = change(tmp_path)
    before = everything(tmp_path)

    with pytest.raises(CopyRefused, match=said):
        await api.copy(tmp_path)

    assert everything(tmp_path) == before
    assert api.pages == 0


async def test_a_folder_of_others_a_whole_copy_and_one_in_use_are_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    await Api().copy(tmp_path / "whole")
    (tmp_path / "held").mkdir()
    (tmp_path / "file").write_text("")
    handle = os.open(tmp_path / "held", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        for name, said in {
            "theirs": "not empty",
            "whole": "is whole",
            "held": "another process",
            "file": "no folder",
        }.items():
            with pytest.raises(CopyRefused, match=said):
                await Api().copy(tmp_path / name)
    finally:
        os.close(handle)


# The command


def run(monkeypatch: pytest.MonkeyPatch, api: Api, folder: Path, *words: str, key: str = "otr_live_k") -> Any:
    monkeypatch.setattr(export, "OutriderClient", lambda *_: api)
    given = ["export", "--out", str(folder), "--page-rows", "2", *words]
    return CliRunner().invoke(app, given, env={"OUTRIDER_API_KEY": key, "COLUMNS": "200"})


def test_the_commands_exit_codes_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = run(monkeypatch, Api(fails={3: [away(403)]}), tmp_path / "copy")
    assert cut.exit_code == 1
    assert "403 internal" in cut.stderr
    assert "the same command goes on" in cut.stderr

    done = run(monkeypatch, Api(), tmp_path / "copy", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["tables"][0]["rows"] == 7

    again = run(monkeypatch, Api(), tmp_path / "copy")
    assert again.exit_code == 2
    assert again.stdout == ""
    for words, key in (((), ""), (("--key-file", str(tmp_path / "none")), "k"), (("--url", "gateway"), "k")):
        wrong = run(monkeypatch, Api(), tmp_path / "other", *words, key=key)
        assert wrong.exit_code == 2, words
    assert not (tmp_path / "other").exists()


def test_the_key_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("otr_live_k\n")
    told = run(monkeypatch, Api(), tmp_path / "copy", "--key-file", str(tmp_path / "key"), key="")
    assert told.exit_code == 0
    assert "facts" in told.stdout
