"""Entities in sets: lock what is there, insert what is not, write what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from libs.database.engine import TenantSession
from libs.ids import CompanyId
from services.provider_sync.domain.kinds import CONVERSATION, ENGAGEMENT, ENROLMENT, MESSAGE, STEP, Kind
from services.provider_sync.domain.merging import Row, State, Version
from services.provider_sync.repository.entity_sql import sql_of

_CHILDREN = (STEP, ENROLMENT, CONVERSATION, MESSAGE, ENGAGEMENT)  # of a campaign; leads are the account's


class EntityRepository:
    def __init__(self, session: TenantSession) -> None:
        self._session = session

    async def known(self, kind: Kind, states: Collection[State]) -> dict[UUID, tuple[dict[str, Version], int]]:
        """Versions and sources of the stored rows among these, as they are now; nothing is locked."""
        rows = await self._session.fetch(
            f"SELECT id, versions::text AS versions, sources FROM {kind.table} "  # noqa: S608 - a name of ours
            "WHERE org_id = $1 AND id = ANY($2::uuid[])",
            self._session.org_id,
            sorted(one.id for one in states),
        )
        return {row["id"]: (_versions(row["versions"]), row["sources"]) for row in rows}

    async def lock(self, kind: Kind, states: Collection[State]) -> dict[UUID, Row]:
        """The stored rows among these, locked in the order of ids until the transaction ends."""
        ids = sorted(one.id for one in states)
        rows = await self._session.fetch(sql_of(kind).lock, self._session.org_id, ids)
        return {row["id"]: _row(kind, row) for row in rows}

    async def page(self, kind: Kind, after: UUID | None, limit: int) -> list[Row]:
        """The next rows in the order of ids, locked until the transaction ends."""
        found = await self._session.fetch(
            f"SELECT id FROM {kind.table} WHERE org_id = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",  # noqa: S608 - a name of ours
            self._session.org_id,
            after,
            limit,
        )
        rows = await self._session.fetch(sql_of(kind).lock, self._session.org_id, [row["id"] for row in found])
        return [_row(kind, row) for row in rows]

    async def insert(self, kind: Kind, rows: Iterable[Row]) -> set[UUID]:
        """Insert new rows; answers which. One that is missing was inserted by somebody else meanwhile: lock it, merge again."""
        ordered = sorted(rows, key=lambda row: row.id)
        if not ordered:
            return set()
        statement = sql_of(kind)
        identity = [one.name for one in kind.identity]
        records = [_record(row) | dict(zip(identity, row.identity, strict=True)) for row in ordered]
        inserted = await self._session.fetch(
            statement.insert, self._session.org_id, *_columns(records, statement.written)
        )
        return {row["id"] for row in inserted}

    async def update(self, kind: Kind, rows: Iterable[Row]) -> None:
        """Write values (those in hand; others stay), company, versions and revision of locked rows."""
        records = [_record(row) for row in sorted(rows, key=lambda row: row.id)]
        if records:
            statement = sql_of(kind)
            await self._session.execute(statement.update, self._session.org_id, *_columns(records, statement.updated))

    async def touch(self, kind: Kind, rows: Iterable[Row]) -> None:
        """Write only that newer statements say the same."""
        records = [_record(row) for row in sorted(rows, key=lambda row: row.id)]
        if records:
            await self._session.execute(
                sql_of(kind).touch, self._session.org_id, *_columns(records, ("id", "sources", "versions"))
            )

    async def relabel(self, companies: Mapping[UUID, CompanyId]) -> None:
        """Give all children of these (locked) campaigns their campaign's company."""
        ids = sorted(companies)
        for kind in _CHILDREN:
            await self._session.execute(
                f"UPDATE {kind.table} t SET company_id = new.company_id, updated_at = now() "  # noqa: S608 - a name of ours
                "FROM unnest($2::uuid[], $3::uuid[]) AS new (campaign_id, company_id) "
                "WHERE t.org_id = $1 AND t.campaign_id = new.campaign_id AND t.company_id <> new.company_id",
                self._session.org_id,
                ids,
                [companies[one] for one in ids],
            )

    async def infer_steps(self, ids: Collection[UUID]) -> dict[UUID, Row]:
        """Give replies without a stated step that of the message they answer; answers the replies that changed.

        `ids` are the messages new or changed, be they the answer or the answered one: both orders end alike. Only stated
        steps are handed on, so an answer to an answer waits for nobody.
        """
        rows = await self._session.fetch(
            """
            UPDATE messages r SET step_number = p.stated_step, revision = r.revision + 1, updated_at = now(),
              step_source = CASE WHEN p.stated_step IS NULL THEN NULL ELSE 'inferred' END
            FROM messages q LEFT JOIN messages p ON p.org_id = q.org_id AND p.id = q.in_reply_to_id
            WHERE r.org_id = $1 AND r.org_id = q.org_id AND r.id = q.id
              AND q.stated_step IS NULL AND q.in_reply_to_id IS NOT NULL
              AND (q.id = ANY($2::uuid[]) OR q.in_reply_to_id = ANY($2::uuid[]))
              AND q.step_number IS DISTINCT FROM p.stated_step
            RETURNING r.id
            """,
            self._session.org_id,
            sorted(ids),
        )
        changed = sorted(row["id"] for row in rows)
        if not changed:
            return {}
        rows = await self._session.fetch(sql_of(MESSAGE).lock, self._session.org_id, changed)
        return {row["id"]: _row(MESSAGE, row) for row in rows}


def _row(kind: Kind, row: asyncpg.Record) -> Row:
    values = {name: row[name] for name in kind.told if row[name] is not None}
    if "details" in values:
        values["details"] = orjson.loads(values["details"])
    return Row(
        id=row["id"],
        account_id=row["account_id"],
        identity=tuple(row[one.name] for one in kind.identity),
        company_id=row["company_id"] if kind.has_company else None,
        revision=row["revision"],
        sources=row["sources"],
        versions=_versions(row["versions"]),
        values=values,
    )


def _versions(stored: str) -> dict[str, Version]:
    return {name: Version(*version) for name, version in orjson.loads(stored).items()}


def _record(row: Row) -> dict[str, Any]:
    record: dict[str, Any] = dict(row.values)
    if "details" in record:
        record["details"] = orjson.dumps(record["details"]).decode()
    return record | {
        "id": row.id,
        "account_id": row.account_id,
        "company_id": row.company_id,
        "sources": row.sources,
        "versions": orjson.dumps({name: tuple(version) for name, version in row.versions.items()}).decode(),
        "revision": row.revision,
    }


def _columns(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
    return [[record.get(name) for record in records] for name in names]
