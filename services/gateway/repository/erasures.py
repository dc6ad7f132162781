"""How far each service is with deleting an organization. Rows of the platform's org."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import orjson

from libs.clock import now
from libs.contracts.events import ErasureProgressedV1
from libs.database.engine import TenantSession
from libs.ids import OrgId


class Erasures:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def request(self, organization_id: OrgId, services: Sequence[str]) -> None:
        """Expect word of each of these services."""
        await self._session.execute(
            """
            INSERT INTO erasures (org_id, organization_id, service, state, requested_at, changed_at)
            SELECT $1, $2, service, 'requested', $4, $4 FROM unnest($3::text[]) AS service
            ON CONFLICT (org_id, organization_id, service) DO NOTHING
            """,
            self._session.org_id,
            organization_id,
            sorted(services),
            now(),
        )

    async def save_all(self, events: Sequence[ErasureProgressedV1]) -> None:
        """Keep what each service has told last: counts only grow, and nothing comes after the end but refusals."""
        for event in sorted(events, key=lambda one: (one.organization_id, one.service)):
            await self._session.execute(
                """
                INSERT INTO erasures AS known (org_id, organization_id, service, state, tables, rows, refused, requested_at,
                  changed_at) VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $8)
                ON CONFLICT (org_id, organization_id, service) DO UPDATE SET state = excluded.state, tables = excluded.tables,
                  rows = excluded.rows, refused = excluded.refused, changed_at = excluded.changed_at
                WHERE (excluded.state = 'completed', excluded.rows, excluded.refused)
                  > (known.state = 'completed', known.rows, known.refused) OR known.state = 'requested'
                """,
                self._session.org_id,
                event.organization_id,
                event.service,
                event.state,
                orjson.dumps(event.tables).decode(),
                sum(event.tables.values()),
                event.refused,
                event.changed_at,
            )

    async def of(self, organization_id: OrgId) -> list[asyncpg.Record]:
        """A row per service, by its name; none where no erasure was asked for."""
        return await self._session.fetch(
            "SELECT * FROM erasures WHERE org_id = $1 AND organization_id = $2 ORDER BY service",
            self._session.org_id,
            organization_id,
        )
