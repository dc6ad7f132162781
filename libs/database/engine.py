"""A service's pool of connections, and the two kinds of transaction on it.

SQLAlchemy keeps the pool; transactions and statements go to its asyncpg connection directly (`fetch`, `execute`), with
`$1` parameters: BEGIN and the first view (whose rows, which role) are one round trip. A jsonb parameter is JSON text, and a
jsonb column comes back decoded, as SQLAlchemy puts its codec on the connection (`::text` avoids it).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.errors import DependencyDown, NotFound
from libs.ids import OrgId
from libs.tenancy.context import ALL_COMPANIES, CompanyScope

STATEMENT_TIMEOUT_SECONDS = 30
IDLE_IN_TRANSACTION_SECONDS = 60
READY_SECONDS = 2.0

_SCOPE = re.compile(r"\*|[0-9a-f,-]*")

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


class OrganizationErased(NotFound):
    """The organization was erased. Who asks is told what they are told of one that never was."""

    def __init__(self, org_id: OrgId) -> None:
        super().__init__("there is no organization with this id")
        self.org_id = org_id


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

    def __init__(
        self, driver: asyncpg.Connection, org_id: OrgId, scope: CompanyScope, *, is_suspended: bool = False
    ) -> None:
        self.org_id = org_id
        self.scope = scope
        self.is_suspended = is_suspended  # nothing may be begun at a provider for this org
        self._driver = driver

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
    """A transaction that may take several views, one after the other; it begins with the first. Only libs.messaging and
    this module make one."""

    def __init__(self, driver: asyncpg.Connection, dispatch_role: str) -> None:
        self._driver = driver
        self._dispatch_role = dispatch_role
        self.begun = False

    @property
    def driver(self) -> asyncpg.Connection:
        """For statements in the view that was taken last."""
        if not self.begun:
            raise RuntimeError("take a view first: as_tenant, as_dispatch or as_service")
        return self._driver

    async def as_tenant(
        self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES, *, even_erased: bool = False
    ) -> TenantSession:
        """From here on: rows of this org and scope only. `even_erased` is for who deletes them.

        Raises:
            OrganizationErased: no view of such an org is given, so nothing can be written for it.
        """
        # A multi-statement query takes no parameters: UUIDs are spelled by us.
        org, companies = str(UUID(str(org_id))), scope.setting()
        if not _SCOPE.fullmatch(companies):
            raise ValueError("a company scope is made of UUIDs")
        answer = await self._take(
            f"SET LOCAL app.org_id = '{org}'; SET LOCAL app.company_ids = '{companies}'; "
            f"SELECT FROM org_states WHERE org_id = '{org}' AND state <> 'active'"
        )
        # Such a query answers how many rows it found, and no rows: most orgs have none there, and are asked nothing more.
        state = "active"
        if answer != "SELECT 0":
            state = await self._driver.fetchval("SELECT state FROM org_states WHERE org_id = $1", org_id)
        if state == "erased" and not even_erased:
            raise OrganizationErased(org_id)
        return TenantSession(self._driver, org_id, scope, is_suspended=state == "suspended")

    async def as_dispatch(self, role: str | None = None) -> None:
        """From here on: the messaging tables of all orgs, and no other table."""
        await self._take(f'SET LOCAL ROLE "{role or self._dispatch_role}"')

    async def as_service(self) -> None:
        """From here on: what the service's login sees without a tenant (its look-up functions). The first view only."""
        if self.begun:
            raise RuntimeError("a tenant's view cannot be put off: begin another transaction")
        await self._take("SELECT 1")

    async def _take(self, view: str) -> str:
        """Answers what the last statement of `view` did."""
        opening = "SET LOCAL ROLE NONE" if self.begun else "BEGIN"
        self.begun = True
        return str(await self._driver.execute(f"{opening}; {view}"))

    async def commit(self) -> None:
        """Raises asyncpg.InFailedSQLTransactionError: a statement had failed, and its error was passed over."""
        if self.begun:
            ended = await self._driver.execute("COMMIT")
            self.begun = False
            if ended != "COMMIT":  # PostgreSQL answers so, without an error, when there was nothing left to commit
                raise asyncpg.InFailedSQLTransactionError("nothing was committed: an earlier statement had failed")

    async def rollback(self) -> None:
        if self.begun and not self._driver.is_closed():
            await self._driver.execute("ROLLBACK")
            self.begun = False


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
                transaction = Transaction(await self._driver(connection), self.dispatch_role)
                try:
                    yield transaction
                    await transaction.commit()
                except Exception:
                    await transaction.rollback()
                    raise
                finally:
                    if transaction.begun:
                        # Cancelled or cut off: a protocol in doubt. Never hand this connection to the next tenant.
                        await asyncio.shield(connection.invalidate())
        except Exception as error:
            if is_down(error):
                raise DependencyDown(f"the database of {self.service} is away: {type(error).__name__}") from error
            raise

    async def _driver(self, connection: AsyncConnection) -> asyncpg.Connection:
        """An open asyncpg connection: one that the server closed while it lay in the pool is replaced."""
        while True:
            driver: asyncpg.Connection = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
            if not driver.is_closed():
                return driver
            await connection.invalidate()

    async def why_away(self) -> str:
        """Nothing when the database answers in time; else what to tell whoever asks whether the service is ready."""
        try:
            async with asyncio.timeout(READY_SECONDS), self.transaction() as transaction:
                await transaction.as_service()
            return ""
        except (DependencyDown, TimeoutError):
            return f"the database of {self.service} does not answer"

    @asynccontextmanager
    async def tenant_transaction(
        self, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES
    ) -> AsyncIterator[TenantSession]:
        """A transaction that sees one org, within `scope`."""
        async with self.transaction() as transaction:
            yield await transaction.as_tenant(org_id, scope)

    async def close(self) -> None:
        await self.engine.dispose()
