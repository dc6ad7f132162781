"""`outrider keys`: the keys that wrap the orgs' data keys. They work with provider_sync's own login and settings."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from libs.errors import PermanentError
from libs.ids import OrgId, parse_public_id, public_id
from libs.settings import Secrets

if TYPE_CHECKING:
    from services.provider_sync.rotation import Rotation
    from services.provider_sync.sealing import Sealer

app = typer.Typer(help="Keys that wrap the organizations' data keys.", no_args_is_help=True)
talk = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
_SETTINGS = ("PROVIDER_SYNC_CREDENTIAL_KEYS", "PROVIDER_SYNC_CREDENTIAL_KEY")


class KeysRefused(PermanentError):
    code = "keys_refused"


@app.command()
def new() -> None:
    """Make a wrapping key and put it last in secrets.json; services find it there within a minute."""
    from services.provider_sync.key_ring import KeyRing, new_key

    secrets = _secrets_file("append a comma and 64 hex digits (`openssl rand -hex 32`) to it there")
    made = new_key()
    kept = [key for key in (secrets.get("credential_keys") or "").split(",") if key]
    secrets.set("credential_keys", ",".join([*kept, made]))
    print(KeyRing([made]).newest)
    talk.print("now: outrider keys rotate")


@app.command()
def rotate(
    org: Annotated[str | None, typer.Option(help="Only this organization (org_…).")] = None,
    data_keys: Annotated[
        bool, typer.Option("--data-keys", help="Also make new data keys and seal all secrets with them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Wrap every organization's data keys with the newest wrapping key. Killed, it is just begun again."""
    only = None if org is None else OrgId(parse_public_id("org", org))
    told = asyncio.run(_rotate(only, data_keys=data_keys))
    if as_json:
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        print(
            f"{told['organizations']} organizations: {told['wrapped']} data keys wrapped anew, {told['made']} made, "
            f"{told['dropped']} dropped, {told['sealed']} secrets sealed anew"
        )
        for one in told["failed"]:
            talk.print(f"[red]{one['organization']}[/red]: {one['error']}", highlight=False)
    if told["failed"]:
        sys.exit(1)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Say what hangs on which wrapping key, and which may go."""
    told = asyncio.run(_status())
    if as_json:
        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("wrapping key", "", "organizations", "data keys", "secrets")
    for one in told["keys"]:
        table.add_row(one["id"], one["state"], *(str(one[name]) for name in ("organizations", "data_keys", "secrets")))
    Console().print(table)
    if told["unreadable_secrets"]:
        talk.print(f"[red]{told['unreadable_secrets']} secrets open with no key[/red]")


@app.command()
def drop(key: Annotated[str, typer.Argument(help="The wrapping key's id, as `status` shows it.")]) -> None:
    """Take a wrapping key on which nothing hangs out of secrets.json."""
    from services.provider_sync.key_ring import KeyRing

    secrets = _secrets_file("take the key out of it there")
    told = asyncio.run(_status())
    if key not in [one["id"] for one in told["keys"] if one["state"] == "may go"]:
        raise KeysRefused(f"{key} is no key that may go: see `outrider keys status`")
    for name in ("credential_key", "credential_keys"):
        kept = [one for one in (secrets.get(name) or "").split(",") if one and KeyRing([one]).newest != key]
        secrets.set(name, ",".join(kept))


def _secrets_file(otherwise: str) -> Secrets:
    given = next((name for name in _SETTINGS if os.environ.get(name)), None)
    if given is not None:
        raise KeysRefused(f"the keys are in {given}, not in secrets.json: {otherwise}")
    return Secrets()


async def _rotate(only: OrgId | None, *, data_keys: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"organizations": 0, "wrapped": 0, "made": 0, "dropped": 0, "sealed": 0, "failed": []}
    columns = (TextColumn("organizations"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    async with _rotation() as (rotation, sealer):
        _ = sealer.wrapping_id  # without a key: one error instead of one per organization
        orgs = [one async for one in rotation.orgs()] if only is None else [only]
        with Progress(*columns, console=talk, transient=True) as progress:
            for org_id in progress.track(orgs):
                done = await rotation.rotate(org_id, data_keys=data_keys)
                told["organizations"] += 1
                for name in ("wrapped", "made", "dropped", "sealed"):
                    told[name] += getattr(done, name)
                errors = [done.error] if done.error else []
                errors += [f"no key opens {one}" for one in done.broken]
                told["failed"] += [{"organization": public_id("org", org_id), "error": one} for one in errors]
    return told


async def _status() -> dict[str, Any]:
    found: dict[str, Counter[str]] = {}
    async with _rotation() as (rotation, sealer):
        async for org_id in rotation.orgs():
            for wrapping_id, counts in (await rotation.hanging(org_id)).items():
                found.setdefault(wrapping_id, Counter()).update(counts, organizations=1)
        ring = sealer.wrapping_ids
    unreadable = found.pop("", Counter())["secrets"]
    keys = []
    for wrapping_id in (*ring, *sorted(set(found) - set(ring))):
        counts = found.get(wrapping_id, Counter())
        state = "missing" if wrapping_id not in ring else "wraps" if wrapping_id == ring[-1] else "held"
        if state == "held" and not any(counts.values()):
            state = "may go"
        names = ("organizations", "data_keys", "secrets")
        keys.append({"id": wrapping_id, "state": state} | {name: counts[name] for name in names})
    return {"keys": keys, "unreadable_secrets": unreadable}


@asynccontextmanager
async def _rotation() -> AsyncIterator[tuple[Rotation, Sealer]]:
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl
    from libs.database.names import database_name, dispatch_role, login_role
    from services.provider_sync.rotation import Rotation
    from services.provider_sync.sealing import Sealer
    from services.provider_sync.settings import ProviderSyncSettings

    settings = ProviderSyncSettings()
    url = settings.url_of("provider_sync", role_of=login_role)
    database = Database(
        DatabaseUrl(url, "provider_sync"),
        service="provider_sync",
        dispatch_role=dispatch_role(database_name(url), "provider_sync"),
        pool_size=1,
    )
    try:
        await startup.check(database)
        sealer = Sealer(settings.key_ring)
        yield Rotation(database, sealer), sealer
    finally:
        await database.close()
