"""The demo's books: what the house says, held against what the simulators know to have happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from libs.providers.simulation import PostKind
from services.cli.demo.cast import Agency
from services.cli.demo.providers import Figures

TOTALS = ("accepted", "applied", "duplicate", "quarantined", "dead", "in_flight", "unaccounted")
WEBHOOK_QUEUE = "provider-sync.webhooks"
_HOP = ("sent", "done", "due", "dead", "parked", "discarded", "on_the_way")


def is_drained(ledger: dict[str, Any], acknowledged: int) -> bool:
    """Whether all that was acknowledged has been counted and nothing waits anywhere."""
    hops = ledger["data"]
    return (
        ledger["balanced"]
        and ledger["door"]["accepted"] >= acknowledged
        and ledger["door"]["on_the_way"] == 0
        and all(hop["on_the_way"] == 0 and hop["due"] == 0 for hop in hops)
        and _webhook_hop(ledger)["sent"] == ledger["door"]["published"]
    )


async def check(agencies: Sequence[Agency], runs: Sequence[dict[str, Any]], *, killed: bool) -> dict[str, Any]:
    """Everything the demo shows, and under `problems` every difference between the house and the simulators."""
    problems: list[str] = []
    result: dict[str, Any] = {name: [] for name in ("campaigns", "steps", "dead_letters", "ledger")}
    totals = dict.fromkeys(TOTALS, 0)
    for agency in agencies:
        problems += await _check_figures(agency, result)
        result["dead_letters"] += [
            {"organization": agency.name, **letter} async for letter in agency.client.dead_letters()
        ]
        ledger = await agency.client.ledger(settle_seconds=0)
        result["ledger"] += [{"organization": agency.name, **hop} for hop in ledger["data"]]
        problems += _ledger_problems(agency, ledger, killed=killed)
        for name, count in _totals(ledger).items():
            totals[name] += count
    problems += [problem for run in runs for problem in _run_problems(run)]
    if totals["accepted"] != sum(totals[name] for name in TOTALS[1:-1]):
        problems.append(f"accepted is not the sum of the others: {totals}")
    return {"totals": totals, **result, "reconciliations": list(runs), "problems": problems}


async def _check_figures(agency: Agency, result: dict[str, Any]) -> list[str]:
    """Hold every campaign and step against the books of the account's simulator."""
    problems: list[str] = []
    external: dict[str, str] = {}
    for channel in ("email", "linkedin"):
        async for row in agency.client.campaigns(channel, all_companies=True):
            external[row["id"]] = row["external_id"]
    accounts = {account.id: account for account in agency.accounts}
    expected = {account.id: account.simulator.journal.expected() for account in agency.accounts}
    counted: set[tuple[str, str]] = set()
    async for row in agency.client.campaign_analytics(all_companies=True):
        account, key = accounts[row["account_id"]], external.get(row["campaign_id"], "?")
        counted.add((account.id, key))
        result["campaigns"].append({"organization": agency.name, "external_id": key, **row})
        where = f"{agency.name}: {account.provider.title} campaign {key}"
        problems += _differences(where, row, expected[account.id].by_campaign.get(key), account.provider.figures)
    wanted = {(account_id, key) for account_id, book in expected.items() for key in book.by_campaign}
    problems += [
        f"{agency.name}: no figures for campaign {key} of {account_id}" for account_id, key in wanted - counted
    ]
    steps: set[tuple[str, str, int]] = set()
    async for row in agency.client.step_analytics(all_companies=True):
        account, key = accounts[row["account_id"]], external.get(row["campaign_id"], "?")
        steps.add((account.id, key, row["number"]))
        result["steps"].append({"organization": agency.name, "external_id": key, **row})
        where = f"{agency.name}: {account.provider.title} campaign {key} step {row['number']}"
        # An unsubscription need not say of which mail it is.
        figures = {name: figure for name, figure in account.provider.figures.items() if name != "unsubscribed"}
        problems += _differences(where, row, expected[account.id].by_step.get((key, row["number"])), figures)
    for account_id, book in expected.items():
        for (key, number), figures_of_step in book.by_step.items():
            if number is not None and figures_of_step.sent and (account_id, key, number) not in steps:
                problems.append(f"{agency.name}: no figures for campaign {key} step {number}")
    return problems


def _differences(where: str, row: dict[str, Any], totals: Any, figures: Figures) -> list[str]:
    known = asdict(totals) if totals is not None else {}  # what nothing happened in yet is in no book
    problems = []
    for name, metrics in figures.items():
        ours = sum(row["metrics"][metric][kind] for metric, kind in metrics)
        if ours != known.get(name, 0):
            problems.append(f"{where}: {name} is {ours}, happened {known.get(name, 0)}")
    return problems


def _run_problems(run: dict[str, Any]) -> list[str]:
    where = f"{run['organization']}: the reconciliation of {run['provider']}"
    if run["state"] != "completed" or run["open"]:
        return [f"{where} ended {run['state']}, {run['open']} open: {run.get('error')}"]
    # Not always all of them: a webhook without a time makes us read its lead back, which may find a withheld message first.
    if not 0 < run["repaired_messages"] <= run["withheld"]:
        return [f"{where} repaired {run['repaired_messages']} messages, the simulator withheld {run['withheld']}"]
    return []


def _ledger_problems(agency: Agency, ledger: dict[str, Any], *, killed: bool) -> list[str]:
    problems = []
    if not ledger["balanced"]:
        unbalanced = [hop["queue"] for hop in ledger["data"] if not hop["balanced"]]
        problems.append(f"{agency.name}: the ledger does not balance: {unbalanced or 'at the door'}")
    totals = _totals(ledger)
    for name, kind in (("quarantined", PostKind.GARBAGE), ("dead", PostKind.POISON), ("duplicate", PostKind.DUPLICATE)):
        planned = sum(len(plan.of(kind)) for plan in agency.plans())
        # A crash between commit and answer makes the provider post again. What comes twice is a duplicate, or, where the
        # first could not be read, one more that cannot be: then there are more of these, never fewer.
        may_be_more = killed and name != "dead"
        fits = totals[name] >= planned if may_be_more else totals[name] == planned
        if not fits:
            problems.append(f"{agency.name}: {totals[name]} {name}, planned {planned}")
    sent = sum(len(plan.to_send()) for plan in agency.plans())
    if not killed and totals["accepted"] != sent:
        problems.append(f"{agency.name}: accepted {totals['accepted']} of {sent} posts")
    return problems


def _totals(ledger: dict[str, Any]) -> dict[str, int]:
    hop = _webhook_hop(ledger)
    return {
        "accepted": ledger["door"]["accepted"],
        "applied": hop["done"],
        "duplicate": ledger["door"]["duplicate"],
        "quarantined": ledger["door"]["quarantined"],
        "dead": hop["dead"] + hop["parked"] + hop["discarded"],
        "in_flight": hop["due"] + hop["on_the_way"],
        "unaccounted": ledger["unaccounted"],
    }


def _webhook_hop(ledger: dict[str, Any]) -> dict[str, int]:
    """All that goes to the queue of webhooks, in whatever version."""
    hops = [hop for hop in ledger["data"] if hop["queue"] == WEBHOOK_QUEUE]
    return {name: sum(hop[name] for hop in hops) for name in _HOP}
