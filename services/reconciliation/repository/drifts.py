"""Drifts: the days on which a campaign differed from its provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

import orjson

from libs.contracts.events import SnapshotCapturedV1
from libs.database.engine import TenantSession
from libs.ids import CompanyId
from services.reconciliation.domain.runs import Difference, Keys, differences_of, drift_id

_SHOWN_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """`missing` and `surplus` are the first keys; the counts are of all."""

    drift_id: UUID
    run_id: UUID
    company_id: CompanyId | None
    campaign_id: UUID
    campaign_external_id: str
    kind: str
    day: date
    state: Literal["open", "repaired", "unrepaired"]
    missing: Keys
    missing_count: int
    surplus: Keys
    surplus_count: int


@dataclass(frozen=True, slots=True)
class OpenDrift:
    """What of one campaign and kind is not repaired, all days together; a day without keys counts as one missing."""

    campaign_id: UUID
    company_id: CompanyId | None
    kind: str
    missing: int
    surplus: int


class DriftRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session
        self._org = session.org_id

    async def add(self, captures: Sequence[SnapshotCapturedV1]) -> None:
        """Keep what differed, each capture once. Of several passes the last that showed a drift tells its keys.

        The keys of one day may come in several parts of a pass: they are put together, in whatever order they come.
        """
        found: dict[UUID, tuple[SnapshotCapturedV1, Difference]] = {}
        for capture in sorted(captures, key=lambda capture: capture.pass_number):
            for difference in differences_of(capture):
                assert capture.campaign_id is not None
                id_ = drift_id(capture.run_id, capture.campaign_id, difference)
                before = found.get(id_)
                if before is not None and before[0].pass_number == capture.pass_number:
                    difference = before[1].joined(difference)
                found[id_] = (capture, difference)
        if not found:
            return
        rows = sorted(found.items())
        await self._session.execute(
            """
            INSERT INTO drifts (org_id, drift_id, run_id, company_id, campaign_id, campaign_external_id, kind, day,
                                pass_number, missing, surplus, state)
            SELECT $1, id, run, company, campaign, external, kind, day, pass, missing::jsonb, surplus::jsonb, 'open'
            FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::date[], $9::int[],
                        $10::text[], $11::text[])
              AS e(id, run, company, campaign, external, kind, day, pass, missing, surplus)
            ON CONFLICT (org_id, drift_id) DO UPDATE SET pass_number = excluded.pass_number, company_id = excluded.company_id,
              missing = CASE WHEN excluded.pass_number > drifts.pass_number THEN excluded.missing ELSE (
                SELECT coalesce(jsonb_agg(DISTINCT key), '[]') FROM jsonb_array_elements(drifts.missing || excluded.missing) key
              ) END,
              surplus = CASE WHEN excluded.pass_number > drifts.pass_number THEN excluded.surplus ELSE (
                SELECT coalesce(jsonb_agg(DISTINCT key), '[]') FROM jsonb_array_elements(drifts.surplus || excluded.surplus) key
              ) END
            WHERE excluded.pass_number >= drifts.pass_number
            """,
            self._org,
            [id_ for id_, _ in rows],
            [capture.run_id for _, (capture, _) in rows],
            [capture.envelope.company_id for _, (capture, _) in rows],
            [capture.campaign_id for _, (capture, _) in rows],
            [capture.campaign_external_id for _, (capture, _) in rows],
            [difference.kind for _, (_, difference) in rows],
            [difference.day for _, (_, difference) in rows],
            [capture.pass_number for _, (capture, _) in rows],
            [orjson.dumps(difference.missing).decode() for _, (_, difference) in rows],
            [orjson.dumps(difference.surplus).decode() for _, (_, difference) in rows],
        )

    async def count(self, run_id: UUID) -> int:
        return int(
            await self._session.fetchval(
                "SELECT count(*) FROM drifts WHERE org_id = $1 AND run_id = $2", self._org, run_id
            )
        )

    async def settle(self, run_id: UUID, *, final_pass: int, left: str) -> int:
        """Drifts that the final pass still shows become `left`, the others repaired; answers how many are left."""
        await self._session.execute(
            "UPDATE drifts SET state = CASE WHEN pass_number >= $3 THEN $4 ELSE 'repaired' END "
            "WHERE org_id = $1 AND run_id = $2",
            self._org,
            run_id,
            final_pass,
            left,
        )
        return int(
            await self._session.fetchval(
                "SELECT count(*) FROM drifts WHERE org_id = $1 AND run_id = $2 AND state <> 'repaired'",
                self._org,
                run_id,
            )
        )

    async def of_campaign(self, run_id: UUID, campaign_id: UUID, pass_number: int) -> list[OpenDrift]:
        """What one pass has shown of a campaign so far."""
        rows = await self._session.fetch(
            """
            SELECT campaign_id, kind, (array_agg(company_id ORDER BY day DESC))[1] AS company_id,
              sum(CASE WHEN missing = '[]' AND surplus = '[]' THEN 1 ELSE jsonb_array_length(missing) END)::int AS missing,
              sum(jsonb_array_length(surplus))::int AS surplus
            FROM drifts WHERE org_id = $1 AND run_id = $2 AND campaign_id = $3 AND pass_number = $4 GROUP BY 1, 2 ORDER BY 2
            """,
            self._org,
            run_id,
            campaign_id,
            pass_number,
        )
        return [OpenDrift(**dict(row)) for row in rows]

    async def still_open(self, run_id: UUID) -> list[OpenDrift]:
        rows = await self._session.fetch(
            """
            SELECT campaign_id, kind, (array_agg(company_id ORDER BY day DESC))[1] AS company_id,
              sum(CASE WHEN missing = '[]' AND surplus = '[]' THEN 1 ELSE jsonb_array_length(missing) END)::int AS missing,
              sum(jsonb_array_length(surplus))::int AS surplus
            FROM drifts WHERE org_id = $1 AND run_id = $2 AND state <> 'repaired' GROUP BY 1, 2 ORDER BY 1, 2
            """,
            self._org,
            run_id,
        )
        return [OpenDrift(**dict(row)) for row in rows]

    async def page(self, run_id: UUID, *, state: str | None, after: UUID | None, limit: int) -> list[Drift]:
        rows = await self._session.fetch(
            """
            SELECT drift_id, run_id, company_id, campaign_id, campaign_external_id, kind, day, state,
              jsonb_array_length(missing) AS missing_count, jsonb_array_length(surplus) AS surplus_count,
              jsonb_path_query_array(missing, '$[0 to $last]', jsonb_build_object('last', $6::int))::text AS missing,
              jsonb_path_query_array(surplus, '$[0 to $last]', jsonb_build_object('last', $6::int))::text AS surplus
            FROM drifts WHERE org_id = $1 AND run_id = $2 AND ($3::text IS NULL OR state = $3)
              AND ($4::uuid IS NULL OR drift_id > $4)
            ORDER BY drift_id LIMIT $5
            """,
            self._org,
            run_id,
            state,
            after,
            limit,
            _SHOWN_KEYS - 1,
        )
        return [
            Drift(**{**dict(row), "missing": _keys(row["missing"]), "surplus": _keys(row["surplus"])}) for row in rows
        ]


def _keys(told: str) -> Keys:
    return tuple((key, lead) for key, lead in orjson.loads(told))
