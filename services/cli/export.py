"""`outrider export`: an organization's data into a folder. It needs the API and a key that may, nothing of the machine's."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from libs.client.client import ApiProblem, Json, OutriderClient
from services.cli import copying
from services.cli.copying import CopyRefused

KEY = "OUTRIDER_API_KEY"
UNFINISHED, REFUSED = 1, 2

talk = Console(stderr=True)


def export(
    out: Annotated[Path, typer.Option(help="The folder to write; an empty one, or where this was begun before.")],
    url: Annotated[str, typer.Option(help="The gateway's address.")] = "http://127.0.0.1:8080",
    org: Annotated[
        str | None, typer.Option(help="The organization (org_…), for platform staff who have assumed it.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help=f"A file that holds the API key; else it is taken from {KEY}.")
    ] = None,
    page_rows: Annotated[int, typer.Option(help="How many rows to ask for at once.", min=1, max=1000)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest instead of a table.")] = False,
) -> None:
    """Copy all data of an organization: a file of JSON lines per table, and manifest.json once all are whole.

    Exit 0: it is whole. 1: it is not, and the same command goes on. 2: the command or the folder is wrong; nothing was written.
    """
    key = os.environ.get(KEY, "") if key_file is None else _read(key_file)
    if not key.strip():
        raise typer.BadParameter(f"set {KEY} to an API key that may (permission exports:read), or name a --key-file")
    if urlsplit(url).scheme not in ("http", "https"):
        raise typer.BadParameter(f"{url} is no address: https://…")
    try:
        manifest = asyncio.run(_copied(OutriderClient(url, key.strip(), org), out, url.rstrip("/"), page_rows))
    except CopyRefused as error:
        talk.print(f"[red]outrider:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(REFUSED)
    except (ApiProblem, httpx.HTTPError, OSError) as error:
        said = str(error)
        if isinstance(error, httpx.HTTPError):
            said = f"{url} does not answer ({type(error).__name__})"
        talk.print(f"[red]outrider:[/red] {escape(said)}", highlight=False, soft_wrap=True)
        talk.print(
            escape(f"what is copied so far is in {out}; the same command goes on with it"),
            highlight=False,
            soft_wrap=True,
        )
        sys.exit(UNFINISHED)
    if as_json:
        print(orjson.dumps(manifest, option=orjson.OPT_INDENT_2).decode())
    else:
        shown = Table("owner", "table", "rows", "bytes")
        for one in manifest["tables"]:
            shown.add_row(one["owner"], one["table"], f"{one['rows']:,}", f"{one['bytes']:,}")
        Console().print(shown)
        told = f"{out / copying.MANIFEST} says what each file holds, and what was left out and why"
        talk.print(escape(told), highlight=False)


async def _copied(client: OutriderClient, folder: Path, gateway: str, page_rows: int) -> Json:
    columns = (TextColumn("tables"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=talk, transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(table: str, rows: int, whole: int, tables: int) -> None:
            progress.update(task, description=f"{table}: {rows:,} rows", completed=whole, total=tables)

        async with client:
            return await copying.copy_organization(client, folder, gateway=gateway, page_rows=page_rows, show=show)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read ({type(error).__name__})") from None
