# ruff: noqa: E501 - queries
"""Who may do what in a migrated database, as text for a reviewer: `python -m tests.security.grants` writes grants.txt.

Read from the catalogue: roles, memberships, rights on databases, schemas, tables, columns, sequences and functions, policies
with their conditions, functions that see more. The owner's own rights are left out: they go without saying, and their list
differs between releases of PostgreSQL; so are the parts of tables that are cut into
weeks, as long as nobody else has one on them. Names are those of a database called `db`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from libs.database.names import SERVICES
from tests import servers
from tests.security.room import made_room

REVIEWED = Path(__file__).parent / "grants.txt"

_GRANTEE = "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END"
_RIGHTS = (
    "string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN ' (may grant)' ELSE '' END, ', ' "
    "ORDER BY a.privilege_type)"
)

# Each answers lines; $1 is the database's name, $2 the schemas (ours and public).
_QUERIES = {
    "roles": """
        SELECT rolname || ':' || CASE WHEN rolcanlogin THEN ' LOGIN' ELSE '' END || CASE WHEN rolinherit THEN ' INHERIT' ELSE '' END
          || CASE WHEN rolsuper THEN ' SUPERUSER' ELSE '' END || CASE WHEN rolbypassrls THEN ' BYPASSRLS' ELSE '' END
          || CASE WHEN rolcreaterole THEN ' CREATEROLE' ELSE '' END || CASE WHEN rolcreatedb THEN ' CREATEDB' ELSE '' END
          || CASE WHEN rolreplication THEN ' REPLICATION' ELSE '' END
          || coalesce(' may become ' || (SELECT string_agg(m.roleid::regrole::text || CASE WHEN m.admin_option THEN ' (and grant it)'
               ELSE '' END, ', ' ORDER BY m.roleid::regrole::text)
             FROM pg_auth_members m WHERE m.member = r.oid), '')
          || coalesce(' set ' || (SELECT string_agg(array_to_string(s.setconfig, ' '), ' ') FROM pg_db_role_setting s
               WHERE s.setrole = r.oid), '')
        FROM pg_roles r WHERE rolname LIKE $1 || '\\_%' AND $2::text[] IS NOT NULL ORDER BY rolname COLLATE "C"
    """,
    "members of these roles": """
        SELECT m.roleid::regrole::text || ' <- ' || m.member::regrole::text FROM pg_auth_members m
        WHERE m.roleid::regrole::text LIKE '%' || $1 || '\\_%' AND $2::text[] IS NOT NULL ORDER BY 1
    """,
    "database": f"""
        SELECT {_GRANTEE} || ': ' || {_RIGHTS} FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
        WHERE d.datname = current_database() AND a.grantee <> d.datdba AND $1::text IS NOT NULL AND $2::text[] IS NOT NULL
        GROUP BY a.grantee ORDER BY 1
    """,
    "schemas": f"""
        SELECT n.nspname || ' ' || CASE WHEN a.grantee IS NULL THEN '-' ELSE {_GRANTEE} || ': ' || {_RIGHTS} END
        FROM pg_namespace n LEFT JOIN LATERAL (SELECT * FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner)))) a
          ON a.grantee <> n.nspowner WHERE $1::text IS NOT NULL AND n.nspname = ANY($2)
        GROUP BY n.nspname, a.grantee ORDER BY 1
    """,
    "tables": f"""
        SELECT c.oid::regclass::text || CASE c.relkind WHEN 'r' THEN '' ELSE ' (kind ' || c.relkind::text || ')' END
          || CASE WHEN c.relrowsecurity THEN ' rls' ELSE '' END || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END
          || coalesce(' ' || array_to_string(CASE WHEN c.relkind IN ('v', 'm') THEN c.reloptions END, ' '), '')
          || CASE WHEN c.relowner = d.datdba THEN '' ELSE ' owned by ' || c.relowner::regrole::text END
          || coalesce((SELECT string_agg(line, '' ORDER BY line) FROM (
               SELECT E'\\n  ' || {_GRANTEE} || ': ' || {_RIGHTS} AS line FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner
               GROUP BY a.grantee) g), '')
          || coalesce((SELECT string_agg(line, '' ORDER BY line) FROM (
               SELECT E'\\n  column ' || t.attname || ' ' || {_GRANTEE} || ': ' || {_RIGHTS} AS line
               FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND a.grantee <> c.relowner
               GROUP BY t.attname, a.grantee) g), '')
          || coalesce((SELECT string_agg(E'\\n  policy ' || p.policyname
               || CASE p.permissive WHEN 'PERMISSIVE' THEN '' ELSE ' restrictive' END || ' for ' || p.cmd || ' to '
               || array_to_string(p.roles, ', ') || coalesce(E'\\n    using ' || p.qual, '')
               || coalesce(E'\\n    check ' || p.with_check, ''), '' ORDER BY p.policyname)
             FROM pg_policies p WHERE p.schemaname = n.nspname AND p.tablename = c.relname), '')
          || coalesce((SELECT string_agg(E'\\n  trigger ' || t.tgname || ' ' || t.tgfoid::regprocedure::text, '' ORDER BY t.tgname)
             FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d
        WHERE d.datname = current_database() AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND $1::text IS NOT NULL
          AND (NOT c.relispartition OR NOT c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)
            OR EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner))
          AND n.nspname = ANY($2) ORDER BY c.oid::regclass::text COLLATE "C"
    """,
    "functions": f"""
        SELECT p.oid::regprocedure::text || ' returns ' || pg_get_function_result(p.oid)
          || CASE WHEN p.prosecdef THEN E'\\n  SECURITY DEFINER' ELSE E'\\n  as the caller' END
          || CASE p.provolatile WHEN 'v' THEN ', may write' ELSE '' END
          || coalesce(', ' || array_to_string(p.proconfig, ', '), '')
          || E'\\n  as ' || btrim(regexp_replace(p.prosrc, '\\s+', ' ', 'g'))
          || CASE WHEN p.proowner = d.datdba THEN '' ELSE ' owned by ' || p.proowner::regrole::text END
          || coalesce((SELECT string_agg(E'\\n  ' || {_GRANTEE} || ': ' || a.privilege_type, '' ORDER BY a.grantee::regrole::text)
             FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner), '')
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, pg_database d
        WHERE d.datname = current_database() AND $1::text IS NOT NULL AND n.nspname = ANY($2)
        ORDER BY p.oid::regprocedure::text COLLATE "C"
    """,
    "rights that new objects would get": f"""
        SELECT coalesce(d.defaclnamespace::regnamespace::text, 'everywhere') || ' ' || d.defaclobjtype::text || ' ' || {_GRANTEE} || ': '
          || {_RIGHTS} FROM pg_default_acl d, aclexplode(d.defaclacl) a
        WHERE a.grantee <> d.defaclrole AND $1::text IS NOT NULL AND $2::text[] IS NOT NULL
        GROUP BY d.defaclnamespace, d.defaclobjtype, a.grantee ORDER BY 1
    """,
}  # fmt: skip


@asynccontextmanager
async def rolled_back(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """A transaction, or a part of one, that leaves nothing behind."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


async def read(admin: asyncpg.Connection, template: str) -> str:
    """The text for the database that `admin` is in; roles carry the name of `template`."""
    sections = []
    async with rolled_back(admin):
        await admin.execute("SET LOCAL search_path = pg_catalog")
        for title, query in _QUERIES.items():
            rows = await admin.fetch(query, template, [*SERVICES, "public"])
            lines = "\n".join(row[0] for row in rows) or "none"
            sections.append(f"## {title}\n{lines}\n")
        owner = await admin.fetchval("SELECT current_user::text")
    text = "\n".join(sections)
    text = re.sub(rf'"?\b{template}_(\w+)\b"?', r"db_\1", text)
    return re.sub(rf"\bto {re.escape(owner)}\b", "to owner", text)


async def _write() -> None:
    with servers.postgres(print) as server:
        async with made_room(server, "grants") as room, room.copy(rows=False) as copy:
            REVIEWED.write_text(await read(copy.admin, room.template.template))
    print(f"wrote {REVIEWED}: the diff is the review")  # noqa: T201 - a command


if __name__ == "__main__":
    asyncio.run(_write())
