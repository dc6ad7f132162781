"""What tests of changes at providers stand on: callers, workers, and a network that can be cut at any line."""

from __future__ import annotations

from typing import Any

import httpx

from libs.database.engine import Database
from libs.ids import entity_id, parse_public_id, public_id
from libs.messaging.work import Units
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from services.provider_sync.effect_worker import EffectWorker
from services.provider_sync.handlers.operations import Accepted, Asking, Operations
from services.provider_sync.outgoing import make_http
from tests.integration.services.provider_sync.house import HURRIED, Account, House


class Killed(BaseException):
    """The process is gone: nothing after this line runs."""


class Wire(httpx.AsyncBaseTransport):
    """The network to the simulator. `kill`: "before" a write is sent, or "after" it was done."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.kill = ""
        self.writes: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_write = request.extensions.get("idempotent") is not True
        if is_write and self.kill == "before":
            raise Killed
        response = await self._inner.handle_async_request(request)
        if is_write:
            self.writes.append(f"{request.method} {request.url.path}")
            if self.kill == "after":
                raise Killed
        return response


class EffectsHouse(House):
    """A house whose calls go over `wire`; `worker_of` makes as many effect workers as replicas are wanted."""

    def __init__(self, database: Database, units: Units, provider: str = "smartlead", **simulated: Any) -> None:
        super().__init__(database, units, provider, **simulated)
        self.wire = Wire(httpx.ASGITransport(app=self.api))
        self.over_wire = make_http(self.wire)
        self.operations = Operations(units, self.over_wire, HURRIED)
        self.effects = self.worker_of()

    def worker_of(self) -> EffectWorker:
        return EffectWorker(self.units, self.over_wire, self.sealer, providers=HURRIED, at_once=4, poll_seconds=0.01)

    def asking(self, account: Account, key: str | None = None, scope: CompanyScope = ALL_COMPANIES) -> Asking:
        context = TenantContext(f"key:{account.org_id}", account.org_id, scope, frozenset())
        return Asking(context=context, request_id="req_" + "0" * 32, key=key)

    async def rows(self, account: Account, table: str) -> list[Any]:
        async with self.database.tenant_transaction(account.org_id) as session:
            return [*await session.fetch(f"SELECT * FROM {table} ORDER BY id")]

    async def state(self, account: Account, accepted: Accepted) -> str:
        return str((await self.row(account, accepted))["state"])

    async def row(self, account: Account, accepted: Accepted) -> Any:
        identifier = parse_public_id("op_sync", accepted.operation.id)
        return next(row for row in await self.rows(account, "operations") if row["id"] == identifier)

    async def later(self, account: Account) -> None:
        """Time passes: leases run out, and what waits is due."""
        async with self.database.tenant_transaction(account.org_id) as session:
            await session.execute(
                "UPDATE effects SET due_at = now(), lease_until = NULL, deadline = deadline - interval '1 hour' "
                "WHERE due_at IS NOT NULL"
            )

    async def finish(self, account: Account) -> None:
        """Until nothing happens by itself any more."""
        for _ in range(10):
            await self.later(account)
            if not await self.effects.run_due():
                return
        raise AssertionError("it never comes to rest")

    def campaign(self, account: Account, number: int = 0) -> str:
        """The public id of a campaign that the simulated account has."""
        external = str(self.simulator.account.campaigns[number].id)
        return public_id("cam", entity_id(account.id, "campaign", external))

    def calls(self, endpoint: str) -> int:
        return len(self.api.book.of(endpoint=endpoint))
