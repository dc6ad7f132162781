"""Listing the audit log."""

from __future__ import annotations

import orjson

from libs.clock import now
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.gateway.repository.audit import AuditRows
from services.gateway.schemas import AuditEntryOut, Page


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
