"""A service's pool of connections, and the two kinds of transaction on it.

SQLAlchemy keeps the pool and the transaction; statements on hot paths go to its asyncpg connection directly (`fetch`,
`execute`), with `$1` parameters. There a jsonb parameter is JSON text, and a jsonb column comes back decoded, as SQLAlchemy
puts its codec on the connection (`::text` avoids it).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.errors import DependencyDown
from libs.ids import OrgId
from libs.tenancy.context import ALL_COMPANIES, CompanyScope

STATEMENT_TIMEOUT_SECONDS = 30
IDLE_IN_TRANSACTION_SECONDS = 60

# The server, the network or the pool is at fault, not the statement: wait, and charge nobody.
_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.DiskFullError,
    OSError,
    InterfaceError,
    OperationalError,
    PoolTimeout,
)


def is_down(error: BaseException) -> bool:
    """Whether `error` means that the database is away (or refuses all work), rather than that a statement is wrong."""
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.__cause__ is not None:
        return isinstance(error.orig.__cause__, _AWAY)
    return isinstance(error, _AWAY)


def is_conflict(error: BaseException) -> bool:
    """Whether running the same transaction again at once may well succeed (deadlock, serialization failure)."""
    return isinstance(error, asyncpg.DeadlockDetectedError | asyncpg.SerializationError)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """`postgresql://user:password@host:port/name`, with the schema that the service lives in."""

    url: str
    schema: str

    @property
    def for_sqlalchemy(self) -> str:
        return self.url.replace("postgresql://", "postgresql+asyncpg://", 1)


class TenantSession:
    """One org's view inside a transaction. It cannot be made without a tenant, so neither can a query."""

    def __init__(self, connection: AsyncConnection, driver: Any, org_id: OrgId, scope: CompanyScope) -> None:
        self.connection = connection
        self.org_id = org_id
        self.scope = scope
        self._driver: asyncpg.Connection = driver

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return list(await self._driver.fetch(sql, *arguments))

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        return await self._driver.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        return await self._driver.fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> int:
        """Runs a statement; answers how many rows it touched."""
        tag = await self._driver.execute(sql, *arguments)
        last = str(tag).rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def executemany(self, sql: str, arguments: Sequence[Sequence[Any]]) -> None:
        await self._driver.executemany(sql, arguments)


class Transaction:
    """A transaction that may take several orgs' views, one after the other. Only libs.messaging and this module make one."""

    def __init__(self, connection: AsyncConnection, driver: Any, dispatch_role: str) -> None:
        self._connection = connection
        self._dispatch_role = dispatch_role
        self.driver: asyncpg.Connection = driver

    async def as_tenant(self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES) -> TenantSession:
        """From here on: rows of this org and scope only."""
        await self.driver.execute("SET LOCAL ROLE NONE")
        seen = await self.driver.fetchval(
            "SELECT set_config('app.org_id', $1, true) || set_config('app.company_ids', $2, true)",
            str(org_id),
            scope.setting(),
        )
        if seen != str(org_id) + scope.setting():
            raise DependencyDown("the database did not take the tenant context")
        return TenantSession(self._connection, self.driver, org_id, scope)

    async def as_dispatch(self, role: str | None = None) -> None:
        """From here on: the messaging tables of all orgs, and no other table."""
        await self.driver.execute(f'SET LOCAL ROLE "{role or self._dispatch_role}"')


class Database:
    """One service's database: its pool, its schema, its dispatch role."""

    def __init__(self, url: DatabaseUrl, *, service: str, dispatch_role: str, pool_size: int = 10) -> None:
        self.url = url
        self.service = service
        self.schema = url.schema
        self.dispatch_role = dispatch_role
        self.engine: AsyncEngine = create_async_engine(
            url.for_sqlalchemy,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=10,
            pool_recycle=1800,
            connect_args={
                "timeout": 5,
                "server_settings": {
                    "search_path": url.schema,
                    "application_name": service,
                    "statement_timeout": str(STATEMENT_TIMEOUT_SECONDS * 1000),
                    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_SECONDS * 1000),
                },
            },
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits at the end of the block, rolls back on any error.

        Raises:
            DependencyDown: the database is away; nothing was committed as far as we know.
        """
        try:
            async with self.engine.connect() as connection:
                try:
                    await connection.exec_driver_sql(
                        "SELECT 1"
                    )  # SQLAlchemy begins its transaction with the first statement
                    driver = (await connection.get_raw_connection()).driver_connection
                    yield Transaction(connection, driver, self.dispatch_role)
                    await connection.commit()
                except asyncio.CancelledError:
                    # A cancelled statement leaves the protocol in doubt: never hand this connection to the next tenant.
                    await asyncio.shield(connection.invalidate())
                    raise
        except Exception as error:
            if is_down(error):
                raise DependencyDown(f"the database of {self.service} is away: {type(error).__name__}") from error
            raise

    @asynccontextmanager
    async def tenant_transaction(
        self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES
    ) -> AsyncIterator[TenantSession]:
        """A transaction that sees one org, within `scope`."""
        async with self.transaction() as transaction:
            yield await transaction.as_tenant(org_id, scope)

    async def close(self) -> None:
        await self.engine.dispose()
