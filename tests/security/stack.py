"""All five services as their composition roots build them, on one test database and in this process.

Nothing runs by itself: events, jobs and counts move when told to (`settle`), so a test sees every step, and in order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.database.engine import Database
from libs.database.names import process_name
from libs.messaging import ledger
from libs.messaging.in_process import InProcessTransport
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.runtime.service import Platform, Service
from libs.tenancy.signing import ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.gateway.app import build as build_gateway
from services.gateway.bootstrap import ensure_platform_key
from services.gateway.settings import GatewaySettings
from services.provider_sync.app import build as build_provider_sync
from services.provider_sync.settings import ProviderSyncSettings
from services.reconciliation.app import build as build_reconciliation
from services.reconciliation.settings import ReconciliationSettings
from services.webhook_ingest.app import build as build_webhook_ingest
from services.webhook_ingest.settings import WebhookIngestSettings
from tests.fixtures.database import MigratedDatabase

OWNERS = ("webhook_ingest", "provider_sync", "reconciliation", "analytics")
GATEWAY_URL = "http://gateway.example.com"
PEPPER = "pepper-of-the-stack"
NO_LIMIT = 10_000_000
FAST = 100_000  # calls a minute to a simulated provider: nothing here waits for a budget
_ROUNDS = 200  # of settling; more means that something goes round in circles


class Network:
    """What provider_sync reaches: simulated providers, told apart by the port of the address."""

    def __init__(self) -> None:
        self._apps: dict[int, ASGIApp] = {}

    def serve(self, app: ASGIApp) -> str:
        """The address at which `app` answers from now on."""
        port = 1001 + len(self._apps)
        self._apps[port] = app
        return f"http://127.0.0.1:{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[scope["server"][1]](scope, receive, send)


@dataclass
class Stack:
    """`apps` by process name: the gateway's front, the door, and each owner's inner face."""

    databases: dict[str, Database]
    services: dict[str, Service]
    transport: InProcessTransport
    network: Network
    private_key: str
    gateway_settings: GatewaySettings
    platform_key: str = ""
    _processors: list[Processor] = field(default_factory=list)

    @property
    def apps(self) -> dict[str, ASGIApp]:
        return {process_name(name): service.app for name, service in self.services.items()}

    @property
    def processors(self) -> list[Processor]:
        return self._processors

    def signer(self) -> ContextSigner:
        """Signs as the gateway does."""
        return ContextSigner(self.private_key)

    def new_gateway(self) -> Service:
        """Another replica, which remembers nothing."""
        database = self.databases["gateway"]
        owners = {process: app for process, app in self.apps.items() if process != "gateway"}
        verifier = ContextVerifier([public_key_of(self.private_key)], "gateway")
        return build_gateway(Platform(database, Units(database, "gateway"), verifier, owners), self.gateway_settings)

    async def ask(
        self, method: str, path: str, key: str | None = None, *, org: str | None = None, **more: Any
    ) -> httpx.Response:
        """Ask the gateway, as a client would."""
        headers = dict(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if org is not None:
            headers["Outrider-Org"] = org
        return await ask(self.apps["gateway"], method, path, headers=headers, **more)

    async def post(self, url: str, body: bytes) -> httpx.Response:
        """Post to the door, as a provider does."""
        return await ask(self.apps["webhook-ingest"], "POST", httpx.URL(url).path, content=body)

    async def settle(self) -> None:
        """Until every outbox is relayed, every due event handled, every due job done and every count told."""
        for _ in range(_ROUNDS):
            moved = 0
            for database in self.databases.values():
                moved += await self.transport.relay(database, 1000)
            for processor in self._processors:
                moved += await processor.run_due()
            for service in self.services.values():
                for job in service.jobs:
                    due = getattr(getattr(job.run, "__self__", None), "run_due", None)
                    moved += await due() if due is not None else 0
            if not moved:  # counting last: what moves is counted, and each telling of counts moves
                moved += sum([await ledger.fold(one, process_name(name)) for name, one in self.databases.items()])
            if not moved:
                return
        raise AssertionError("the services never come to rest")


async def settle_ahead(stack: Stack, admin: asyncpg.Connection) -> None:
    """Settle, and do at once also what would be done later: no test should depend on how long it takes."""
    for _ in range(_ROUNDS):
        await stack.settle()
        moved = 0
        for table in ("sync_jobs", "effects"):
            done = await admin.execute(
                f"UPDATE provider_sync.{table} SET due_at = now() WHERE due_at > now() {_WAITING[table]}"
            )
            moved += int(done.rsplit(" ", 1)[-1])
        if not moved:
            return
    raise AssertionError("something is always put off")


# What comes again and again (the look at a registered webhook) is left to its own time.
WAITING_JOBS = "state = 'due' AND kind <> 'verify_webhook'"
_WAITING = {"sync_jobs": f"AND {WAITING_JOBS}", "effects": ""}


async def ask(app: ASGIApp, method: str, path: str, **more: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=GATEWAY_URL) as client:
        return await client.request(method, path, **more)


@asynccontextmanager
async def opened(migrated: MigratedDatabase, settings: Mapping[str, Any] | None = None) -> AsyncIterator[Stack]:
    """The stack on this database; `settings` are more of the gateway's."""
    async with AsyncExitStack() as stack:
        private = new_private_key()
        network = Network()
        databases = {name: migrated.open(name) for name in (*OWNERS, "gateway")}
        standalone = migrated.open("standalone")
        for database in (*databases.values(), standalone):
            stack.push_async_callback(database.close)
        gateway_settings = GatewaySettings(
            edit_dead_letters=True,
            key_pepper=SecretStr(PEPPER),
            context_private_key=SecretStr(private),
            rate_limit_per_org=NO_LIMIT,
            failed_sign_ins_per_address=NO_LIMIT,
            rate_limit_per_key=NO_LIMIT,
            **(settings or {}),
        )
        made = Stack(databases, {}, InProcessTransport(standalone), network, private, gateway_settings)
        key = SecretStr("5a" * 32)

        def platform(name: str) -> Platform:
            process = process_name(name)
            verifier = ContextVerifier([public_key_of(private)], process)
            return Platform(databases[name], Units(databases[name], process), verifier)

        made.services = {
            "webhook_ingest": build_webhook_ingest(
                platform("webhook_ingest"), WebhookIngestSettings(edit_dead_letters=True)
            ),
            "provider_sync": build_provider_sync(
                platform("provider_sync"),
                ProviderSyncSettings(
                    edit_dead_letters=True,
                    credential_key=key,
                    cursor_key=key,
                    allow_loopback=True,
                    calls_per_minute=f"smartlead={FAST},emailbison={FAST},heyreach={FAST}",
                    public_webhook_url="http://door.example.com",
                ),
                transport=httpx.ASGITransport(network),
            ),
            "reconciliation": build_reconciliation(
                platform("reconciliation"), ReconciliationSettings(edit_dead_letters=True)
            ),
            "analytics": build_analytics(platform("analytics"), AnalyticsSettings(edit_dead_letters=True)),
        }
        made.services["gateway"] = made.new_gateway()
        for name, service in made.services.items():
            if service.closing is not None:
                stack.push_async_callback(service.closing)
            made._processors += [Processor(databases[name], one, process_name(name)) for one in service.consumers]
        for processor in made._processors:
            made.transport.attach(processor)
        made.platform_key = await ensure_platform_key(databases["gateway"], PEPPER) or ""
        yield made
