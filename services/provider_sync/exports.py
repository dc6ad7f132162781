"""What of an organization's rows here is copied for whoever takes its data along, and why the rest is not."""

from __future__ import annotations

from typing import Final

from libs.messaging.exports import BOOKKEEPING, MERGING, SECRET, Exported, Exports

_MERGED = {"sources": MERGING, "versions": MERGING}

EXPORTS: Final = Exports(
    "provider-sync",
    {
        "accounts": Exported(
            "id provider channel name base_url company_id workspace_external_id sync_mode status status_reason revision "
            "created_at",
            {"credentials": SECRET},
        ),
        "client_companies": Exported("account_id client_external_id company_id"),
        "endpoints": Exported(
            "id account_id status provider_webhook_id error last_webhook_at revision token_id token_made_at "
            "overlap_seconds allowed_sources source_mode signature_mode counted_since verified unsigned mismatched listed "
            "unlisted verification verified_at checked_at verification_error repaired_at repair_sent_at",
            {"token": SECRET, "token_sha256": SECRET, "token_last4": SECRET},
        ),
        "campaigns": Exported(
            "id account_id company_id external_id channel name status client_external_id revision created_at "
            "updated_at",
            _MERGED,
        ),
        "sequence_steps": Exported(
            "id account_id company_id key campaign_id number external_id subject delay_days revision updated_at",
            _MERGED,
        ),
        "leads": Exported(
            "id account_id channel key external_id email profile_url profile first_name last_name company_name "
            "title phone location revision created_at updated_at",
            _MERGED,
        ),
        "conversations": Exported(
            "id account_id company_id key channel lead_id campaign_id external_id subject category sentiment "
            "sender_external_id last_activity_at last_direction revision updated_at",
            _MERGED,
        ),
        "enrolments": Exported(
            "id account_id company_id key channel campaign_id lead_id external_id state added_at revision updated_at",
            _MERGED,
        ),
        "messages": Exported(
            "id account_id company_id key channel conversation_id campaign_id lead_id direction occurred_at "
            "from_address to_address subject body_text body_html internet_message_id in_reply_to_id stated_step "
            "step_number step_source manual inmail revision updated_at",
            _MERGED,
        ),
        "engagements": Exported(
            "id account_id company_id key channel kind campaign_id lead_id message_id step_number occurred_at "
            "details revision updated_at",
            _MERGED,
        ),
        "sync_runs": Exported(
            "id account_id company_id campaign_id campaign_external_id reason is_full operation_id state feeds_done "
            "feeds_total pages rows_seen rows_changed restarts error_code error created_at started_at changed_at ended_at",
            dict.fromkeys(("takes", "attempts", "due_at", "lease_until", "signpost"), BOOKKEEPING),
        ),
        "campaign_snapshots": Exported("campaign_id kind content as_of read_at"),
        "unknown_webhooks": Exported("account_id event_type count first_seen last_seen"),
        "operations": Exported(
            "id account_id company_id kind target arguments state needs_decision result error_code error note "
            "actor done total revision created_at changed_at completed_at",
            {
                "idempotency_key": "a caller's own word for the request; who learns it learns what was asked under it",
                "fingerprint": BOOKKEEPING,
            },
        ),
        "effects": Exported(
            "id operation_id part account_id company_id kind target arguments state sends sent_at result evidence "
            "error_code error created_at changed_at",
            dict.fromkeys(("holder", "takes", "attempts", "due_at", "lease_until", "deadline"), BOOKKEEPING),
        ),
    },
    {
        "account_budgets": BOOKKEEPING,
        "campaign_webhooks": f"{BOOKKEEPING}; webhook-ingest's deliveries tell when each came",
        "companies": "a copy of gateway's companies",
        "earlier_tokens": f"{SECRET}; the audit log tells when tokens were replaced",
        "org_keys": f"{SECRET}: the keys that seal the others",
        "signing_secrets": SECRET,
        "sync_cursors": BOOKKEEPING,
        "sync_jobs": BOOKKEEPING,
    },
)
