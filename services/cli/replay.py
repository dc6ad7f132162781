"""`outrider replay`: do dead letters again, by plan, dry run and apply, asked of the gateway."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from libs.client.client import Json, OutriderClient
from services.cli.asking import (
    CONFLICT,
    DEFAULT_URL,
    FAILED,
    PARTIAL,
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

app = typer.Typer(help="Do dead letters again: plan, dry-run, apply.", no_args_is_help=True)

POLL_SECONDS = 0.5
Replay = Annotated[str, typer.Argument(help="rpl_…")]
Text = Annotated[str | None, typer.Option()]
When = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"])]


@app.command()
def plan(
    service: Annotated[str, typer.Option(help="Whose letters: provider-sync, analytics, …")],
    group: Annotated[list[str] | None, typer.Option(help="fgr_…; may be given several times.")] = None,
    letter: Annotated[list[str] | None, typer.Option(help="dlt_…; may be given several times.")] = None,
    consumer: Text = None,
    error_class: Text = None,
    state: Text = None,
    account: Annotated[str | None, typer.Option(help="acc_…")] = None,
    provider: Text = None,
    campaign: Text = None,
    failed_from: When = None,
    failed_until: When = None,
    everything: Annotated[bool, typer.Option("--everything", help="All letters of the service.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Give them up instead of doing them again.")] = False,
    most: Annotated[int, typer.Option("--max", help="Refuse a plan of more letters.")] = 100_000,
    rate: Annotated[float, typer.Option(help="Letters a second.")] = 50.0,
    account_rate: Annotated[
        float | None, typer.Option(help="Letters a second of each account; absent: as --rate.")
    ] = None,
    canary: Annotated[int, typer.Option(help="So many go first, alone.")] = 5,
    ramp: Annotated[float, typer.Option(help="Seconds until the rate is reached.")] = 10.0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """Freeze which letters. Nothing is done again yet."""
    chosen = {
        "group_ids": group, "letter_ids": letter, "consumer": consumer, "error_class": error_class, "state": state,
        "account_id": account, "provider": provider, "campaign": campaign,
        "failed_from": failed_from and failed_from.isoformat(), "failed_until": failed_until and failed_until.isoformat(),
        "everything": everything or None, "action": "discard" if discard else None,
        "max": most, "rate": rate, "account_rate": rate if account_rate is None else account_rate, "canary": canary,
        "ramp_seconds": ramp,
    }  # fmt: skip
    said = {name: value for name, value in chosen.items() if value not in (None, [])}
    made = asked(url, key, org, lambda client: client.plan_replay(service, **said))
    _show(made, as_json)
    step = "apply" if made["action"] == "discard" else "dry-run"
    talk.print(f"{made['total']} letters are frozen. Next: outrider replay {step} {made['id']}", highlight=False)


@app.command("dry-run")
def dry_run(replay: Replay, as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = "", org: Org = None) -> None:
    """Try the plan and take everything back: rows, events, effects, what would fail again. Exit 6 if something would."""

    async def ask(client: OutriderClient) -> Json:
        found = await client.try_replay(replay)
        while found["dry_run_state"] == "asked":
            await asyncio.sleep(POLL_SECONDS)
            found = await client.replay(replay)
        return found

    found = asked(url, key, org, ask)
    tried = found["dry_run"] or {}
    if as_json:
        show(found)
    else:
        _show_dry_run(tried)
    if found["dry_run_state"] != "done":
        end(FAILED, f"it could not be tried: {tried.get('error')}")
    if tried["would_fail"]:
        end(PARTIAL, f"{tried['would_fail']} of {tried['covered']} would fail again")


@app.command()
def apply(
    replay: Replay,
    reason: Annotated[str, typer.Option(help="Why; kept with it.")],
    plan_hash: Annotated[str | None, typer.Option("--hash", help="Only if the plan still has this hash.")] = None,
    only_show: Annotated[bool, typer.Option("--dry-run", help="Say what would be begun, begin nothing.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not watch it to its end.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """Begin a plan that was tried, and watch it. Exit 0 when every letter is done, 6 when some are not, 5 when it stopped."""
    found = asked(url, key, org, lambda client: client.replay(replay))
    if plan_hash is not None and plan_hash != found["hash"]:
        end(CONFLICT, "the plan has another hash")
    if only_show:
        _show(found, as_json)
        talk.print(f"would {found['action']} {found['total']} letters; nothing was begun")
        return
    confirm(f"{found['action']} {found['total']} letters of {found['service']}?", yes=yes)
    begun = asked(url, key, org, lambda client: client.apply_replay(replay, plan_hash=found["hash"], reason=reason))
    if no_wait:
        _show(begun, as_json)
        return
    _watch(replay, as_json, url, key, org)


@app.command()
def watch(replay: Replay, as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = "", org: Org = None) -> None:
    """Follow a replay until it ends or stands still; exits as apply does. Ctrl-C ends the watching only."""
    _watch(replay, as_json, url, key, org)


@app.command()
def pause(replay: Replay, as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = "", org: Org = None) -> None:
    """Release nothing more for now."""
    _move(replay, "pause", as_json, url, key, org)


@app.command()
def resume(replay: Replay, as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = "", org: Org = None) -> None:
    """Go on, with a canary first."""
    _move(replay, "resume", as_json, url, key, org)


@app.command()
def abort(
    replay: Replay, yes: Yes = False, as_json: AsJson = False, url: Url = DEFAULT_URL, key: Key = "", org: Org = None
) -> None:
    """End it for good; what was done stays done."""
    confirm(f"Abort {replay} for good?", yes=yes)
    _move(replay, "abort", as_json, url, key, org)


@app.command("list")
def list_replays(
    service: Annotated[str, typer.Option(help="Whose.")],
    state: Text = None,
    most: Annotated[int, typer.Option("--max", min=1)] = 50,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    org: Org = None,
) -> None:
    """A service's replays, newest first."""

    async def ask(client: OutriderClient) -> list[Any]:
        found = []
        async for one in client.replays(service, state=state):
            found.append(one)
            if len(found) >= most:
                break
        return found

    found = asked(url, key, org, ask)
    if as_json:
        show({"data": found})
        return
    table = Table("id", "state", "letters", "done", "failed", "skipped", "by", "created")
    for one in found:
        numbers = (str(one[name]) for name in ("total", "done", "failed", "skipped"))
        table.add_row(one["id"], one["state"], *numbers, one["created_by"], one["created_at"])
    Console().print(table)


