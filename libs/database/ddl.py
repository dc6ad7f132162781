"""What migrations say about tenants. Functions carry a version: what a shipped migration calls never changes.

Every tenant table has `org_id` in its key, row-level security enabled and forced, one policy for the org and, where it has
a company, a restrictive one on top. Policies call wrapped functions, so the planner evaluates them once per statement.
"""

from __future__ import annotations

from alembic import op
from alembic.operations import Operations

from libs.database.names import dispatch_role, login_role


def run(sql: str) -> None:
    """Run several statements, each ended by a line that ends in `;` (a `$$` body may hold such lines)."""
    statement: list[str] = []
    quoted = False
    for line in sql.strip().splitlines():
        statement.append(line)
        quoted ^= line.count("$$") % 2 == 1
        if line.rstrip().endswith(";") and not quoted:
            op.execute("\n".join(statement).rstrip().rstrip(";").replace(":", "\\:"))
            statement = []
    if "".join(statement).strip():
        raise ValueError(f"a statement of this migration does not end with ';': {statement[0]}")


def _roles() -> tuple[str, str]:
    attributes = _context_attributes(op)  # type: ignore[arg-type]  # `op` is alembic's proxy of an Operations
    return (
        login_role(attributes["database"], attributes["service"]),
        dispatch_role(attributes["database"], attributes["service"]),
    )


def login_of_service() -> str:
    """The role that the migrated service logs in as."""
    return _roles()[0]


def schema_of_service() -> str:
    return _context_attributes(op)["service"]  # type: ignore[arg-type]


def _context_attributes(operations: Operations) -> dict[str, str]:
    config = operations.get_context().config
    if config is None:
        raise RuntimeError("migrations run through `outrider migrate`")
    return {key: str(value) for key, value in config.attributes.items() if isinstance(value, str)}


def tenant_functions_v1() -> None:
    """The functions that policies call. Without a context they answer NULL or nothing, so a query finds no row.

    A setting made LOCAL reads as an empty string, not NULL, once its transaction is over: hence the nullif.
    """
    run(
        """
        CREATE FUNCTION app_org_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS
          $$ SELECT nullif(current_setting('app.org_id', true), '')::uuid $$;
        CREATE FUNCTION app_all_companies() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
          $$ SELECT coalesce(current_setting('app.company_ids', true), '') = '*' $$;
        CREATE FUNCTION app_company_ids() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE AS
          $$ SELECT CASE coalesce(current_setting('app.company_ids', true), '') WHEN '*' THEN '{}' WHEN '' THEN '{}'
             ELSE string_to_array(current_setting('app.company_ids', true), ',')::uuid[] END $$;
        """
    )


def tenant_table_v1(table: str, *, company: bool) -> None:
    """Close `table` (which has `org_id`, and `company_id` if `company`) to all but its org, then open it to the service."""
    login, _ = _roles()
    run(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY org ON {table} TO "{login}" USING (org_id = (SELECT app_org_id()))
          WITH CHECK (org_id = (SELECT app_org_id()));
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO "{login}";
        """
    )
    if company:
        run(
            f"""
            CREATE POLICY company ON {table} AS RESTRICTIVE TO "{login}"
              USING ((SELECT app_all_companies()) OR company_id = ANY ((SELECT app_company_ids())::uuid[]));
            """
        )


def org_states_v1() -> None:
    """How each org stands, of those that were ever suspended or erased. A row is kept for ever, also when all else is gone.

    Every tenant's view reads it (libs.database.engine) and every claim of events does (libs.messaging): a transaction that
    may write an org's rows has read here first, in its own.
    """
    login, dispatch = _roles()
    run(
        """
        CREATE TABLE org_states (
          org_id uuid PRIMARY KEY,
          state text NOT NULL CHECK (state IN ('active', 'suspended', 'erased')),
          revision bigint NOT NULL,
          changed_at timestamptz NOT NULL DEFAULT now(),
          deleted jsonb NOT NULL DEFAULT '{}',
          refused bigint NOT NULL DEFAULT 0,
          refused_told bigint NOT NULL DEFAULT 0,
          finished_at timestamptz
        );
        COMMENT ON COLUMN org_states.deleted IS 'of one erased: how many rows went, by table';
        COMMENT ON COLUMN org_states.refused IS 'of one erased: deliveries that came too late; refused_told: known to others';
        CREATE INDEX org_states_erased ON org_states (org_id) WHERE state = 'erased';
        """
    )
    dispatch_table_v1("org_states")
    run(f'REVOKE DELETE ON org_states FROM "{login}", "{dispatch}";')


def erasable_v1(table: str) -> None:
    """Of an append-only table: its rows may go, but of no org except one that is erased."""
    login, _ = _roles()
    run(
        f"""
        CREATE POLICY erasure ON {table} AS RESTRICTIVE FOR DELETE TO "{login}"
          USING (EXISTS (SELECT FROM org_states s WHERE s.org_id = {table}.org_id AND s.state = 'erased'));
        GRANT DELETE ON {table} TO "{login}";
        """
    )


def dispatch_table_v1(table: str) -> None:
    """A messaging table: a tenant table that the dispatch role sees across orgs."""
    _, dispatch = _roles()
    tenant_table_v1(table, company=False)
    run(
        f"""
        CREATE POLICY dispatch ON {table} TO "{dispatch}" USING (true) WITH CHECK (true);
        GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO "{dispatch}";
        """
    )


def lookup_function_v1(signature: str, returns: str, body: str) -> None:
    """A look-up that must come before a tenant is known (an endpoint token, an API key).

    SECURITY DEFINER with a fixed search path, executable by the service alone, answering ids and hashes only.
    """
    login, _ = _roles()
    schema = _context_attributes(op)["service"]  # type: ignore[arg-type]
    name = signature.split("(", 1)[0]
    kinds = ", ".join(part.strip().split(" ", 1)[1] for part in signature.split("(", 1)[1].rstrip(")").split(","))
    run(
        f"""
        CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE sql STABLE SECURITY DEFINER
          SET search_path = {schema}, pg_temp AS $$ {body} $$;
        REVOKE ALL ON FUNCTION {name}({kinds}) FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION {name}({kinds}) TO "{login}";
        """
    )
