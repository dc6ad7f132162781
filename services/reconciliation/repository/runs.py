"""Runs and what came back to them. Whoever moves a run holds its row, so that of concurrent batches one sees all parts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.contracts.events import SnapshotCapturedV1, SyncCompletedV1
from libs.database.engine import TenantSession
from libs.ids import CompanyId
from services.reconciliation.domain.runs import Answer, Difference, Part, State, differences_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    run_id: UUID
    account_id: UUID
    company_id: CompanyId | None
    campaign_id: UUID | None
    requested_by: str
    dry_run: bool
    state: State
    pass_number: int
    parts_expected: int | None
    parts_captured: int
    found: int
    repaired: int
    open: int
    missing_messages: int
    repaired_messages: int
    error: str | None
    requested_at: datetime
    changed_at: datetime
    completed_at: datetime | None


class RunRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def add(
        self, run_id: UUID, *, account_id: UUID, company_id: CompanyId | None, campaign_id: UUID | None,
        requested_by: str, dry_run: bool,
    ) -> bool:  # fmt: skip
        """A new run; False while another one of the same account and campaign is active."""
        added = await self._session.execute(
            """
            INSERT INTO runs (org_id, run_id, account_id, company_id, campaign_id, requested_by, dry_run, state)
            VALUES ($1, $2, $3, $4, $5, $6, $7, 'requested') ON CONFLICT DO NOTHING
            """,
            self._org,
            run_id,
            account_id,
            company_id,
            campaign_id,
            requested_by,
            dry_run,
        )
        return added == 1

    async def find(self, run_id: UUID) -> Run | None:
        row = await self._session.fetchrow("SELECT * FROM runs WHERE org_id = $1 AND run_id = $2", self._org, run_id)
        return None if row is None else _run(row)

    async def find_active(self, account_id: UUID, campaign_id: UUID | None) -> UUID | None:
        found: UUID | None = await self._session.fetchval(
            "SELECT run_id FROM runs WHERE org_id = $1 AND account_id = $2 AND campaign_id IS NOT DISTINCT FROM $3 "
            "AND state NOT IN ('completed', 'failed')",
            self._org,
            account_id,
            campaign_id,
        )
        return found

    async def page(
        self, *, account_id: UUID | None, campaign_id: UUID | None, state: State | None, after: UUID | None, limit: int
    ) -> list[Run]:
        """Newest first: ids sort by time."""
        rows = await self._session.fetch(
            """
            SELECT * FROM runs WHERE org_id = $1 AND ($2::uuid IS NULL OR account_id = $2)
              AND ($3::uuid IS NULL OR campaign_id = $3) AND ($4::text IS NULL OR state = $4)
              AND ($5::uuid IS NULL OR run_id < $5)
            ORDER BY run_id DESC LIMIT $6
            """,
            self._org,
            account_id,
            campaign_id,
            state,
            after,
            limit,
        )
        return [_run(row) for row in rows]

    async def hold(self, runs: Collection[UUID]) -> dict[UUID, Run]:
        """Lock runs until commit, in the order of their ids."""
        rows = await self._session.fetch(
            "SELECT * FROM runs WHERE org_id = $1 AND run_id = ANY($2::uuid[]) ORDER BY run_id FOR UPDATE",
            self._org,
            list(runs),
        )
        return {row["run_id"]: _run(row) for row in rows}

    async def hold_stuck(self, run_id: UUID, timeout_seconds: float) -> Run | None:
        """The run, locked, if nothing has happened to it for so long."""
        row = await self._session.fetchrow(
            "SELECT * FROM runs WHERE org_id = $1 AND run_id = $2 AND state NOT IN ('completed', 'failed') "
            "AND changed_at < now() - $3::float8 * interval '1 second' FOR UPDATE",
            self._org,
            run_id,
            timeout_seconds,
        )
        return None if row is None else _run(row)

    async def add_parts(self, events: Sequence[SnapshotCapturedV1]) -> list[SnapshotCapturedV1]:
        """Keep captures; answers those that are new."""
        by_key: dict[tuple[UUID, int, int], SnapshotCapturedV1] = {}
        for event in events:
            by_key.setdefault((event.run_id, event.pass_number, event.part), event)
        rows = [by_key[key] for key in sorted(by_key)]
        added = await self._session.fetch(
            """
            INSERT INTO parts (org_id, run_id, pass_number, part, parts, campaign_id, campaign_external_id, company_id,
                               differences, error)
            SELECT $1, run, pass, part, parts, campaign, external, company, differences::jsonb, error
            FROM unnest($2::uuid[], $3::int[], $4::int[], $5::int[], $6::uuid[], $7::text[], $8::uuid[], $9::text[],
                        $10::text[]) AS e(run, pass, part, parts, campaign, external, company, differences, error)
            ON CONFLICT (org_id, run_id, pass_number, part) DO NOTHING RETURNING run_id, pass_number, part
            """,
            self._org,
            [row.run_id for row in rows],
            [row.pass_number for row in rows],
            [row.part for row in rows],
            [row.parts for row in rows],
            [row.campaign_id for row in rows],
            [row.campaign_external_id for row in rows],
            [row.envelope.company_id for row in rows],
            [orjson.dumps(differences_of(row)).decode() for row in rows],
            [row.error for row in rows],
        )
        return [by_key[row["run_id"], row["pass_number"], row["part"]] for row in added]

    async def captured(self, run_id: UUID, pass_number: int) -> tuple[int, int | None]:
        """How many parts of a pass are in, and how many there will be (None: no part said so yet)."""
        row = await self._session.fetchrow(
            "SELECT count(*) AS captured, max(parts) AS expected FROM parts "
            "WHERE org_id = $1 AND run_id = $2 AND pass_number = $3",
            self._org,
            run_id,
            pass_number,
        )
        assert row is not None
        return row["captured"], row["expected"]

    async def parts(self, run_id: UUID, pass_number: int) -> list[Part]:
        rows = await self._session.fetch(
            "SELECT part, parts, campaign_id, campaign_external_id, company_id, error, differences::text AS differences "
            "FROM parts WHERE org_id = $1 AND run_id = $2 AND pass_number = $3 ORDER BY part",
            self._org,
            run_id,
            pass_number,
        )
        return [
            Part(
                part=row["part"],
                parts=row["parts"],
                campaign_id=row["campaign_id"],
                campaign_external_id=row["campaign_external_id"],
                company_id=row["company_id"],
                differences=tuple(_difference(one) for one in orjson.loads(row["differences"])),
                error=row["error"],
            )
            for row in rows
        ]

    async def count_missing(self, run_id: UUID, *, final_pass: int) -> tuple[int, int]:
        """Messages that were missing in any pass, and how many of them are so no longer in the final one."""
        row = await self._session.fetchrow(
            """
            WITH missed AS (
              SELECT max(p.pass_number) AS last_pass FROM parts p
              CROSS JOIN LATERAL jsonb_array_elements(p.differences) AS day
              CROSS JOIN LATERAL jsonb_array_elements(day -> 'missing') AS message
              WHERE p.org_id = $1 AND p.run_id = $2 GROUP BY p.campaign_id, day ->> 'kind', message ->> 0
            )
            SELECT count(*) AS missing, count(*) FILTER (WHERE last_pass < $3) AS repaired FROM missed
            """,
            self._org,
            run_id,
            final_pass,
        )
        assert row is not None
        return row["missing"], row["repaired"]

    async def tell_missing(self, run_id: UUID, *, missing: int, repaired: int) -> None:
        await self._session.execute(
            "UPDATE runs SET missing_messages = $3, repaired_messages = $4 WHERE org_id = $1 AND run_id = $2",
            self._org,
            run_id,
            missing,
            repaired,
        )

    async def add_answers(self, events: Sequence[SyncCompletedV1]) -> None:
        rows = sorted(events, key=lambda event: (event.run_id or event.sync_id, event.sync_id))
        await self._session.execute(
            """
            INSERT INTO answers (org_id, run_id, sync_id, pass_number, campaign_id, outcome, error)
            SELECT $1, * FROM unnest($2::uuid[], $3::uuid[], $4::int[], $5::uuid[], $6::text[], $7::text[])
            ON CONFLICT (org_id, run_id, sync_id) DO NOTHING
            """,
            self._org,
            [row.run_id for row in rows],
            [row.sync_id for row in rows],
            [row.pass_number for row in rows],
            [row.campaign_id for row in rows],
            [row.outcome for row in rows],
            [row.error for row in rows],
        )

    async def answers(self, run_id: UUID, pass_number: int | None = None) -> list[Answer]:
        """The repairs that ended, of one pass or of all."""
        rows = await self._session.fetch(
            "SELECT campaign_id, CASE WHEN outcome <> 'done' THEN coalesce(error, outcome) END AS error FROM answers "
            "WHERE org_id = $1 AND run_id = $2 AND ($3::int IS NULL OR pass_number = $3) ORDER BY sync_id",
            self._org,
            run_id,
            pass_number,
        )
        return [Answer(row["campaign_id"], row["error"]) for row in rows]

    async def move(
        self, run_id: UUID, state: State, *, pass_number: int, captured: int, expected: int | None, found: int
    ) -> None:
        await self._session.execute(
            "UPDATE runs SET state = $3, pass_number = $4, parts_captured = $5, parts_expected = $6, found = $7, open = $7, "
            "changed_at = clock_timestamp() WHERE org_id = $1 AND run_id = $2",
            self._org,
            run_id,
            state,
            pass_number,
            captured,
            expected,
            found,
        )

    async def finish(
        self, run_id: UUID, state: State, *, found: int, repaired: int, open_: int, error: str | None
    ) -> None:
        await self._session.execute(
            "UPDATE runs SET state = $3, found = $4, repaired = $5, open = $6, error = $7, changed_at = clock_timestamp(), "
            "completed_at = clock_timestamp() WHERE org_id = $1 AND run_id = $2",
            self._org,
            run_id,
            state,
            found,
            repaired,
            open_,
            error,
        )


def _run(row: asyncpg.Record) -> Run:
    # By name: a migration may have added what this version does not know yet.
    told = {field.name: row[field.name] for field in fields(Run)}
    return Run(**{**told, "state": State(row["state"])})


def _difference(told: dict[str, Any]) -> Difference:
    missing, surplus = (tuple((key, lead) for key, lead in told[name]) for name in ("missing", "surplus"))
    return Difference(told["kind"], date.fromisoformat(told["day"]), missing, surplus)
