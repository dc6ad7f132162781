"""What of an organization's rows here is copied for whoever takes its data along, and why the rest is not."""

from __future__ import annotations

from typing import Final

from libs.messaging.exports import BOOKKEEPING, Exported, Exports

_OF_THE_BODY = "follows from body"

EXPORTS: Final = Exports(
    "webhook-ingest",
    {
        "deliveries": Exported(
            "id endpoint_id account_id provider received_at event_type verdict duplicate_of quarantine_reason "
            "released_at released_from token_id source_address source_listed headers body",
            {"dedupe_key": _OF_THE_BODY, "body_sha256": _OF_THE_BODY},
        )
    },
    {
        "endpoints": "the door's copy of provider-sync's endpoints, with hashes of their tokens",
        "occurrences": f"{BOOKKEEPING}; deliveries.duplicate_of says which repeats which",
        "occurrence_variants": f"{BOOKKEEPING}; deliveries.verdict says which conflicts",
    },
)
