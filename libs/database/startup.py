"""What must be true of the database before a service takes work: each refusal is one line that says what to do."""

from __future__ import annotations

from libs.database.engine import Database
from libs.database.migrate import head
from libs.errors import PermanentError


class StartRefused(PermanentError):
    code = "start_refused"


async def check(database: Database) -> None:
    """Refuse a wrong schema version and a login that row-level security would not bind.

    Raises:
        StartRefused: with the one thing to mend.
        DependencyDown: the database is away; wait and try again.
    """
    async with database.transaction() as transaction:
        me = await transaction.driver.fetchrow(
            "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        if me is None or me["rolsuper"] or me["rolbypassrls"]:
            raise StartRefused(
                f"{database.service} must not log in as {me and me['rolname']}: such a login sees every tenant. "
                f"Give it the login that `outrider migrate` made."
            )
        owned = await transaction.driver.fetchval(
            "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1)::oid AND relowner = current_user::regrole",
            database.schema,
        )
        if owned:
            raise StartRefused(
                f"{database.service} logs in as the owner of its tables; use the login that `outrider migrate` made"
            )
        if await transaction.driver.fetchval("SELECT to_regclass($1) IS NULL", f"{database.schema}.alembic_version"):
            raise StartRefused(f"the database has no schema {database.schema} yet: run `outrider migrate`")
        found = await transaction.driver.fetchval("SELECT version_num FROM alembic_version")
        wanted = head(database.schema)
        if found != wanted:
            raise StartRefused(
                f"the schema of {database.service} is at {found}, this build needs {wanted}: run `outrider migrate`"
            )
