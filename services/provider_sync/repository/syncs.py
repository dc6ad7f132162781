"""Readings of accounts: asked for once at a time, taken under a lease, brought forward page by page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from libs.database.engine import TenantSession, Transaction
from libs.ids import AccountId, CompanyId, OrgId, new_id
from services.provider_sync.domain.syncs import Cursor, Planned, Run

KEPT_RUNS = 100  # of an account, beside the one that is open


class SyncRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def begin(
        self,
        account_id: AccountId,
        company_id: CompanyId,
        *,
        reason: str,
        is_full: bool,
        campaign: tuple[UUID, str] | None = None,
        operation_id: UUID | None = None,
    ) -> UUID | None:
        """Ask for a reading; None when one of the account is open."""
        campaign_id, external_id = campaign or (None, None)
        found = await self._session.fetchval(
            """
            INSERT INTO sync_runs (org_id, id, account_id, company_id, campaign_id, campaign_external_id, reason, is_full,
              operation_id)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            ON CONFLICT (org_id, account_id) WHERE state IN ('pending', 'running') DO NOTHING RETURNING id
            """,
            self._session.org_id,
            new_id(),
            account_id,
            company_id,
            campaign_id,
            external_id,
            reason,
            is_full,
            operation_id,
        )
        return None if found is None else UUID(str(found))

    async def open_of(self, account_id: AccountId) -> UUID | None:
        found = await self._session.fetchval(
            "SELECT id FROM sync_runs WHERE org_id = $1 AND account_id = $2 AND state IN ('pending', 'running')",
            self._session.org_id,
            account_id,
        )
        return None if found is None else UUID(str(found))

    async def find(self, run_id: UUID) -> asyncpg.Record | None:
        return await self._session.fetchrow(
            "SELECT * FROM sync_runs WHERE org_id = $1 AND id = $2", self._session.org_id, run_id
        )

    async def page(
        self, after: tuple[datetime, UUID] | None, limit: int, *, account_id: UUID | None, state: str | None
    ) -> list[asyncpg.Record]:
        """Newest first; one row more than `limit` when there is more."""
        at, identifier = after or (None, None)
        return await self._session.fetch(
            """
            SELECT * FROM sync_runs WHERE org_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
              AND ($4::uuid IS NULL OR account_id = $4) AND ($5::text IS NULL OR state = $5)
            ORDER BY created_at DESC, id DESC LIMIT $6
            """,
            self._session.org_id,
            at,
            identifier,
            account_id,
            state,
            limit + 1,
        )

    async def accounts_to_read(
        self, every_seconds: float, always: Sequence[str], chosen: Sequence[str]
    ) -> list[asyncpg.Record]:
        """(id, company_id, provider) of this org's accounts that were not read for so long. orgs_to_sync_v1 says the same."""
        return await self._session.fetch(
            """
            SELECT a.id, a.company_id, a.provider FROM accounts a
            WHERE a.org_id = $1 AND a.status = 'active'
              AND (a.provider = ANY($3) OR (a.provider = ANY($4) AND a.sync_mode = 'pull_best_effort'))
              AND a.created_at <= now() - $2::float8 * interval '1 second'
              AND NOT EXISTS (SELECT 1 FROM sync_runs r WHERE r.org_id = $1 AND r.account_id = a.id
                              AND (r.created_at > now() - $2 * interval '1 second' OR r.state IN ('pending', 'running')))
            """,
            self._session.org_id,
            every_seconds,
            list(always),
            list(chosen),
        )

    async def take(self, lease_seconds: float) -> Run | None:
        """Take the reading that is due longest. An account that is not active, or is left alone for a while, is not read.
        orgs_with_due_syncs_v1 says the same."""
        row = await self._session.fetchrow(
            """
            UPDATE sync_runs r SET state = 'running', takes = takes + 1, attempts = attempts + 1, changed_at = now(),
              started_at = coalesce(started_at, now()), lease_until = now() + $2::float8 * interval '1 second'
            WHERE r.org_id = $1 AND r.id = (
              SELECT i.id FROM sync_runs i
              WHERE i.org_id = $1 AND i.state IN ('pending', 'running') AND i.due_at <= now()
                AND (i.lease_until IS NULL OR i.lease_until < now())
                AND NOT EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = $1 AND a.id = i.account_id
                                AND a.status <> 'active')
                AND NOT EXISTS (SELECT 1 FROM account_budgets b WHERE b.org_id = $1 AND b.account_id = i.account_id
                                AND b.paused_until > now())
              ORDER BY i.due_at, i.id LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING r.*
            """,
            self._session.org_id,
            lease_seconds,
        )
        return None if row is None else _run(row)

    async def hold(self, run: Run, lease_seconds: float) -> bool:
        """Lengthen the lease; False when it is in other hands, or its account is not to be read any more."""
        done = await self._session.execute(
            """
            UPDATE sync_runs r SET lease_until = now() + $4::float8 * interval '1 second'
            WHERE r.org_id = $1 AND r.id = $2 AND r.takes = $3 AND r.state = 'running' AND r.lease_until IS NOT NULL
              AND EXISTS (SELECT 1 FROM accounts a WHERE a.org_id = $1 AND a.id = r.account_id AND a.status = 'active')
            """,
            self._session.org_id,
            run.id,
            run.takes,
            lease_seconds,
        )
        return done == 1

    async def give_back(self, run: Run, *, in_seconds: float, is_charged: bool, error: str | None = None) -> bool:
        """Somebody may take it again after so long. False when it is in other hands."""
        done = await self._session.execute(
            """
            UPDATE sync_runs SET lease_until = NULL, due_at = now() + $4::float8 * interval '1 second', error = $5,
              attempts = CASE WHEN $6 THEN attempts ELSE 0 END, changed_at = now()
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state = 'running'
            """,
            self._session.org_id,
            run.id,
            run.takes,
            in_seconds,
            error,
            is_charged,
        )
        return done == 1

    async def attempts(self, run: Run) -> int:
        """Takes since it last came forward."""
        found = await self._session.fetchval(
            "SELECT attempts FROM sync_runs WHERE org_id = $1 AND id = $2 AND takes = $3",
            self._session.org_id,
            run.id,
            run.takes,
        )
        return int(found or 1)

    async def came_forward(self, run: Run, *, rows: int, changed: int, feeds: int, restarts: int = 0) -> None:
        """Count a page; the run is held by this transaction."""
        await self._session.execute(
            """
            UPDATE sync_runs SET pages = pages + $3, rows_seen = rows_seen + $4, rows_changed = rows_changed + $5,
              feeds_done = feeds_done + $6, restarts = restarts + $7, attempts = 1, error = NULL, changed_at = now()
            WHERE org_id = $1 AND id = $2
            """,
            self._session.org_id,
            run.id,
            0 if restarts else 1,
            rows,
            changed,
            feeds,
            restarts,
        )

    async def end(self, run: Run, *, error_code: str | None = None, error: str | None = None) -> asyncpg.Record | None:
        """Succeeded, or failed with an error; the row. None when it is in other hands. Forgets its oldest predecessors."""
        row = await self._session.fetchrow(
            """
            UPDATE sync_runs SET state = CASE WHEN $4::text IS NULL THEN 'succeeded' ELSE 'failed' END, lease_until = NULL,
              error_code = $4, error = $5, changed_at = now(), ended_at = now()
            WHERE org_id = $1 AND id = $2 AND takes = $3 AND state = 'running' RETURNING *
            """,
            self._session.org_id,
            run.id,
            run.takes,
            error_code,
            error,
        )
        if row is not None:
            await self._session.execute(
                """
                DELETE FROM sync_runs WHERE org_id = $1 AND account_id = $2 AND state NOT IN ('pending', 'running')
                  AND (created_at, id) < (SELECT created_at, id FROM sync_runs WHERE org_id = $1 AND account_id = $2
                                          ORDER BY created_at DESC, id DESC OFFSET $3 LIMIT 1)
                """,
                self._session.org_id,
                run.account_id,
                KEPT_RUNS,
            )
        return row

    # Cursors

    async def cursors(self, account_id: AccountId) -> dict[tuple[str, str], Cursor]:
        rows = await self._session.fetch(
            "SELECT * FROM sync_cursors WHERE org_id = $1 AND account_id = $2", self._session.org_id, account_id
        )
        return {(row["feed"], row["campaign_external_id"]): _cursor(row) for row in rows}

    async def plan(self, run: Run, signpost: datetime, planned: Sequence[Planned]) -> None:
        """Open the cursors of what is to be read, and no others of this account."""
        await self._session.execute(
            "UPDATE sync_cursors SET is_open = false WHERE org_id = $1 AND account_id = $2 AND is_open",
            self._session.org_id,
            run.account_id,
        )
        await self._session.execute(
            """
            INSERT INTO sync_cursors AS known (org_id, account_id, run_id, is_open, place, feed, campaign_external_id,
              is_full, since, until, next_mark, whole_until, after, pages)
            SELECT $1, $2, $3, true, r.* FROM unnest($4::int[], $5::text[], $6::text[], $7::boolean[], $8::timestamptz[],
              $9::timestamptz[], $10::text[], $11::timestamptz[], $12::text[], $13::int[]) AS r
            ON CONFLICT (org_id, account_id, feed, campaign_external_id) DO UPDATE SET
              run_id = excluded.run_id, is_open = true, place = excluded.place, is_full = excluded.is_full,
              since = excluded.since, until = excluded.until, next_mark = excluded.next_mark,
              whole_until = excluded.whole_until, after = excluded.after, pages = excluded.pages, restarts = 0, error = NULL
            """,
            self._session.org_id,
            run.account_id,
            run.id,
            list(range(len(planned))),
            [one.feed for one in planned],
            [one.campaign for one in planned],
            [one.is_full for one in planned],
            [one.since for one in planned],
            [one.until for one in planned],
            [one.mark for one in planned],
            [one.whole_until for one in planned],
            [one.after for one in planned],
            [one.pages for one in planned],
        )
        await self._session.execute(
            "UPDATE sync_runs SET signpost = $3, feeds_total = $4 WHERE org_id = $1 AND id = $2",
            self._session.org_id,
            run.id,
            signpost,
            len(planned),
        )

    async def next_cursor(self, run: Run) -> Cursor | None:
        """The list to go on with; None when all are read."""
        row = await self._session.fetchrow(
            "SELECT * FROM sync_cursors WHERE org_id = $1 AND run_id = $2 AND is_open ORDER BY place LIMIT 1",
            self._session.org_id,
            run.id,
        )
        return None if row is None else _cursor(row)

    async def move(self, run: Run, cursor: Cursor, *, after: str, whole_until: datetime | None) -> None:
        """The next page is to be read."""
        await self._session.execute(
            f"UPDATE sync_cursors SET after = $5, whole_until = $6, pages = pages + 1 {_THIS}",  # noqa: S608 - a constant
            *self._this(run, cursor),
            after,
            whole_until,
        )

    async def restart(self, run: Run, cursor: Cursor) -> None:
        """Its first page is to be read."""
        await self._session.execute(
            f"UPDATE sync_cursors SET after = NULL, pages = 0, restarts = restarts + 1 {_THIS}",  # noqa: S608 - a constant
            *self._this(run, cursor),
        )

    async def close(self, run: Run, cursor: Cursor, bookmark: datetime, *, is_whole: bool) -> None:
        """It is read to its end: the next reading begins at the bookmark. Not `is_whole`: whatever its mark says."""
        await self._session.execute(
            f"""
            UPDATE sync_cursors SET is_open = false, after = NULL, bookmark = $5, read_at = now(), error = NULL,
              pages = pages + 1, mark = CASE WHEN $6 THEN next_mark END,
              full_at = CASE WHEN is_full THEN until ELSE full_at END {_THIS}
            """,  # noqa: S608 - a constant
            *self._this(run, cursor),
            bookmark,
            is_whole,
        )

    async def skip(self, run: Run, cursor: Cursor, error: str) -> None:
        """It cannot be read: the next reading tries from where this one began."""
        await self._session.execute(
            f"UPDATE sync_cursors SET is_open = false, after = NULL, error = $5 {_THIS}",  # noqa: S608 - a constant
            *self._this(run, cursor),
            error,
        )

    async def first_error(self, run: Run) -> tuple[int, str] | None:
        """How many of the run's lists could not be read, and why the first of them."""
        row = await self._session.fetchrow(
            """
            SELECT count(*) AS count, (array_agg(error ORDER BY place))[1] AS error FROM sync_cursors
            WHERE org_id = $1 AND account_id = $2 AND run_id = $3 AND error IS NOT NULL
            """,
            self._session.org_id,
            run.account_id,
            run.id,
        )
        return None if row is None or not row["count"] else (row["count"], row["error"])

    def _this(self, run: Run, cursor: Cursor) -> tuple[object, ...]:
        return self._session.org_id, run.account_id, cursor.feed, cursor.campaign


