"""`outrider dead-letters`: what failed and waits for a person, asked of the gateway."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from libs.client.client import OutriderClient
from services.cli.asking import (
    CONFLICT,
    DEFAULT_URL,
    SERVICES,
    USAGE,
    AsJson,
    Key,
    Org,
    Url,
    Yes,
    asked,
    confirm,
    end,
    show,
    talk,
)

app = typer.Typer(help="What failed for good, by letter and by cause.", no_args_is_help=True)

Service = Annotated[str | None, typer.Option(help=f"Only this one's: {', '.join(SERVICES)}.")]
Most = Annotated[int, typer.Option("--max", min=1, help="No more than so many.")]
Text = Annotated[str | None, typer.Option()]


@app.command("list")
def list_letters(
    service: Service = None,
    state: Annotated[
        str | None, typer.Option(help="dead, parked, due, done, discarded; absent: dead and parked.")
    ] = None,
    consumer: Text = None,
    error_class: Text = None,
    most: Most = 100,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """The letters of all services, last changed first."""

    async def ask(client: OutriderClient) -> list[Any]:
        found = []
        async for one in client.dead_letters(service=service, state=state, consumer=consumer, error_class=error_class):
            found.append(one)
            if len(found) >= most:
                break
        return found

    found = asked(url, key, org, ask)
    if as_json:
        show({"data": found})
        return
    table = Table("id", "state", "class", "reason", "subject", "attempts", "changed")
    for one in found:
        cells = (
            one["id"],
            one["state"],
            one["error_class"],
            one["reason"],
            one["subject"],
            str(one["attempts"]),
            one["changed_at"],
        )
        table.add_row(*(escape(cell) for cell in cells))
    Console().print(table)


@app.command("show")
def show_letter(
    letter: Annotated[str, typer.Argument(help="dlt_…")],
    raw: Annotated[bool, typer.Option("--raw", help="Print its bytes and nothing else.")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """One letter with its bytes and every attempt."""
    found = asked(url, key, org, lambda client: client.dead_letter(letter))
    if raw:
        print(base64.b64decode(found["envelope_base64"] or "").decode("utf-8", "replace"))
    elif as_json:
        show(found)
    else:
        for name, value in found.items():
            if name not in ("history", "envelope_base64"):
                print(f"{name:16} {value}")
        for attempt in found["history"]:
            print(f"{attempt['at']}  {attempt['attempt']:>3}  {attempt['error_class']}: {attempt['reason']}")


@app.command("edit")
def edit_letter(
    letter: Annotated[str, typer.Argument(help="dlt_…")],
    content: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Its whole new content: JSON, or the bytes of a webhook.")
    ],
    reason: Annotated[str, typer.Option(help="Kept with the letter.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and do nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """Put a letter's content right by hand, where the deployment allows it; then plan a replay of it."""
    found = asked(url, key, org, lambda client: client.dead_letter(letter))
    if found["envelope_base64"] is None:
        end(CONFLICT, f"{letter} is {found['state']}, and its content is kept no longer: there is nothing to put right")
    envelope = json.loads(base64.b64decode(found["envelope_base64"]))
    wanted: dict[str, Any]
    if "data_base64" in envelope:
        wanted = {"data_base64": base64.b64encode(content.read_bytes()).decode()}
    else:
        try:
            wanted = {"data": json.loads(content.read_bytes())}
        except ValueError as error:
            end(USAGE, f"{content} is not JSON: {error}")
    if dry_run:
        show({"id": letter, "before": {name: envelope.get(name) for name in wanted}, "after": wanted})
        return
    confirm(f"Replace the content of {letter} ({found['type']})?", yes=yes)
    sha256 = found["sha256"]
    found = asked(url, key, org, lambda client: client.edit_dead_letter(letter, sha256=sha256, reason=reason, **wanted))
    if as_json:
        show(found)
    else:
        talk.print(f"changed; outrider replay plan --service {found['service']} --letter {letter}")


@app.command("groups")
def list_groups(
    service: Service = None,
    status: Text = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those in which nothing waits any more.")] = False,
    most: Most = 100,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """The causes, most letters first: what to do about each, and whom it concerns."""
    if service is not None and service not in SERVICES:
        end(USAGE, f"no service is called {service}: there are {', '.join(SERVICES)}")

    async def ask(client: OutriderClient) -> list[Any]:
        found = []
        for one in (service,) if service else SERVICES:
            async for group in client.dead_letter_groups(one, status=status, with_letters=not everything):
                found.append(group)
                if len(found) >= most:
                    break
        return sorted(found, key=lambda group: -group["letters"])

    found = asked(url, key, org, ask)
    if as_json:
        show({"data": found})
        return
    table = Table(
        "id", "status", "letters", "accounts", "campaigns", "last hour", "cause", "advice", "last seen", "fixed by"
    )
    for one in found:
        cells = (
            one["id"], one["status"], str(one["letters"]), str(one["accounts"]), str(one["campaigns"]),
            str(one["failed_last_hour"]), f"{one['error_class']}: {one['reason']}", one["advice"]["action"], one["last_seen"],
            one["fixed_by_build"] or "",
        )  # fmt: skip
        table.add_row(*(escape(cell) for cell in cells))
    Console().print(table)


@app.command("group")
def show_or_change_group(
    group: Annotated[str, typer.Argument(help="fgr_…")],
    status: Annotated[str | None, typer.Option(help="open, acknowledged, ignored, resolved.")] = None,
    note: Annotated[str | None, typer.Option(help="Kept with it for good.")] = None,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """One cause; with --status or --note, change it."""
    found = asked(url, key, org, lambda client: client.dead_letter_group(group))
    if status is not None or note is not None:
        confirm(f"Change {group} ({found['error_class']}: {found['reason']})?", yes=yes)
        changes = {name: value for name, value in (("status", status), ("note", note)) if value is not None}
        revision = found["revision"]
        found = asked(
            url, key, org, lambda client: client.change_dead_letter_group(group, revision=revision, **changes)
        )
        talk.print("changed")
    if as_json:
        show(found)
        return
    for name, value in found.items():
        if name not in ("notes", "frames", "advice"):
            print(f"{name:18} {value}")
    print(f"{'advice':18} {found['advice']['action']}: {found['advice']['text']}")
    for frame in found["frames"]:
        print(f"{'':18} {frame}")
    for one in found["notes"]:
        print(f"{one['at']}  {one['by']}: {one['text']}")
