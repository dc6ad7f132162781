"""`outrider audit verify`: whether the audit logs are as they were written. Reads with the gateway's own login and settings."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from libs.errors import NotFound
from libs.ids import PLATFORM_ORG, OrgId, parse_public_id, public_id
from services.cli.ledger import ledger

app = typer.Typer(
    help="Are the audit logs as they were written, and is every event accounted for?", no_args_is_help=True
)
talk = Console(stderr=True)

PLATFORM = "platform"


app.command()(ledger)


@app.command()
def verify(
    org: Annotated[str | None, typer.Option(help="Only this organization (org_…), or `platform` for its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Follow each organization's chain from its first row; exit 1 if one was changed, and name the row."""
    told = asyncio.run(_verify(org))
    touched = [one for one in told if one["first_bad_row"] is not None]
    if as_json:
        print(orjson.dumps({"whole": not touched, "organizations": told}, option=orjson.OPT_INDENT_2).decode())
    else:
        table = Table("organization", "rows", "")
        for one in told:
            bad = one["first_bad_row"]
            words = "whole" if bad is None else f"row {bad} is not as it was written, or is missing"
            table.add_row(one["organization"], str(one["rows"]), words)
        Console().print(table)
    for one in touched:
        talk.print(f"outrider: the audit log of {one['organization']} was changed at row {one['first_bad_row']}")
    if touched:
        sys.exit(1)


async def _verify(only: str | None) -> list[dict[str, Any]]:
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl
    from libs.database.names import database_name, dispatch_role, login_role
    from services.gateway import audit
    from services.gateway.settings import GatewaySettings

    url = GatewaySettings().url_of("gateway", role_of=login_role)
    role = dispatch_role(database_name(url), "gateway")
    database = Database(DatabaseUrl(url, "gateway"), service="gateway", dispatch_role=role, pool_size=1)
    try:
        await startup.check(database)
        orgs = [PLATFORM_ORG, *await audit.organizations(database)]
        if only is not None:
            named = PLATFORM_ORG if only == PLATFORM else OrgId(parse_public_id("org", only))
            if named not in orgs:
                raise NotFound("there is no organization with this id")
            orgs = [named]
        told = []
        for org_id in orgs:
            first_bad = await audit.verify(database, org_id)
            told.append(
                {
                    "organization": PLATFORM if org_id == PLATFORM_ORG else public_id("org", org_id),
                    "rows": await audit.length(database, org_id),
                    "first_bad_row": first_bad,
                }
            )
        return told
    finally:
        await database.close()