def _move(
    replay: str, how: Literal["pause", "resume", "abort"], as_json: bool, url: str, key: str, org: str | None
) -> None:
    _show(asked(url, key, org, lambda client: client.move_replay(replay, how)), as_json)


def _watch(replay: str, as_json: bool, url: str, key: str, org: str | None) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    async def ask(client: OutriderClient) -> Json:
        with Progress(*columns, console=talk, transient=True) as progress:
            found = await client.replay(replay)
            task = progress.add_task(found["state"], total=found["total"])
            while True:
                settled = found["done"] + found["failed"] + found["skipped"]
                failed = f", {found['failed']} failed again" if found["failed"] else ""
                progress.update(task, completed=settled, description=f"{found['state']}{failed}")
                if found["state"] != "running":
                    return found
                await asyncio.sleep(POLL_SECONDS)
                found = await client.replay(replay)

    found = asked(url, key, org, ask)
    _show(found, as_json)
    if found["state"] != "completed":
        end(CONFLICT, f"it is {found['state']}: {found['stop_reason'] or 'by somebody'}")
    if found["failed"] or found["skipped"]:
        end(PARTIAL, f"{found['failed']} failed again, {found['skipped']} were settled by others")


def _show(found: Json, as_json: bool) -> None:
    if as_json:
        show(found)
        return
    for name in (
        "id",
        "service",
        "state",
        "action",
        "total",
        "done",
        "failed",
        "skipped",
        "newly_failed",
        "hash",
        "expires_at",
    ):
        print(f"{name:14} {found[name]}")
    if found["stop_reason"]:
        print(f"{'stopped':14} {found['stop_reason']}")


def _show_dry_run(tried: Json) -> None:
    for name in ("of", "covered", "would_succeed", "would_fail", "build"):
        print(f"{name:14} {tried.get(name)}")
    rows = Table("table", "inserted", "updated", "unchanged", "deleted")
    for one in tried.get("rows", []):
        rows.add_row(one["table"], *(str(one[name]) for name in ("inserted", "updated", "unchanged", "deleted")))
    events = Table("event", "how many")
    for one in tried.get("events", []):
        events.add_row(one["type"], str(one["count"]))
    effects = Table("effects held back", "rows")
    for one in tried.get("effects_suppressed", []):
        effects.add_row(one["table"], str(one["rows"]))
    failures = Table("would fail again", "letters", "reason")
    for one in tried.get("failures", []):
        failures.add_row(one["error_class"], str(one["letters"]), one["reason"])
    for table in (rows, events, effects, failures):
        if table.row_count:
            Console().print(table)
