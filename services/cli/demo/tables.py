"""The demo's tables, on stdout: what people would rather look at than read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

_EMAIL = ("sent", "delivered", "opened", "clicked", "replied", "bounced", "unsubscribed")
_LINKEDIN = ("connection_requests", "connections_accepted", "messages_sent", "inmails_sent", "replied", "profile_views",
             "follows", "likes")  # fmt: skip


def show(result: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:  # a log or a pipe has no width of its own
        console = Console(width=170)
    for title, channel, figures in (("E-mail", "email", _EMAIL), ("LinkedIn", "linkedin", _LINKEDIN)):
        rows = [row for row in result["campaigns"] if row["channel"] == channel]
        _figures(console, f"{title} campaigns", rows, ("organization", "provider", "name", "status"), figures)
    _figures(console, "Sequence steps", result["steps"], ("organization", "campaign_name", "number"), _EMAIL)
    _rows(
        console,
        "Dead letters",
        result["dead_letters"],
        ("organization", "consumer", "error_class", "attempts", "reason"),
    )
    _rows(
        console,
        "Reconciliations",
        result["reconciliations"],
        (
            "organization",
            "provider",
            "state",
            "pass_number",
            "withheld",
            "missing_messages",
            "repaired_messages",
            "open",
        ),
    )
    _rows(
        console,
        "Ledger: sent = done + due + dead + parked + discarded + on the way",
        result["ledger"],
        ("organization", "event_type", "queue", "sent", "done", "due", "dead", "on_the_way", "balanced"),
    )


def _figures(
    console: Console, title: str, rows: Sequence[dict[str, Any]], keys: Sequence[str], figures: Sequence[str]
) -> None:
    table = Table(title=f"{title} (total / different leads)", title_justify="left")
    for key in keys:
        table.add_column(key.replace("_", " "))
    for figure in figures:
        table.add_column(figure.replace("_", " "), justify="right")
    table.add_column("reply rate", justify="right")
    for row in rows:
        cells = [str(row.get(key) if row.get(key) is not None else "–") for key in keys]
        for figure in figures:
            metric = row["metrics"][figure]
            cells.append(f"{metric['total']} / {metric['unique']}")
        rate = row["rates"]["reply_rate"]["value"]
        cells.append("–" if rate is None else f"{rate:.1%}")
        table.add_row(*cells)
    console.print(table)


def _rows(console: Console, title: str, rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> None:
    table = Table(title=title, title_justify="left")
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right" if _numeric(rows, key) else "left")
    for row in rows:
        table.add_row(*(str(row.get(key, "–")) for key in keys))
    console.print(table)


def _numeric(rows: Sequence[dict[str, Any]], key: str) -> bool:
    return bool(rows) and all(isinstance(row.get(key), int) and not isinstance(row.get(key), bool) for row in rows)
