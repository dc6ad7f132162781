"""One dead letter whole: its bytes, every attempt, where it came from."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from libs.contracts import envelope as envelopes
from libs.database.engine import TenantSession
from libs.errors import ContractViolated, NotFound
from libs.observability import tracing


async def get(session: TenantSession, consumer: str, event_id: UUID) -> dict[str, Any]:
    """What failed at least once; its bytes are kept until it is done.

    Raises:
        NotFound: it never failed here, or is none of this org's.
    """
    row = await session.fetchrow(
        "SELECT consumer, event_id, type, subject, state, attempts, error_class, reason, fingerprint, account_id, provider, "
        "campaign, build, replay_id, first_seen, changed_at, history::text AS history, envelope, original, edits::text AS edits "
        "FROM inbox "
        "WHERE org_id = $1 AND consumer = $2 AND event_id = $3 AND (error_class IS NOT NULL OR state IN ('dead', 'parked'))",
        session.org_id, consumer, event_id,
    )  # fmt: skip
    if row is None:
        raise NotFound("there is no dead letter with this id")
    told = dict(row)
    told["history"], told["edits"] = orjson.loads(row["history"]), orjson.loads(row["edits"])
    told["trace_id"] = told["correlation_id"] = None
    if row["envelope"] is not None:
        try:
            envelope = envelopes.read(row["envelope"])
        except ContractViolated:
            return told
        told["trace_id"] = tracing.trace_id_of(envelope.traceparent)
        told["correlation_id"] = str(envelope.correlation_id)
    return told
