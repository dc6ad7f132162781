# ruff: noqa: E501 - statements
"""Mutants of a migrated database: each takes away one thing that keeps tenants apart.

Written for a database called `db`, whose roles are "db_gateway" and so on; a worker puts its own name there.
"""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from libs.database.names import SERVICES, STANDALONE, dispatch_role, login_role
from tests.integration.libs.database.tables import Table, tables
from tests.integration.libs.database.test_tenancy import MESSAGING

# What a table's rows are to each other, not who may see them: grants.txt need not show it.
KEYS = "keys"


@dataclass(frozen=True)
class SqlMutant:
    """`services` are those whose rows it may uncover; `in_rows`: a login must be seen to see or do more, the catalogue's word
    is not enough. `undo` makes it as it was; only what is not `in_rows` and is no role may do without."""

    kind: str
    name: str
    sql: tuple[str, ...]
    services: tuple[str, ...] = SERVICES
    undo: tuple[str, ...] = ()
    in_rows: bool = False


def named(sql: str, *, template: str, database: str) -> str:
    """The statement with the names of this room instead of `db`'s."""
    return sql.replace('"db_', f'"{template}_').replace("DATABASE current", f"DATABASE {database}")


async def sql_mutants(admin: asyncpg.Connection, template: str) -> list[SqlMutant]:
    """All of them, from the catalogue of the migrated database: a new table has its mutants at once."""
    found = await tables(admin)
    return [
        *await _of_policies(admin, template),
        *(mutant for table in found for mutant in _of_table(table)),
        *(mutant for service in SERVICES for mutant in _of_schema(service)),
        *await _of_functions(admin),
        *_of_roles(),
        *_of_database(),
        *await _of_keys(admin, found),
    ]


async def _of_policies(admin: asyncpg.Connection, template: str) -> list[SqlMutant]:
    mutants = []
    for row in await admin.fetch(
        "SELECT schemaname AS schema, tablename, policyname AS policy, permissive, cmd, roles::text[], qual, with_check "
        "FROM pg_policies WHERE schemaname = ANY($1) ORDER BY 1, 2, 3",
        list(SERVICES),
    ):
        table, policy = f"{row['schema']}.{row['tablename']}", row["policy"]
        roles = ", ".join("PUBLIC" if role == "public" else f'"{role}"' for role in row["roles"])
        roles = roles.replace(f'"{template}_', '"db_')

        using = f" USING ({row['qual']})" if row["qual"] else ""
        check = f" WITH CHECK ({row['with_check']})" if row["with_check"] else ""
        drop = f"DROP POLICY IF EXISTS {policy} ON {table}"
        again = f"CREATE POLICY {policy} ON {table} AS {row['permissive']} FOR {row['cmd']} TO {roles}{using}{check}"
        of_rows = policy in ("org", "company")

        def mutant(
            what: str,
            *sql: str,
            in_rows: bool,
            kind: str = "",
            undo: tuple[str, ...] = (drop, again),
            row: asyncpg.Record = row,
        ) -> SqlMutant:
            name = f"{row['schema']}.{row['tablename']}.{row['policy']}: {what}"
            return SqlMutant(kind or f"policy {what}", name, sql, (row["schema"],), undo, in_rows)

        mutants.append(mutant("dropped", drop, in_rows=of_rows or policy == "dispatch"))
        if row["qual"] != "true":
            mutants.append(mutant("USING(true)", f"ALTER POLICY {policy} ON {table} USING (true)", in_rows=of_rows))
        if row["cmd"] == "ALL" and row["with_check"] != "true":
            # A lead has no company that could be another's.
            in_rows = of_rows and (table, policy) != ("provider_sync.leads", "company")
            sql = f"ALTER POLICY {policy} ON {table} WITH CHECK (true)"
            mutants.append(mutant("WITH CHECK(true)", sql, in_rows=in_rows))
        if row["permissive"] == "RESTRICTIVE":
            permissive = again.replace(" AS RESTRICTIVE", " AS PERMISSIVE")
            mutants.append(mutant("no longer restrictive", drop, permissive, in_rows=True, kind="policy weakened"))
        elif row["roles"] != ["public"]:
            sql = f"ALTER POLICY {policy} ON {table} TO PUBLIC"
            mutants.append(mutant("TO PUBLIC", sql, in_rows=False, kind="policy weakened"))
    return mutants


