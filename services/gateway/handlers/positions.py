"""Where a list that is sorted by id goes on."""

from __future__ import annotations

from uuid import UUID

from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors


def id_position(cursors: Cursors, work: UnitOfWork, after: str | None, query: str) -> UUID | None:
    """The id of the last row shown; None for the first page."""
    position = cursors.read(after, org_id=work.org_id, query=query)
    return UUID(position[0]) if position else None
