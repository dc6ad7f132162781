"""`outrider rebuild analytics`: are the projections what the facts say? Works with analytics' own login and settings."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import orjson
import typer
from rich.console import Console
from rich.progress import Progress

from libs.ids import PLATFORM_ORG, OrgId, parse_public_id, public_id

if TYPE_CHECKING:
    from services.analytics.handlers.rebuilding import Rebuilt
    from services.analytics.repository.projections import Rows

app = typer.Typer(help="What is folded from facts, folded anew.", no_args_is_help=True)
talk = Console(stderr=True)
_AT_ONCE = 100


@app.callback()
def _group() -> None:
    """A callback keeps a lone command a word of its own."""


@app.command()
def analytics(
    org: Annotated[str | None, typer.Option(help="Only this organization (org_…).")] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(help="Fold what was told until then (UTC): shows what stood then, and changes nothing.",
                     formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Put what differs in the place of what stands.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> None:  # fmt: skip
    """Fold every organization's facts beside what stands and compare; exit 1 if something differs and stays so."""
    if apply and as_of is not None:
        raise typer.BadParameter("what stood at another time may not replace the present: leave --apply or --as-of out")
    only = None if org is None else OrgId(parse_public_id("org", org))
    told = asyncio.run(_rebuild(only, None if as_of is None else as_of.replace(tzinfo=UTC), keep=apply))
    differing = [one for one in told if one["differs"] and not one["applied"]]
    if as_json:
        document = {"as_of": None if as_of is None else as_of.isoformat() + "Z", "organizations": told}
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        out = Console(soft_wrap=True, highlight=False)
        for one in told:
            counts = ", ".join(f"{rows['rows']} {name}" for name, rows in one["made"].items())
            out.print(f"{one['organization']}  {one['facts']} facts: {counts}; {_verdict(one)}")
    if differing and as_of is None:
        talk.print(
            "outrider: projections differ from their facts: run it again with --apply, and report the bug",
            soft_wrap=True,
        )
        sys.exit(1)


def _verdict(one: Mapping[str, Any]) -> str:
    if not one["differs"]:
        return "as it stands"
    return ("put right: " if one["applied"] else "differs: ") + ", ".join(one["differs"])


async def _rebuild(only: OrgId | None, as_of: datetime | None, *, keep: bool) -> list[dict[str, Any]]:
    import libs.contracts.events  # noqa: F401 - fills the registry
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl, OrganizationErased
    from libs.database.names import database_name, dispatch_role, login_role
    from services.analytics.handlers.rebuilding import compare
    from services.analytics.repository.ledger import orgs_with_counts
    from services.analytics.settings import AnalyticsSettings

    url = AnalyticsSettings().url_of("analytics", role_of=login_role)
    role = dispatch_role(database_name(url), "analytics")
    database = Database(DatabaseUrl(url, "analytics"), service="analytics", dispatch_role=role, pool_size=1)
    told = []
    try:
        await startup.check(database)
        orgs = [] if only is None else [only]
        if only is None:  # whoever has facts has counts
            past: UUID | None = None
            async with database.tenant_transaction(PLATFORM_ORG) as session:
                while found := await orgs_with_counts(session, past, _AT_ONCE):
                    orgs += [org_id for org_id in found if org_id != PLATFORM_ORG]
                    past = found[-1]
        with Progress(console=talk, transient=True) as progress:
            for org_id in progress.track(orgs, description="organizations"):
                try:
                    told.append(_told(org_id, await compare(database, org_id, as_of=as_of, keep=keep)))
                except OrganizationErased:
                    continue
        return told
    finally:
        await database.close()


def _told(org_id: OrgId, rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "organization": public_id("org", org_id),
        "facts": rebuilt.facts,
        "differs": rebuilt.differs,
        "applied": rebuilt.kept,
        "stood": _shown(rebuilt.stood),
        "made": _shown(rebuilt.made),
    }


def _shown(found: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    return {name: {"rows": rows.count, "hash": rows.hash} for name, rows in found.items()}