def _of_table(table: Table) -> list[SqlMutant]:
    service = table.schema
    other = SERVICES[(SERVICES.index(service) + 1) % len(SERVICES)]
    mine = (service,)
    mutants = [
        SqlMutant("rls off", f"{table}: NO FORCE", (f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",), mine),
        SqlMutant(
            "rls off",
            f"{table}: DISABLE",
            (f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",),
            mine,
            (f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",),
            True,
        ),
        SqlMutant("grant", f"{table}: TRUNCATE to its login", (f'GRANT TRUNCATE ON {table} TO "db_{service}"',), mine),
        SqlMutant(
            "grant",
            f"{table}: SELECT to {other}",
            (f'GRANT USAGE ON SCHEMA {service} TO "db_{other}"', f'GRANT SELECT ON {table} TO "db_{other}"'),
            (other,),
            (f'REVOKE ALL ON SCHEMA {service} FROM "db_{other}"', f'REVOKE ALL ON {table} FROM "db_{other}"'),
            True,
        ),
        SqlMutant("grant", f"{table}: SELECT to PUBLIC", (f"GRANT SELECT ON {table} TO PUBLIC",), mine),
        SqlMutant(
            "grant", f"{table}: may grant on", (f'GRANT SELECT ON {table} TO "db_{service}" WITH GRANT OPTION',), mine
        ),
        SqlMutant(
            "policy added",
            f"{table}: a second policy for inserts",
            (f'CREATE POLICY more ON {table} FOR INSERT TO "db_{service}" WITH CHECK (true)',),
            mine,
            (f"DROP POLICY more ON {table}",),
            True,
        ),
        SqlMutant(
            "policy added",
            f"{table}: a second policy that reads all",
            (f'CREATE POLICY more ON {table} FOR SELECT TO "db_{service}" USING (org_id IS NOT NULL)',),
            mine,
            (f"DROP POLICY more ON {table}",),
            True,
        ),
        SqlMutant("owner", f"{table}: owned by its login", (f'ALTER TABLE {table} OWNER TO "db_{service}"',), mine),
    ]
    if table.name not in MESSAGING:
        to_dispatch = (
            f'GRANT SELECT ON {table} TO "db_{service}_dispatch"',
            f'CREATE POLICY dispatch ON {table} TO "db_{service}_dispatch" USING (true)',
        )
        undo = (f"DROP POLICY dispatch ON {table}", f'REVOKE ALL ON {table} FROM "db_{service}_dispatch"')
        # Leads stay shut even so: their own policy asks conversations, and dispatch may not.
        in_rows = str(table) != "provider_sync.leads"
        mutants.append(SqlMutant("grant", f"{table}: readable to dispatch", to_dispatch, mine, undo, in_rows))
    return mutants


def _of_schema(service: str) -> list[SqlMutant]:
    other = SERVICES[(SERVICES.index(service) + 1) % len(SERVICES)]
    login, leak = f'"db_{service}"', f"SELECT org_id, id FROM {service}.outbox"

    def mutant(kind: str, what: str, *sql: str) -> SqlMutant:
        return SqlMutant(kind, f"{service}: {what}", sql, (service,))

    return [
        mutant("schema", "CREATE to its login", f"GRANT CREATE ON SCHEMA {service} TO {login}"),
        mutant("schema", "USAGE to PUBLIC", f"GRANT USAGE ON SCHEMA {service} TO PUBLIC"),
        mutant("schema", f"USAGE to {other}", f'GRANT USAGE ON SCHEMA {service} TO "db_{other}"'),
        mutant(
            "schema",
            "new tables readable to all",
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {service} GRANT SELECT ON TABLES TO PUBLIC",
        ),
        mutant("grant", "a part of a table to its login", f"GRANT SELECT ON {service}.inbox_old TO {login}"),
        mutant("grant", "may set its version", f"GRANT UPDATE ON {service}.alembic_version TO {login}"),
        mutant(
            "grant",
            "one column to another service",
            f'GRANT USAGE ON SCHEMA {service} TO "db_{other}"',
            f'GRANT SELECT (org_id) ON {service}.inbox TO "db_{other}"',
        ),
        mutant(
            "forgotten table",
            "a table with orgs and no policy",
            f"CREATE TABLE {service}.forgotten (org_id uuid NOT NULL)",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {service}.forgotten TO {login}",
        ),
        mutant(
            "forgotten table",
            "a table without orgs",
            f"CREATE TABLE {service}.forgotten (body text)",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {service}.forgotten TO {login}",
        ),
        mutant(
            "forgotten table",
            "a child without policies",
            f"CREATE TABLE {service}.child () INHERITS ({service}.outbox)",
            f"GRANT SELECT ON {service}.child TO {login}",
        ),
        mutant(
            "view",
            "a view of its owner's",
            f"CREATE VIEW {service}.v AS {leak}",
            f"GRANT SELECT ON {service}.v TO {login}",
        ),
        mutant(
            "view",
            "a materialized view",
            f"CREATE MATERIALIZED VIEW {service}.v AS {leak}",
            f"GRANT SELECT ON {service}.v TO {login}",
        ),
        mutant(
            "function",
            "one more that sees all",
            f"CREATE FUNCTION {service}.all_of_it() RETURNS SETOF uuid LANGUAGE sql STABLE SECURITY DEFINER "
            f"SET search_path = {service}, pg_temp AS 'SELECT org_id FROM outbox'",
            f"REVOKE ALL ON FUNCTION {service}.all_of_it() FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION {service}.all_of_it() TO {login}",
        ),
        mutant(
            "function",
            "app_org_id is anyone's",
            f"CREATE OR REPLACE FUNCTION {service}.app_org_id() RETURNS uuid LANGUAGE sql STABLE "
            f"AS 'SELECT org_id FROM {service}.outbox LIMIT 1'",
        ),
        mutant(
            "function",
            "app_org_id raises without a context",
            f"CREATE OR REPLACE FUNCTION {service}.app_org_id() RETURNS uuid LANGUAGE sql STABLE "
            "AS $$ SELECT current_setting('app.org_id', true)::uuid $$",
        ),
        mutant(
            "function",
            "app_all_companies is true",
            f"CREATE OR REPLACE FUNCTION {service}.app_all_companies() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true'",
        ),
        mutant(
            "function",
            "app_all_companies is true without a scope",
            f"CREATE OR REPLACE FUNCTION {service}.app_all_companies() RETURNS boolean LANGUAGE sql STABLE AS "
            "$$ SELECT coalesce(current_setting('app.company_ids', true), '') IN ('*', '') $$",
        ),
    ]


async def _of_functions(admin: asyncpg.Connection) -> list[SqlMutant]:
    mutants = []
    for row in await admin.fetch(
        "SELECT oid::regprocedure::text AS name, pronamespace::regnamespace::text AS schema, provolatile::text FROM pg_proc "
        "WHERE prosecdef AND pronamespace = ANY($1::text[]::regnamespace[]) ORDER BY 1",
        list(SERVICES),
    ):
        name, service = row["name"], row["schema"]
        other = next(one for one in SERVICES if one != service)
        for what, sql in (
            ("EXECUTE to PUBLIC", f"GRANT EXECUTE ON FUNCTION {name} TO PUBLIC"),
            (f"EXECUTE to {other}", f'GRANT EXECUTE ON FUNCTION {name} TO "db_{other}"'),
            ("EXECUTE to dispatch", f'GRANT EXECUTE ON FUNCTION {name} TO "db_{service}_dispatch"'),
            ("its caller's search_path", f"ALTER FUNCTION {name} RESET search_path"),
            ("temporary tables first", f"ALTER FUNCTION {name} SET search_path = {service}"),
            ("public in its search_path", f"ALTER FUNCTION {name} SET search_path = public, {service}, pg_temp"),
            ("as its caller", f"ALTER FUNCTION {name} SECURITY INVOKER"),
            # A keeper of partitions writes anyway.
            *((("may write", f"ALTER FUNCTION {name} VOLATILE"),) if row["provolatile"] != "v" else ()),
        ):
            mutants.append(SqlMutant("function", f"{name}: {what}", (sql,), (service,)))
    names = "'SELECT org_id, name FROM api_keys WHERE id = wanted'"
    leaky = (
        "DROP FUNCTION gateway.api_key_v2(uuid)",
        "CREATE FUNCTION gateway.api_key_v2(wanted uuid) RETURNS TABLE (org_id uuid, name text) LANGUAGE sql "  # noqa: ISC004
        f"STABLE SECURITY DEFINER SET search_path = gateway, pg_temp AS {names}",
        "REVOKE ALL ON FUNCTION gateway.api_key_v2(uuid) FROM PUBLIC",
        'GRANT EXECUTE ON FUNCTION gateway.api_key_v2(uuid) TO "db_gateway"',
    )
    mutants.append(SqlMutant("function", "gateway.api_key_v2(uuid): lets out a name", leaky, ("gateway",)))
    return mutants


def _of_roles() -> list[SqlMutant]:
    mutants = []
    logins = [login_role("db", service) for service in (*SERVICES, STANDALONE)]
    for role in (*logins, *(dispatch_role("db", service) for service in SERVICES)):
        powers = ["SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION", "INHERIT"]
        for power in powers if role in logins else [*powers, "LOGIN"]:
            sql, undo = f'ALTER ROLE "{role}" {power}', f'ALTER ROLE "{role}" NO{power}'
            mutants.append(SqlMutant("role", f"{role}: {power}", (sql,), SERVICES, (undo,)))
        others = [one for one in logins if one != role][:2]
        others += [one for one in (dispatch_role("db", SERVICES[0]), dispatch_role("db", SERVICES[1])) if one != role]
        for other in (*others, "pg_read_all_data"):
            if role.startswith(other) or other.startswith(role) or (role == "db_standalone" and "dispatch" in other):
                continue  # that is so already, or would be a circle
            sql, undo = f'GRANT "{other}" TO "{role}"', f'REVOKE "{other}" FROM "{role}"'
            mutants.append(SqlMutant("role", f"{role}: member of {other}", (sql,), SERVICES, (undo,)))
    for service in SERVICES:
        sql = f'GRANT "db_{service}_dispatch" TO "db_{service}" WITH ADMIN OPTION'
        undo = f'REVOKE ADMIN OPTION FOR "db_{service}_dispatch" FROM "db_{service}"'
        mutants.append(SqlMutant("role", f"db_{service}: may make others its dispatch", (sql,), SERVICES, (undo,)))
        sql, undo = (f'ALTER ROLE "db_{service}" SET "app.company_ids" = \'*\'', f'ALTER ROLE "db_{service}" RESET ALL')
        mutants.append(SqlMutant("role", f"db_{service}: sees all companies by default", (sql,), SERVICES, (undo,)))
    return mutants


def _of_database() -> list[SqlMutant]:
    return [
        SqlMutant("database", f"{right} to {to}", (f"GRANT {right} ON DATABASE current TO {to}",))
        for right, to in (("CONNECT", "PUBLIC"), ("TEMPORARY", "PUBLIC"), ("CREATE", '"db_gateway"'))
    ] + [
        SqlMutant("schema", "public: CREATE to PUBLIC", ("GRANT CREATE ON SCHEMA public TO PUBLIC",)),
        SqlMutant("schema", "public: USAGE to PUBLIC", ("GRANT USAGE ON SCHEMA public TO PUBLIC",)),
    ]


async def _of_keys(admin: asyncpg.Connection, found: list[Table]) -> list[SqlMutant]:
    """References that may lead into another org, and keys whose violation would tell that another org has the same."""
    mutants = []
    for row in await admin.fetch(
        """
        SELECT k.conname AS name, k.conrelid::regclass::text AS child, k.confrelid::regclass::text AS parent,
          k.connamespace::regnamespace::text AS schema,
          (SELECT attname FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = k.conkey[array_length(k.conkey, 1)]) AS mine,
          (SELECT attname FROM pg_attribute WHERE attrelid = k.confrelid AND attnum = k.confkey[array_length(k.confkey, 1)]) AS theirs
        FROM pg_constraint k WHERE k.contype = 'f' AND array_length(k.conkey, 1) > 1
          AND k.connamespace = ANY($1::text[]::regnamespace[]) ORDER BY 2, 1
        """,
        list(SERVICES),
    ):
        # The index that PostgreSQL asks for would be found by itself: it goes, and only the reference is judged.
        narrow: tuple[str, ...] = (
            f'ALTER TABLE {row["child"]} DROP CONSTRAINT "{row["name"]}"',
            f"CREATE UNIQUE INDEX narrow ON {row['parent']} ({row['theirs']})",
            f"ALTER TABLE {row['child']} ADD CONSTRAINT narrow FOREIGN KEY ({row['mine']}) REFERENCES {row['parent']} ({row['theirs']})",
            f"UPDATE pg_index SET indisunique = false WHERE indexrelid = '{row['schema']}.narrow'::regclass",
        )
        mutants.append(SqlMutant(KEYS, f"{row['child']}.{row['name']}: without the org", narrow, (row["schema"],)))
    for table in found:
        column = next(name for name in sorted(table.required) if name != "org_id")
        # A key of a partitioned table holds what it is divided by, too.
        parted = await admin.fetch(
            "SELECT attname FROM pg_partitioned_table p JOIN pg_attribute a ON a.attrelid = p.partrelid "
            "AND a.attnum = ANY(p.partattrs) WHERE p.partrelid = $1::text::regclass",
            str(table),
        )
        columns = dict.fromkeys([column, *(row["attname"] for row in parted)])
        sql = (f"CREATE UNIQUE INDEX narrow ON {table} ({', '.join(columns)})",)
        mutants.append(SqlMutant(KEYS, f"{table}: {column} unique over all orgs", sql, (table.schema,)))
    return mutants
