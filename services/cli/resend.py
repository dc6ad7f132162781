"""`outrider resend facts`: an organization's rows told to analytics once more. With provider_sync's own login and settings."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import typer
from rich.progress import Progress

from libs.errors import NotFound
from libs.ids import OrgId, new_id, parse_public_id, public_id
from services.cli.asking import AsJson, Yes, confirm, show, talk

app = typer.Typer(help="What an owner knows, told once more.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A callback keeps a lone command a word of its own."""


@app.command()
def facts(
    org: Annotated[str, typer.Option(help="Whose (org_…).")],
    reason: Annotated[str, typer.Option(help="Why; in the organization's audit log stands that there was one.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be told, and tell nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Tell analytics every campaign, step, lead, message and engagement of an organization again, as they are now.

    For facts that were lost. Then `outrider rebuild analytics --apply`, if the projections were lost or are wrong, too.
    """
    org_id = OrgId(parse_public_id("org", org))
    if not dry_run:
        confirm(f"Tell analytics all that is known of {org} again?", yes=yes)
    told = asyncio.run(_resend(org_id, is_tried=dry_run, reason=reason))
    document = {"organization": public_id("org", org_id), "dry_run": dry_run, **told}
    if as_json:
        show(document)
        return
    counts = ", ".join(f"{count} {name}" for name, count in told["events"].items())
    print(f"{org}  {'would be told' if dry_run else 'told'}: {counts}")


async def _resend(org_id: OrgId, *, is_tried: bool, reason: str) -> dict[str, Any]:
    import libs.contracts.events  # noqa: F401 - fills the registry
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl
    from libs.database.names import database_name, dispatch_role, login_role
    from libs.messaging.work import Units
    from services.provider_sync.handlers.resending import RESENT, resend
    from services.provider_sync.settings import ProviderSyncSettings

    url = ProviderSyncSettings().url_of("provider_sync", role_of=login_role)
    role = dispatch_role(database_name(url), "provider_sync")
    database = Database(DatabaseUrl(url, "provider_sync"), service="provider_sync", dispatch_role=role, pool_size=1)
    units, replay_id = Units(database, "provider-sync"), new_id()
    counts = {}
    try:
        await startup.check(database)
        async with database.tenant_transaction(org_id) as session:
            totals = {
                kind.name: int(await session.fetchval(f"SELECT count(*) FROM {kind.table} WHERE org_id = $1", org_id))  # noqa: S608 - a name of ours
                for kind in RESENT
            }
        if not any(totals.values()):
            raise NotFound("provider-sync knows nothing of this organization")
        if is_tried:
            return {"replay_id": None, "events": totals}
        with Progress(console=talk, transient=True) as progress:
            for kind in RESENT:
                bar = progress.add_task(kind.name, total=totals[kind.name])
                after, counts[kind.name] = None, 0
                while True:
                    async with units.begin(org_id, actor="operator:command-line") as work:
                        after, told = await resend(work, kind, after, replay_id=replay_id)
                    counts[kind.name] += told
                    progress.advance(bar, told)
                    if after is None:
                        break
        named = public_id("rpl_facts", replay_id)
        async with units.begin(org_id, actor="operator:command-line") as work:
            # The reason stays out: the audit log's chain cannot forget a word.
            work.audit("facts.resent", named, {"events": sum(counts.values()), "reason_given": bool(reason)})
        return {"replay_id": named, "events": counts}
    finally:
        await database.close()
