"""The audit log: what other services tell of it, and listing it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from libs.clock import now
from libs.contracts.events import ActionPerformedV1
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.gateway import audit
from services.gateway.repository.audit import AuditRows
from services.gateway.schemas import AuditEntryOut, Page


async def record_actions(events: Sequence[ActionPerformedV1], work: UnitOfWork) -> None:
    """Append what was done in other services to the org's chain, as it came; each event once, as the inbox sees to it."""
    entries = [
        audit.Entry(
            at=event.envelope.time,
            actor=event.actor,
            action=event.action,
            outcome="done",
            object=event.object,
            details=audit.canonical(event.details),
            request_id=event.request_id,
        )
        for event in events
    ]
    await audit.append(work.session, entries)


async def list_audit_log(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[AuditEntryOut]:
    """Newest first."""
    position = cursors.read(after, org_id=work.org_id, query="audit-log")
    found = await AuditRows(work.session).page(before=position[0] if position else None, limit=limit + 1)
    rows, more = page(found, limit)
    return Page(
        data=[
            AuditEntryOut(
                position=row["position"],
                at=row["at"],
                actor=row["actor"],
                action=row["action"],
                outcome=row["outcome"],
                object=row["object"],
                details=orjson.loads(row["details"]),
                request_id=row["request_id"] or None,
                hash=row["hash"].hex(),
            )
            for row in rows
        ],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["position"]], org_id=work.org_id, query="audit-log") if more else None,
        as_of=now(),
    )
