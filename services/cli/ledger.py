"""`outrider audit ledger`: whether anything is unaccounted for. Reads with analytics' own login and settings."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from libs.clock import rfc3339
from libs.errors import NotFound
from libs.ids import PLATFORM_ORG, OrgId, parse_public_id, public_id

if TYPE_CHECKING:
    from services.analytics.domain.ledger import Hop, Verdict

PLATFORM = "platform"
_AT_ONCE = 100
_COUNTS = ("done", "due", "dead", "parked", "discarded")  # of the door: published, duplicate, quarantined, in --json

talk = Console(stderr=True)


def ledger(
    org: Annotated[str | None, typer.Option(help="Only this organization (org_…), or `platform` for its own.")] = None,
    settle_seconds: Annotated[
        float | None, typer.Option(help="Judge minutes older than this; absent: as analytics does.", min=0)
    ] = None,
    every_hop: Annotated[bool, typer.Option("--all", help="Show the hops that balance too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Hold every sender's counts against its listeners', in number and in ids; exit 1 if something is unaccounted for."""
    told = asyncio.run(_judge(org, settle_seconds))
    unaccounted = sum(one["unaccounted"] for one in told)
    if as_json:
        document = {"balanced": not unaccounted, "unaccounted": unaccounted, "organizations": told}
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        _print(told, every_hop=every_hop)
    for one in told:
        for hop in one["hops"]:
            if hop["unaccounted"]:
                minutes = ", ".join(bucket["bucket"] for bucket in hop["unbalanced_buckets"][:3])
                talk.print(
                    f"outrider: {one['organization']}, {hop['event_type'] or 'webhooks'} → {hop['queue']}, minutes {minutes}: "
                    f"{hop['advice']}",
                    highlight=False,
                    soft_wrap=True,
                )
    if unaccounted:
        sys.exit(1)


def _print(told: list[dict[str, Any]], *, every_hop: bool) -> None:
    """One line per organization, and a table of the hops that do not balance below it (or of all)."""
    out = Console()
    for one in told:
        verdict = "balances" if not one["unaccounted"] else f"{one['unaccounted']} unaccounted for"
        out.print(f"{one['organization']}  {verdict}", highlight=False, soft_wrap=True)
        table = Table("from → to", "sent", *_COUNTS, "way", "?")
        for hop in one["hops"]:
            if hop["unaccounted"] or (every_hop and hop["sent"]):
                counts = [str(hop["states"].get(state, "")) for state in _COUNTS]
                way = f"{hop['event_type']} → {hop['queue']}" if hop["event_type"] else hop["queue"]
                table.add_row(way, str(hop["sent"]), *counts, str(hop["on_the_way"]), str(hop["unaccounted"]))
        if table.row_count:
            out.print(table)


async def _judge(only: str | None, settle_seconds: float | None) -> list[dict[str, Any]]:
    import libs.contracts.events  # noqa: F401 - fills the registry
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl, OrganizationErased
    from libs.database.names import database_name, dispatch_role, login_role
    from services.analytics.handlers.ledger import judge
    from services.analytics.repository.ledger import orgs_with_counts
    from services.analytics.settings import AnalyticsSettings

    settings = AnalyticsSettings()
    url = settings.url_of("analytics", role_of=login_role)
    role = dispatch_role(database_name(url), "analytics")
    database = Database(DatabaseUrl(url, "analytics"), service="analytics", dispatch_role=role, pool_size=1)
    settle = settings.settle_seconds if settle_seconds is None else settle_seconds
    try:
        await startup.check(database)
        async with database.tenant_transaction(PLATFORM_ORG) as session:
            orgs: list[OrgId] = []
            while found := await orgs_with_counts(session, orgs[-1] if orgs else None, _AT_ONCE):
                orgs += found
        if only is not None:
            named = PLATFORM_ORG if only == PLATFORM else OrgId(parse_public_id("org", only))
            if named not in orgs:
                raise NotFound("no event of an organization with this id was ever counted")
            orgs = [named]
        told = []
        for org_id in orgs:
            try:
                async with database.tenant_transaction(org_id) as session:
                    told.append(_told(org_id, await judge(session, settle)))
            except OrganizationErased:  # between the two looks
                continue
        return told
    finally:
        await database.close()


def _told(org_id: OrgId, verdict: Verdict) -> dict[str, Any]:
    return {
        "organization": PLATFORM if org_id == PLATFORM_ORG else public_id("org", org_id),
        "unaccounted": verdict.unaccounted,
        "hops": [_hop(hop) for hop in (verdict.door, *verdict.hops)],
    }


def _hop(hop: Hop) -> dict[str, Any]:
    from services.analytics.domain.ledger import advice

    return {
        "event_type": hop.event_type,
        "queue": hop.queue,
        "sent": hop.entered,
        "states": hop.states,
        "on_the_way": hop.on_the_way,
        "unaccounted": hop.unaccounted,
        "unbalanced_buckets": [
            {"bucket": rfc3339(one.bucket), "on_the_way": one.on_the_way, "ids_differ": one.ids_differ}
            for one in hop.worst
        ],
        "advice": advice(hop) or None,
    }
