"""`outrider retention`: how far tables are kept that are not kept for good. Asks with each service's own login and settings."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from libs.clock import now, rfc3339

if TYPE_CHECKING:
    from libs.messaging.retention import Kept

app = typer.Typer(help="What is kept for a while, and how far that is.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A callback keeps a lone command a word of its own."""


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Show the oldest row of each table against its policy; exit 1 if one is older than it may be, or no weeks are made."""
    told = asyncio.run(_status())
    overdue = [one for one in told if one["overdue"]]
    if as_json:
        print(orjson.dumps({"overdue": bool(overdue), "tables": told}, option=orjson.OPT_INDENT_2).decode())
    else:
        table = Table("table", "kept", "oldest row", "forgotten before", "open beyond", "made until", "")
        for one in told:
            moments = [(one[name] or "-")[:10] for name in ("oldest", "forgotten_before", "made_until")]
            moments[1] = "-" if moments[1].startswith("1970") else moments[1]
            table.add_row(
                one["table"], f"{one['keep_days']} d", moments[0], moments[1], str(one["still_open"]), moments[2],
                "overdue" if one["overdue"] else "",
            )  # fmt: skip
        Console().print(table)
    if overdue:
        Console(stderr=True).print(
            "outrider: weeks are not made or dropped as they should be: look for week_waits and loop_failed in the logs of "
            + ", ".join(sorted({one["table"].split(".")[0] for one in overdue})),
            soft_wrap=True,
        )
        sys.exit(1)


async def _status() -> list[dict[str, Any]]:
    from libs.database import startup
    from libs.database.engine import Database, DatabaseUrl
    from libs.database.names import SERVICES, database_name, dispatch_role, login_role
    from libs.messaging.retention import kept_of
    from libs.settings import ServiceSettings
    from services.analytics.settings import AnalyticsSettings
    from services.gateway.settings import GatewaySettings
    from services.provider_sync.settings import ProviderSyncSettings
    from services.reconciliation.settings import ReconciliationSettings
    from services.webhook_ingest.settings import WebhookIngestSettings

    settings: dict[str, ServiceSettings] = {
        "gateway": GatewaySettings(),
        "webhook_ingest": WebhookIngestSettings(),
        "provider_sync": ProviderSyncSettings(),
        "reconciliation": ReconciliationSettings(),
        "analytics": AnalyticsSettings(),
    }
    told = []
    for service in SERVICES:
        its = settings[service]
        url = its.url_of(service, role_of=login_role)
        role = dispatch_role(database_name(url), service)
        database = Database(DatabaseUrl(url, service), service=service, dispatch_role=role, pool_size=1)
        keep_days = {"inbox": its.inbox_days}
        if isinstance(its, WebhookIngestSettings):
            keep_days["deliveries"] = its.delivery_days
        try:
            await startup.check(database)
            told += [_told(service, await kept_of(database, table, days)) for table, days in keep_days.items()]
        finally:
            await database.close()
    return told


def _told(service: str, kept: Kept) -> dict[str, Any]:
    moment = now()
    return {
        "table": f"{service}.{kept.table}",
        "keep_days": kept.keep_days,
        "oldest": None if kept.oldest is None else rfc3339(kept.oldest),
        "forgotten_before": rfc3339(kept.forgotten_before),
        "made_until": rfc3339(kept.made_until),
        "still_open": kept.still_open,
        "overdue": kept.is_overdue(moment) or kept.is_short(moment),
    }
