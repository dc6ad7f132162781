"""Sees every write to every table of every service, and whose row it was: by triggers, so nothing that happens can be missed."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from tests.integration.libs.database.tables import Table, tables

_SCHEMA = """
CREATE SCHEMA watch;
CREATE TABLE watch.writes (what text NOT NULL, org_id uuid, company_id uuid, detail text);
CREATE FUNCTION watch.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE r jsonb := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END);
BEGIN
  INSERT INTO watch.writes VALUES (TG_OP || ' ' || TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME,
    (r->>'org_id')::uuid, (r->>'company_id')::uuid, coalesce(r->>'outcome', r->>'type'));
  RETURN NULL;
END $$;
"""


@dataclass(frozen=True)
class Write:
    what: str  # "INSERT gateway.users"
    org_id: UUID | None
    company_id: UUID | None
    detail: str | None  # of the audit log its outcome, of an outbox the event's type

    @property
    def table(self) -> str:
        return self.what.split(" ")[1]


class Watch:
    def __init__(self, admin: asyncpg.Connection, watched: list[Table]) -> None:
        self._admin = admin
        self._watched = watched

    async def writes(self) -> list[Write]:
        """What was written since the last call."""
        rows = await self._admin.fetch("DELETE FROM watch.writes RETURNING what, org_id, company_id, detail")
        return [Write(*row.values()) for row in rows]

    async def fingerprint(self, org_id: UUID) -> dict[str, str]:
        """A hash of all rows of the org, table by table."""
        rows_hash = "md5(coalesce(string_agg(md5(t::text), '' ORDER BY md5(t::text)), ''))"
        one = f"SELECT '{{0}}' AS name, {rows_hash} AS hash FROM {{0}} t WHERE org_id = $1"
        rows = await self._admin.fetch(" UNION ALL ".join(one.format(table) for table in self._watched), org_id)
        return {row["name"]: row["hash"] for row in rows}


async def watching(admin: asyncpg.Connection) -> Watch:
    """From now on. For a database that is thrown away."""
    await admin.execute(_SCHEMA)
    watched = [table for table in await tables(admin) if table.is_tenants]
    partitions = {row["name"] for row in await admin.fetch("SELECT inhrelid::regclass::text AS name FROM pg_inherits")}
    watched = [table for table in watched if str(table) not in partitions]
    for table in watched:
        await admin.execute(
            f"CREATE TRIGGER watched AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION watch.note()"
        )
    return Watch(admin, watched)
