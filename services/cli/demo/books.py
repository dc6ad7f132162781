"""The demo's books: what the house says, held against what the simulators know to have happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from libs.providers.simulation import PostKind
from libs.providers.smartlead.simulator.journal import Totals

if TYPE_CHECKING:
    from services.cli.demo.story import Agency

TOTALS = ("accepted", "applied", "duplicate", "quarantined", "dead", "in_flight", "unaccounted")
WEBHOOK_QUEUE = "provider-sync.webhooks"

# The simulator's word for each figure: (metric, total or unique).
FIGURES = {
    "sent": ("sent", "total"),
    "opened": ("opened", "total"),
    "opened_leads": ("opened", "unique"),
    "clicked": ("clicked", "total"),
    "clicked_leads": ("clicked", "unique"),
    "replied": ("replied", "total"),
    "replied_leads": ("replied", "unique"),
    "bounced": ("bounced", "total"),
    "unsubscribed": ("unsubscribed", "total"),
}


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


async def check(
    agencies: Sequence[Agency], runs: Sequence[dict[str, Any]], *, withheld: int, killed: bool
) -> dict[str, Any]:
    """Everything the demo shows, and under `problems` every difference between the house and the simulators."""
    problems: list[str] = []
    campaigns: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    letters: list[dict[str, Any]] = []
    hops: list[dict[str, Any]] = []
    totals = dict.fromkeys(TOTALS, 0)
    for agency, run in zip(agencies, runs, strict=True):
        expected = agency.simulator.journal.expected()
        external = {row["id"]: row["external_id"] async for row in agency.client.campaigns(all_companies=True)}
        shown = [row async for row in agency.client.campaign_analytics(all_companies=True)]
        for row in shown:
            key = external.get(row["campaign_id"], "?")
            campaigns.append({"organization": agency.name, "external_id": key, **row})
            problems += _differences(f"{agency.name}: campaign {key}", row, expected.by_campaign.get(key))
        if {external.get(row["campaign_id"]) for row in shown} != set(expected.by_campaign):
            problems.append(f"{agency.name}: not the simulator's campaigns: {sorted(external.values())}")
        seen: set[tuple[str, int]] = set()
        async for row in agency.client.step_analytics(all_companies=True):
            step = (external.get(row["campaign_id"], "?"), row["number"])
            seen.add(step)
            steps.append({"organization": agency.name, "external_id": step[0], **row})
            problems += _differences(
                f"{agency.name}: campaign {step[0]} step {step[1]}", row, expected.by_step.get(step), _STEP_FIGURES
            )
        wanted = {key for key, figures in expected.by_step.items() if key[1] is not None and figures.sent}
        problems += [
            f"{agency.name}: no figures for campaign {key} step {number}" for key, number in sorted(wanted - seen)
        ]
        letters += [{"organization": agency.name, **letter} async for letter in agency.client.dead_letters()]
        ledger = await agency.client.ledger(settle_seconds=0)
        hops += [{"organization": agency.name, **hop} for hop in ledger["data"]]
        problems += _ledger_problems(agency, ledger, killed=killed)
        if run["state"] != "completed" or run["open"]:
            problems.append(
                f"{agency.name}: the reconciliation ended {run['state']}, {run['open']} open: {run.get('error')}"
            )
        for name, count in _totals(ledger).items():
            totals[name] += count
    repaired = sum(run["repaired"] for run in runs)
    # Not always all of them: a webhook without a time makes us read its lead back, which may find a withheld message first.
    if not 0 < repaired <= withheld:
        problems.append(f"the reconciliations repaired {repaired} messages, the simulators withheld {withheld}")
    if totals["accepted"] != sum(totals[name] for name in TOTALS[1:-1]):
        problems.append(f"accepted is not the sum of the others: {totals}")
    return {
        "totals": totals,
        "campaigns": campaigns,
        "steps": steps,
        "dead_letters": letters,
        "reconciliations": list(runs),
        "ledger": hops,
        "problems": problems,
    }


# An unsubscription need not say of which mail, and a lead's bounce is the same in both: a step's own are compared.
_STEP_FIGURES = {name: figure for name, figure in FIGURES.items() if name != "unsubscribed"}


def _differences(
    where: str, row: dict[str, Any], totals: Totals | None, figures: dict[str, tuple[str, str]] = FIGURES
) -> list[str]:
    known = asdict(totals or Totals())  # a step that nothing happened in yet is in no journal
    return [
        f"{where}: {name} is {row['metrics'][metric][kind]}, happened {known[name]}"
        for name, (metric, kind) in figures.items()
        if row["metrics"][metric][kind] != known[name]
    ]


def _ledger_problems(agency: Agency, ledger: dict[str, Any], *, killed: bool) -> list[str]:
    problems = []
    if not ledger["balanced"]:
        unbalanced = [hop["queue"] for hop in ledger["data"] if not hop["balanced"]]
        problems.append(f"{agency.name}: the ledger does not balance: {unbalanced or 'at the door'}")
    plan, totals = agency.plan, _totals(ledger)
    for name, kind in (("quarantined", PostKind.GARBAGE), ("dead", PostKind.POISON), ("duplicate", PostKind.DUPLICATE)):
        planned = len(plan.of(kind))
        # A crash between commit and answer makes the provider post again: then there are more duplicates, never fewer.
        fits = totals[name] >= planned if killed and name == "duplicate" else totals[name] == planned
        if not fits:
            problems.append(f"{agency.name}: {totals[name]} {name}, planned {planned}")
    if not killed and totals["accepted"] != len(plan.to_send()):
        problems.append(f"{agency.name}: accepted {totals['accepted']} of {len(plan.to_send())} posts")
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


def _webhook_hop(ledger: dict[str, Any]) -> dict[str, Any]:
    found = [hop for hop in ledger["data"] if hop["queue"] == WEBHOOK_QUEUE]
    return found[0] if found else dict.fromkeys(("sent", "done", "due", "dead", "parked", "discarded", "on_the_way"), 0)