_THIS = "WHERE org_id = $1 AND account_id = $2 AND feed = $3 AND campaign_external_id = $4"


async def orgs_with_due_syncs(transaction: Transaction, most: int) -> list[OrgId]:
    """Orgs whose accounts are to be read and may be, in random order; their ids and nothing else."""
    await transaction.as_service()
    rows = await transaction.driver.fetch("SELECT org_id FROM orgs_with_due_syncs_v1($1) AS org_id", most)
    return [OrgId(row["org_id"]) for row in rows]


async def orgs_to_sync(
    transaction: Transaction, every_seconds: float, always: Sequence[str], chosen: Sequence[str], most: int
) -> list[OrgId]:
    """Orgs with an account that was not read for so long, in random order."""
    await transaction.as_service()
    rows = await transaction.driver.fetch(
        "SELECT org_id FROM orgs_to_sync_v1($1, $2, $3, $4) AS org_id", every_seconds, list(always), list(chosen), most
    )
    return [OrgId(row["org_id"]) for row in rows]


def _run(row: asyncpg.Record) -> Run:
    return Run(
        id=row["id"],
        account_id=row["account_id"],
        campaign_external_id=row["campaign_external_id"],
        is_full=row["is_full"],
        operation_id=row["operation_id"],
        takes=row["takes"],
        attempts=row["attempts"],
        is_planned=row["feeds_total"] is not None,
    )


def _cursor(row: asyncpg.Record) -> Cursor:
    same = "feed is_open is_full since until whole_until after pages restarts bookmark mark full_at"
    return Cursor(campaign=row["campaign_external_id"], **{name: row[name] for name in same.split()})
