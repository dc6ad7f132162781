"""The thin list of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from libs.contracts.events import DeadLetterChangedV1
from libs.database.engine import TenantSession


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which letters; None says nothing."""

    state: str | None = None
    service: str | None = None
    consumer: str | None = None
    error_class: str | None = None
    fingerprint: str | None = None


class DeadLetters:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def save_all(self, changes: Sequence[DeadLetterChangedV1]) -> None:
        """Keep each change unless a newer one is known. At most one per (consumer, event), in one order for all."""
        columns: list[list[Any]] = [
            [change.consumer for change in changes],
            [change.event_id for change in changes],
            [change.service for change in changes],
            [change.event_type for change in changes],
            [change.event_subject for change in changes],
            [change.state for change in changes],
            [change.error_class for change in changes],
            [change.reason for change in changes],
            [change.fingerprint for change in changes],
            [change.attempts for change in changes],
            [change.changed_at for change in changes],
        ]
        await self._session.execute(
            """
            INSERT INTO dead_letters AS d (org_id, consumer, event_id, service, type, subject, state, error_class, reason,
              fingerprint, attempts, changed_at)
            SELECT $1, * FROM unnest($2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
              $9::text[], $10::text[], $11::int[], $12::timestamptz[])
            ON CONFLICT (org_id, consumer, event_id) DO UPDATE SET service = excluded.service, type = excluded.type,
              subject = excluded.subject, state = excluded.state, error_class = excluded.error_class,
              reason = excluded.reason, fingerprint = excluded.fingerprint, attempts = excluded.attempts,
              changed_at = excluded.changed_at
            WHERE (excluded.changed_at, excluded.attempts, excluded.state COLLATE "C")
              > (d.changed_at, d.attempts, d.state COLLATE "C")
            """,
            self._session.org_id,
            *columns,
        )

    async def page(
        self, chosen: Chosen, *, states: Sequence[str], after: tuple[datetime, str, UUID] | None, limit: int
    ) -> list[asyncpg.Record]:
        """Last changed first."""
        changed_at, consumer, event_id = after or (None, None, None)
        return await self._session.fetch(
            """
            SELECT * FROM dead_letters WHERE org_id = $1 AND state = ANY($2::text[])
              AND ($3::timestamptz IS NULL OR (changed_at, consumer, event_id) < ($3, $4, $5))
              AND ($7::text IS NULL OR service = $7) AND ($8::text IS NULL OR consumer = $8)
              AND ($9::text IS NULL OR error_class = $9) AND ($10::text IS NULL OR fingerprint = $10)
            ORDER BY changed_at DESC, consumer DESC, event_id DESC LIMIT $6
            """,
            self._session.org_id, list(states), changed_at, consumer, event_id, limit, chosen.service, chosen.consumer,
            chosen.error_class, chosen.fingerprint,
        )  # fmt: skip

    async def last_change(self) -> datetime | None:
        """When the newest change that we heard of was made; None when we never heard of any."""
        moment: datetime | None = await self._session.fetchval(
            "SELECT max(changed_at) FROM dead_letters WHERE org_id = $1", self._session.org_id
        )
        return moment
