"""What of an organization's rows here is copied for whoever takes its data along, and why the rest is not."""

from __future__ import annotations

from typing import Final

from libs.messaging.exports import BOOKKEEPING, Exported, Exports

_OF_A_RUN = f"{BOOKKEEPING}; what a run found stands in runs and drifts"

EXPORTS: Final = Exports(
    "reconciliation",
    {
        "runs": Exported(
            "run_id account_id company_id campaign_id requested_by dry_run state pass_number parts_expected "
            "parts_captured found repaired open missing_messages repaired_messages error requested_at changed_at "
            "completed_at"
        ),
        "drifts": Exported(
            "drift_id run_id company_id campaign_id campaign_external_id kind day pass_number missing surplus state"
        ),
        "reconciliation_schedules": Exported(
            "schedule_id account_id company_id interval_seconds anchor enabled revision next_slot last_slot "
            "created_by created_at changed_at"
        ),
        "schedule_slots": Exported("schedule_id slot company_id state run_id started_by decided_at"),
    },
    {
        "archived_companies": "a copy of gateway's companies: those that are archived",
        "accounts": "a copy of provider-sync's accounts",
        "parts": _OF_A_RUN,
        "answers": _OF_A_RUN,
    },
)
