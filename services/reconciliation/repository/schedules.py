"""Schedules and their slots. Whoever decides a slot holds the schedule's row, so that of many one decides it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession
from libs.ids import CompanyId, OrgId
from services.reconciliation.domain.slots import Timetable

KEPT_SLOTS = 1000  # of a schedule, the newest; older ones are over all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    schedule_id: UUID
    account_id: UUID
    company_id: CompanyId | None
    timetable: Timetable
    revision: int
    created_by: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    schedule_id: UUID
    slot: datetime
    state: Literal["started", "skipped"]
    run_id: UUID | None
    started_by: str | None
    decided_at: datetime


class ScheduleRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def now(self) -> datetime:
        """The database's time, which is one for all replicas. As of this statement: who waited for a lock is not late."""
        moment: datetime = await self._session.fetchval("SELECT clock_timestamp()")
        return moment

    async def due(self, moment: datetime, *, past: UUID | None, most: int) -> list[tuple[OrgId, UUID]]:
        """Schedules of all orgs with a slot that had begun at `moment`, by rising id, from after `past` on."""
        rows = await self._session.fetch(
            "SELECT org_id, schedule_id FROM due_schedules_v1($1, $2, $3)", moment, past, most
        )
        return [(OrgId(row["org_id"]), row["schedule_id"]) for row in rows]

    async def add(self, schedule_id: UUID, account_id: UUID, timetable: Timetable, *, created_by: str) -> bool:
        """A new schedule, of its account's company; False when the account has one."""
        added = await self._session.execute(
            """
            INSERT INTO reconciliation_schedules (org_id, schedule_id, account_id, company_id, interval_seconds, anchor,
                                                  enabled, next_slot, created_by)
            SELECT org_id, $3, account_id, company_id, $4, $5, $6, $7, $8
            FROM accounts WHERE org_id = $1 AND account_id = $2 FOR SHARE
            ON CONFLICT (org_id, account_id) DO NOTHING
            """,
            self._org,
            account_id,
            schedule_id,
            timetable.interval_seconds,
            timetable.anchor,
            timetable.enabled,
            timetable.next_slot,
            created_by,
        )
        return added == 1

    async def find(self, schedule_id: UUID) -> Schedule | None:
        return await self._one(
            "SELECT * FROM reconciliation_schedules WHERE org_id = $1 AND schedule_id = $2", schedule_id
        )

    async def find_of_account(self, account_id: UUID) -> Schedule | None:
        return await self._one(
            "SELECT * FROM reconciliation_schedules WHERE org_id = $1 AND account_id = $2", account_id
        )

    async def hold(self, schedule_id: UUID) -> Schedule | None:
        """The schedule, locked until commit."""
        return await self._one(
            "SELECT * FROM reconciliation_schedules WHERE org_id = $1 AND schedule_id = $2 FOR UPDATE", schedule_id
        )

    async def _one(self, sql: str, key: UUID) -> Schedule | None:
        row = await self._session.fetchrow(sql, self._org, key)
        return None if row is None else _schedule(row)

    async def page(self, *, after: UUID | None, limit: int) -> list[Schedule]:
        """Newest first: ids sort by time."""
        rows = await self._session.fetch(
            "SELECT * FROM reconciliation_schedules WHERE org_id = $1 AND ($2::uuid IS NULL OR schedule_id < $2) "
            "ORDER BY schedule_id DESC LIMIT $3",
            self._org,
            after,
            limit,
        )
        return [_schedule(row) for row in rows]

    async def change(self, schedule_id: UUID, timetable: Timetable) -> None:
        """Keep what a person changed; it counts as a revision."""
        await self._session.execute(
            "UPDATE reconciliation_schedules SET interval_seconds = $3, anchor = $4, enabled = $5, next_slot = $6, "
            "revision = revision + 1, changed_at = now() WHERE org_id = $1 AND schedule_id = $2",
            self._org,
            schedule_id,
            timetable.interval_seconds,
            timetable.anchor,
            timetable.enabled,
            timetable.next_slot,
        )

    async def remove(self, schedule_id: UUID) -> None:
        """Forget a schedule, which must be held, and its slots; the runs stay."""
        await self._session.execute(
            "DELETE FROM schedule_slots WHERE org_id = $1 AND schedule_id = $2", self._org, schedule_id
        )
        await self._session.execute(
            "DELETE FROM reconciliation_schedules WHERE org_id = $1 AND schedule_id = $2", self._org, schedule_id
        )

    async def switch_off(self, companies: Collection[UUID]) -> None:
        """Start nothing more of these companies; it counts as a revision."""
        await self._session.execute(
            "UPDATE reconciliation_schedules SET enabled = false, revision = revision + 1, changed_at = now() "
            "WHERE org_id = $1 AND company_id = ANY($2::uuid[]) AND enabled",
            self._org,
            list(companies),
        )

    async def follow_accounts(self, accounts: Collection[UUID]) -> None:
        """Schedules and their slots are of the company that their account is of now."""
        await self._session.execute(
            "UPDATE reconciliation_schedules s SET company_id = a.company_id FROM accounts a WHERE s.org_id = $1 "
            "AND s.account_id = ANY($2::uuid[]) AND a.org_id = s.org_id AND a.account_id = s.account_id "
            "AND s.company_id IS DISTINCT FROM a.company_id",
            self._org,
            list(accounts),
        )
        await self._session.execute(
            "UPDATE schedule_slots l SET company_id = s.company_id FROM reconciliation_schedules s WHERE s.org_id = $1 "
            "AND s.account_id = ANY($2::uuid[]) AND l.org_id = s.org_id AND l.schedule_id = s.schedule_id "
            "AND l.company_id IS DISTINCT FROM s.company_id",
            self._org,
            list(accounts),
        )

    async def start(
        self, held: Schedule, slot: datetime, *, run_id: UUID, started_by: str, skipped: Sequence[datetime]
    ) -> Slot:
        """Keep that a slot was started and which were missed before it. The schedule must be held."""
        rows = await self._session.fetch(
            """
            INSERT INTO schedule_slots (org_id, schedule_id, slot, company_id, state, run_id, started_by)
            SELECT $1, $2, slot, $3, CASE WHEN slot = $4 THEN 'started' ELSE 'skipped' END,
              CASE WHEN slot = $4 THEN $5::uuid END, CASE WHEN slot = $4 THEN $6::text END
            FROM unnest($7::timestamptz[]) AS slot RETURNING *
            """,
            self._org,
            held.schedule_id,
            held.company_id,
            slot,
            run_id,
            started_by,
            [*skipped, slot],
        )
        after = held.timetable.after(slot)
        await self._session.execute(
            "UPDATE reconciliation_schedules SET next_slot = $3, last_slot = $4 WHERE org_id = $1 AND schedule_id = $2",
            self._org,
            held.schedule_id,
            after.next_slot,
            after.last_slot,
        )
        await self._session.execute(
            "DELETE FROM schedule_slots WHERE org_id = $1 AND schedule_id = $2 AND slot <= (SELECT slot FROM schedule_slots "
            "WHERE org_id = $1 AND schedule_id = $2 ORDER BY slot DESC OFFSET $3 LIMIT 1)",
            self._org,
            held.schedule_id,
            KEPT_SLOTS,
        )
        return next(_slot(row) for row in rows if row["slot"] == slot)

    async def find_slot(self, schedule_id: UUID, slot: datetime) -> Slot | None:
        row = await self._session.fetchrow(
            "SELECT * FROM schedule_slots WHERE org_id = $1 AND schedule_id = $2 AND slot = $3",
            self._org,
            schedule_id,
            slot,
        )
        return None if row is None else _slot(row)

    async def slots(self, schedule_id: UUID, *, before: datetime | None, limit: int) -> list[Slot]:
        """Newest first."""
        rows = await self._session.fetch(
            "SELECT * FROM schedule_slots WHERE org_id = $1 AND schedule_id = $2 AND ($3::timestamptz IS NULL OR slot < $3) "
            "ORDER BY slot DESC LIMIT $4",
            self._org,
            schedule_id,
            before,
            limit,
        )
        return [_slot(row) for row in rows]


def _schedule(row: asyncpg.Record) -> Schedule:
    return Schedule(
        schedule_id=row["schedule_id"],
        account_id=row["account_id"],
        company_id=row["company_id"],
        timetable=Timetable(
            row["anchor"], row["interval_seconds"], row["enabled"], row["next_slot"], row["last_slot"]
        ),
        revision=row["revision"],
        created_by=row["created_by"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )  # fmt: skip


def _slot(row: asyncpg.Record) -> Slot:
    return Slot(
        schedule_id=row["schedule_id"],
        slot=row["slot"],
        state=row["state"],
        run_id=row["run_id"],
        started_by=row["started_by"],
        decided_at=row["decided_at"],
    )
