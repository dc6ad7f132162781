"""What must be true of the database before a service takes work: each refusal is one line that says what to do."""

from __future__ import annotations

import asyncpg

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
    try:
        await _check(database)
    except asyncpg.InvalidAuthorizationSpecificationError:
        raise StartRefused(
            f"the database does not take the login of {database.service}: run `outrider migrate`, or mend "
            f"{database.service.upper()}_DATABASE_URL"
        ) from None
    except asyncpg.InvalidCatalogNameError as error:
        raise StartRefused(f"{error.args[0]}: create it, then run `outrider migrate`") from None


async def _check(database: Database) -> None:
    async with database.transaction() as transaction:
        await transaction.as_service()
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
        if not await transaction.driver.fetchval(
            "SELECT coalesce(has_schema_privilege(to_regnamespace($1)::oid, 'USAGE'), true)", database.schema
        ):
            raise StartRefused(
                f"{database.service} must not log in as {me['rolname']}, which may not use its schema; "
                f"use the login that `outrider migrate` made for it"
            )
        if await transaction.driver.fetchval("SELECT to_regclass($1) IS NULL", f"{database.schema}.alembic_version"):
            raise StartRefused(f"the database has no schema {database.schema} yet: run `outrider migrate`")
        found = await transaction.driver.fetchval("SELECT version_num FROM alembic_version")
        wanted = head(database.schema)
        if found != wanted:
            raise StartRefused(
                f"the schema of {database.service} is at {found}, this build needs {wanted}: run `outrider migrate`"
            )
