"""`facts`: what was heard, append-only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import cast

import asyncpg
import orjson

from libs.contracts.envelope import Envelope
from libs.contracts.event import registry
from libs.database.engine import TenantSession
from libs.ids import CompanyId, EventId, OrgId
from services.analytics.domain.facts import Fact
from services.analytics.repository.projections import PROJECTIONS

_READ_AT_ONCE = 5_000


# A fact's subject names its row: `message/<id>`. Leads have no projection here.
_NOT_BESIDE = " ".join(
    f"AND NOT EXISTS (SELECT FROM rebuilt_{table} b WHERE b.org_id = $1 AND b.{key} = split_part(f.subject, '/', 2)::uuid "
    "AND b.revision >= f.version)"
    for table, key in PROJECTIONS.items()
)


def _lock_of(org_id: OrgId) -> str:
    """Whoever keeps an org's facts shares it until commit; who makes its projections anew has it alone, for the switch."""
    return f"facts of {org_id}"


class FactRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def append(self, facts: Sequence[Fact]) -> list[str]:
        """Keep facts; answers the subjects whose version was there already with other content (the first stays)."""
        by_key: dict[tuple[str, int], Envelope] = {}
        contested: list[str] = []
        for fact in facts:
            envelope = fact.envelope
            first = by_key.setdefault((envelope.subject, fact.revision), envelope)
            if first is not envelope and first.data != envelope.data:
                contested.append(envelope.subject)
        keys = sorted(by_key)
        envelopes = [by_key[key] for key in keys]
        subjects, versions = [subject for subject, _ in keys], [version for _, version in keys]
        data = [orjson.dumps(envelope.data).decode() for envelope in envelopes]
        added = await self._session.execute(
            """
            INSERT INTO facts (org_id, subject, version, type, event_id, company_id, recorded_at, data)
            SELECT $1, subject, version, type, event_id, company_id, recorded_at, data::jsonb
            FROM (SELECT pg_advisory_xact_lock_shared(hashtextextended($9, 0))) AS shared,
              unnest($2::text[], $3::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::timestamptz[], $8::text[])
              AS e(subject, version, type, event_id, company_id, recorded_at, data)
            ON CONFLICT (org_id, subject, version) DO NOTHING
            """,
            self._session.org_id,
            subjects,
            versions,
            [envelope.type for envelope in envelopes],
            [envelope.id for envelope in envelopes],
            [envelope.company_id for envelope in envelopes],
            [envelope.time for envelope in envelopes],
            data,
            _lock_of(self._session.org_id),
        )
        if added < len(keys):
            rows = await self._session.fetch(
                """
                SELECT e.subject FROM unnest($2::text[], $3::bigint[], $4::text[]) AS e(subject, version, data)
                JOIN facts f ON f.org_id = $1 AND f.subject = e.subject AND f.version = e.version
                WHERE f.data <> e.data::jsonb
                """,
                self._session.org_id,
                subjects,
                versions,
                data,
            )
            contested += [row["subject"] for row in rows]
        return contested

    async def stop_writers(self) -> None:
        """Wait for all who keep facts of the org; who comes later waits for this transaction's end."""
        await self._session.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _lock_of(self._session.org_id)
        )

    async def count(self, as_of: datetime | None = None) -> int:
        found = await self._session.fetchval(
            "SELECT count(*) FROM facts WHERE org_id = $1 AND ($2::timestamptz IS NULL OR recorded_at <= $2)",
            self._session.org_id,
            as_of,
        )
        return int(found)

    async def all(self, as_of: datetime | None = None) -> AsyncIterator[list[Fact]]:
        """Every fact of the org (told until `as_of`), in bounded lots, read as the newest version of its event."""
        async for facts in self._read("", as_of):
            yield facts

    async def not_beside(self) -> AsyncIterator[list[Fact]]:
        """Those that came after what stands in the rebuilt tables was read: no row there is at their revision."""
        async for facts in self._read(_NOT_BESIDE, None):
            yield facts

    async def _read(self, condition: str, as_of: datetime | None) -> AsyncIterator[list[Fact]]:
        last = ("", -1)
        while True:
            rows = await self._session.fetch(
                f"""
                SELECT subject, version, type, event_id, company_id, recorded_at, data::text AS data FROM facts f
                WHERE org_id = $1 AND (subject, version) > ($2, $3) AND ($5::timestamptz IS NULL OR recorded_at <= $5)
                {condition}
                ORDER BY subject, version LIMIT $4
                """,
                self._session.org_id,
                *last,
                _READ_AT_ONCE,
                as_of,
            )
            if not rows:
                return
            last = (rows[-1]["subject"], rows[-1]["version"])
            yield [self._opened(row) for row in rows]

    def _opened(self, row: asyncpg.Record) -> Fact:
        envelope = Envelope(
            id=EventId(row["event_id"]),
            type=row["type"],
            source="",
            subject=row["subject"],
            time=row["recorded_at"],
            org_id=self._session.org_id,
            company_id=row["company_id"],
            correlation_id=row["event_id"],
            causation_id=None,
            traceparent=None,
            replay_id=None,
            data=orjson.loads(row["data"]),
            binary=None,
            attributes={},
            raw=b"",
        )
        return cast(Fact, registry.open(envelope))


class FreshnessRepository:
    """When the newest of what an answer rests on was told. The slot is the connection's: parallel batches do not meet.

    Who is limited to companies is told of theirs alone: when anything happened in another is not their business.
    """

    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def told(self, kind: str, at: datetime, companies: Mapping[CompanyId, datetime] | None = None) -> None:
        """`companies`: of facts, the newest of each."""
        of_companies = sorted((companies or {}).items())
        await self._session.execute(
            """
            WITH of_companies AS (
              INSERT INTO company_freshness (org_id, company_id, slot, told_at)
              SELECT $1, company, pg_backend_pid() % 8, told FROM unnest($4::uuid[], $5::timestamptz[]) AS c(company, told)
              ON CONFLICT (org_id, company_id, slot) DO UPDATE SET told_at = excluded.told_at
              WHERE excluded.told_at > company_freshness.told_at
            )
            INSERT INTO freshness (org_id, kind, slot, told_at) VALUES ($1, $2, pg_backend_pid() % 8, $3)
            ON CONFLICT (org_id, kind, slot) DO UPDATE SET told_at = excluded.told_at
            WHERE excluded.told_at > freshness.told_at
            """,
            self._session.org_id,
            kind,
            at,
            [company for company, _ in of_companies],
            [told for _, told in of_companies],
        )

    async def newest(self, kind: str) -> datetime | None:
        newest: datetime | None
        if kind == "facts" and not self._session.scope.is_all:
            newest = await self._session.fetchval(
                "SELECT max(told_at) FROM company_freshness WHERE org_id = $1", self._session.org_id
            )
        else:
            newest = await self._session.fetchval(
                "SELECT max(told_at) FROM freshness WHERE org_id = $1 AND kind = $2", self._session.org_id, kind
            )
        return newest
