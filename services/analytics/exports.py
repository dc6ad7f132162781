"""What of an organization's rows here is copied for whoever takes its data along, and why the rest is not."""

from __future__ import annotations

from typing import Final

from libs.messaging.exports import BOOKKEEPING, Exported, Exports

_FOLDED = "follows from facts, which are copied"

EXPORTS: Final = Exports(
    "analytics",
    {
        "facts": Exported("subject version type event_id company_id recorded_at data"),
        "syncs": Exported("account_id kind outcome count objects last_at"),
    },
    {
        **dict.fromkeys(("campaigns", "steps", "messages", "engagements"), _FOLDED),
        **{f"rebuilt_{name}": _FOLDED for name in ("campaigns", "steps", "messages", "engagements")},
        "accounts": "a copy of provider-sync's accounts",
        "companies": "a copy of gateway's companies",
        "company_freshness": _FOLDED,
        "drifts": "a copy of reconciliation's drifts, in numbers",
        "freshness": BOOKKEEPING,
        "ledger_counts": "bookkeeping: counts of events between our services; GET /v1/analytics/ledger sums them up",
        "organizations": "a copy of gateway's organizations",
        "reconciled": "a copy of reconciliation's runs: the last one of each campaign",
    },
)
