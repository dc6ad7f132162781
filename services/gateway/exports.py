"""What of an organization's rows here is copied for whoever takes its data along, and why the rest is not."""

from __future__ import annotations

from typing import Final

from libs.messaging.exports import BOOKKEEPING, SECRET, Exported, Exports

_OF_A_SECRET = (
    "secret_hmac", "pepper_version", "last4", "previous_hmac", "previous_pepper_version", "previous_last4",
)  # fmt: skip
_OF_THE_PLATFORM = "the platform's own, in none of an organization's rows; what it did there stands in audit_log"

EXPORTS: Final = Exports(
    "gateway",
    {
        "organizations": Exported(
            "org_id name time_zone status revision created_at suspended_at",
            {"suspended_reason": "the platform's word to itself"},
        ),
        "companies": Exported("company_id name status created_at"),
        "api_keys": Exported(
            "id name role scopes company_ids created_at secret_made_at previous_made_at previous_ends_at "
            "expires_at revoked_at last_used_at",
            dict.fromkeys(_OF_A_SECRET, SECRET),
        ),
        "users": Exported("id subject email name status created_at"),
        "memberships": Exported("user_id role company_ids changed_at"),
        "dead_letters": Exported(
            "consumer event_id service type subject state error_class reason fingerprint attempts changed_at"
        ),
        "audit_log": Exported(
            "position at actor action outcome object details request_id hash",
            {"previous_hash": "the hash of the row before"},
            as_hex=frozenset({"hash"}),
        ),
    },
    {
        "assumptions": _OF_THE_PLATFORM,
        "audit_heads": "follows from audit_log: its last row",
        "erasures": _OF_THE_PLATFORM,
        "operations": "a copy of provider-sync's operations",
        "rate_buckets": BOOKKEEPING,
    },
)
