"""The thin list of dead letters: kept from what services tell, and listed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.contracts.events import DeadLetterChangedV1
from libs.ids import OrgId, public_id
from libs.messaging.groups import group_id
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from libs.web.failure_routes import letter_id
from services.gateway.repository.dead_letters import Chosen as Chosen
from services.gateway.repository.dead_letters import DeadLetters
from services.gateway.schemas import DeadLetterOut, Page

# What an operator is asked to look at, unless another state is named.
NEEDS_A_PERSON = ("dead", "parked")


async def record_dead_letters(events: Sequence[DeadLetterChangedV1], work: UnitOfWork) -> None:
    """Keep what the services tell about their dead letters; of several changes of one, the newest."""
    newest: dict[tuple[str, UUID], DeadLetterChangedV1] = {}
    for event in events:
        key = (event.consumer, event.event_id)
        if key not in newest or _order(newest[key]) < _order(event):
            newest[key] = event
    await DeadLetters(work.session).save_all([newest[key] for key in sorted(newest)])


def _order(event: DeadLetterChangedV1) -> tuple[datetime, int, str]:
    return event.changed_at, event.attempts, event.state


async def list_dead_letters(
    work: UnitOfWork, cursors: Cursors, *, chosen: Chosen, after: str | None, limit: int
) -> Page[DeadLetterOut]:
    """Last changed first. `as_of` is the newest change that any service told; None when none ever told one."""
    query = f"dead-letters {chosen}"
    position = cursors.read(after, org_id=work.org_id, query=query)
    letters = DeadLetters(work.session)
    found = await letters.page(
        chosen,
        states=[chosen.state] if chosen.state else NEEDS_A_PERSON,
        after=(datetime.fromisoformat(position[0]), position[1], UUID(position[2])) if position else None,
        limit=limit + 1,
    )
    rows, more = page(found, limit)
    last = [rows[-1]["changed_at"].isoformat(), rows[-1]["consumer"], rows[-1]["event_id"]] if more else []
    return Page(
        data=[_dead_letter(row, work.org_id) for row in rows],
        has_more=more,
        next_cursor=cursors.write(last, org_id=work.org_id, query=query) if more else None,
        as_of=await letters.last_change(),
    )


def _dead_letter(row: asyncpg.Record, org_id: OrgId) -> DeadLetterOut:
    return DeadLetterOut(
        id=letter_id(row["consumer"], row["event_id"]),
        group_id=public_id(f"fgr_{row['service']}", group_id(org_id, row["fingerprint"])),
        service=row["service"],
        consumer=row["consumer"],
        event_id=str(row["event_id"]),
        type=row["type"],
        subject=row["subject"],
        state=row["state"],
        error_class=row["error_class"],
        reason=row["reason"],
        fingerprint=row["fingerprint"],
        attempts=row["attempts"],
        changed_at=row["changed_at"],
    )
