"""The thin list of operations: kept from what their owners tell, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts.events import OperationChangedV1
from libs.errors import ContractViolated
from libs.ids import parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.gateway.repository.operations import Operations
from services.gateway.schemas import OperationListedOut, Page

# An operation's id names the service that works on it.
_PREFIXES = {OperationChangedV1.publisher: "op_sync"}


async def record_operations(events: Sequence[OperationChangedV1], work: UnitOfWork) -> None:
    """Keep what services tell about their operations; of several changes of one, the newest.

    Raises:
        ContractViolated: a change without a company is nobody's to see.
    """
    newest: dict[UUID, OperationChangedV1] = {}
    for event in events:
        if event.envelope.company_id is None:
            raise ContractViolated("an operation without a company")
        known = newest.get(event.operation_id)
        if known is None or known.revision < event.revision:
            newest[event.operation_id] = event
    await Operations(work.session).save_all(
        [(public_id(_PREFIXES[event.publisher], one), event) for one, event in sorted(newest.items())]
    )


async def list_operations(
    work: UnitOfWork, cursors: Cursors, *, state: str | None, account_id: str | None, after: str | None, limit: int
) -> Page[OperationListedOut]:
    """Newest first, within the caller's companies. `as_of` is the newest change heard of; None when there was none."""
    query = f"operations {state or ''} {account_id or ''}"
    position = cursors.read(after, org_id=work.org_id, query=query)
    operations = Operations(work.session)
    found = await operations.page(
        state=state,
        account_id=None if account_id is None else parse_public_id("acc", account_id),
        after=(datetime.fromisoformat(position[0]), position[1]) if position else None,
        limit=limit + 1,
    )
    rows, more = page(found, limit)
    last = [rows[-1]["created_at"].isoformat(), rows[-1]["id"]] if more else []
    return Page(
        data=[_operation(row) for row in rows],
        has_more=more,
        next_cursor=cursors.write(last, org_id=work.org_id, query=query) if more else None,
        as_of=await operations.last_change(),
    )


def _operation(row: asyncpg.Record) -> OperationListedOut:
    same = "id kind target state needs_decision done total error_code created_at changed_at"
    return OperationListedOut(
        account_id=public_id("acc", row["account_id"]),
        company_id=public_id("cmp", row["company_id"]),
        **{name: row[name] for name in same.split()},
    )
