"""When keys were last used: noted in memory on each request, written now and then, so that no read becomes a write."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from libs.clock import now
from libs.database.engine import Database, OrganizationErased
from libs.errors import DependencyDown
from libs.ids import OrgId
from services.gateway.domain import Principal
from services.gateway.repository.keys import Keys

# Enough to tell a key that nobody needs from one in use; finer would be a movement profile, and a write per request.
COARSE_SECONDS = 300
_FLUSH_SECONDS = 30.0


class Uses:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[OrgId, dict[UUID, datetime]] = {}
        self._written: dict[UUID, datetime] = {}

    def note(self, principal: Principal) -> None:
        moment = coarse(now())
        if self._written.get(principal.id) != moment:
            self._pending.setdefault(principal.home, {})[principal.id] = moment

    async def flush(self) -> None:
        """Write what was noted since the last time: one statement per org that was active.

        Raises:
            DependencyDown: the database is away; what was not written is kept for the next time.
        """
        while self._pending:
            org_id, uses = self._pending.popitem()
            try:
                async with self._database.tenant_transaction(org_id) as session:
                    await Keys(session).note_uses(uses)
            except OrganizationErased:
                continue
            except BaseException:
                self._pending[org_id] = uses | self._pending.get(org_id, {})
                raise
            if len(self._written) > 50_000:  # forgetting costs one more write per key
                self._written.clear()
            self._written |= uses

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            with suppress(DependencyDown):
                await self.flush()


def coarse(moment: datetime) -> datetime:
    """The beginning of its COARSE_SECONDS."""
    seconds = moment.timestamp() % COARSE_SECONDS
    return datetime.fromtimestamp(moment.timestamp() - seconds, moment.tzinfo)
