"""The service with a simulated provider instead of the network, and accounts opened as a user would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx

from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.envelope import read as read_envelope
from libs.contracts.events import (
    ProviderAccountChangedV1,
    SnapshotCapturedV1,
    SnapshotRequestedV1,
    WebhookEndpointChangedV1,
    WebhookEndpointReadyV1,
)
from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, new_id, public_id
from libs.messaging.work import Units
from libs.providers.emailbison.simulator import EmailBisonSimulator, emailbison_app
from libs.providers.heyreach.simulator import HeyReachSimulator, heyreach_app
from libs.providers.registry import PROVIDERS
from libs.providers.smartlead.simulator import SmartleadSimulator, smartlead_app
from services.provider_sync.domain.accounts import Account as KnownAccount
from services.provider_sync.handlers.accounts import open_account
from services.provider_sync.jobs import SyncWorker
from services.provider_sync.key_ring import KeyRing
from services.provider_sync.outgoing import make_http
from services.provider_sync.repository.accounts import CompanyRepository
from services.provider_sync.repository.syncs import SyncRepository
from services.provider_sync.schemas import NewAccount
from services.provider_sync.sealing import Sealer
from services.provider_sync.sync_worker import SyncRunWorker
from tests.integration.services.provider_sync.stage import Stage, processor, told

KEY = "5a" * 32


@dataclass
class Account:
    """An account of a simulated provider, opened as a user would."""

    org_id: OrgId
    id: Any
    company_id: CompanyId
    endpoint: WebhookEndpointChangedV1


# Who plays the provider, its API, and the path of that.
PLAYED: dict[str, tuple[Any, Any, str]] = {
    "smartlead": (SmartleadSimulator, smartlead_app, "/api/v1"),
    "heyreach": (HeyReachSimulator, heyreach_app, "/api/public"),
    "emailbison": (EmailBisonSimulator, emailbison_app, ""),
}


HURRIED = {name: replace(provider, calls_per_minute=100_000) for name, provider in PROVIDERS.items()}


class House:
    """The service's worker and consumers, and a simulated provider instead of the network."""

    def __init__(self, database: Database, units: Units, provider: str = "smartlead", **simulated: Any) -> None:
        simulator, app, self.path = PLAYED[provider]
        self.database, self.units, self.provider = database, units, provider
        self.simulator = simulator(**{"seed": 5} | simulated)
        self.api = app(self.simulator)
        self.http = make_http(httpx.ASGITransport(app=self.api))
        self.sealer = Sealer(lambda: KeyRing([KEY]))
        self.worker = SyncWorker(
            units, self.http, self.sealer, providers=HURRIED, jobs_at_once=4, poll_seconds=0.01,
            public_webhook_url="https://hooks.example.com/",
        )  # fmt: skip

    def reader(self, **more: Any) -> SyncRunWorker:
        """A replica's worker that reads accounts."""
        given: dict[str, Any] = {
            "providers": HURRIED,
            "at_once": 4,
            "poll_seconds": 0.01,
            "full_every": timedelta(days=7),
        }
        return SyncRunWorker(self.units, self.http, self.sealer, **given | more)

    async def ask_to_sync(self, account: Account, *, is_full: bool = False) -> UUID | None:
        async with self.units.begin(account.org_id) as work:
            return await SyncRepository(work.session).begin(
                account.id, account.company_id, reason="request", is_full=is_full
            )

    async def sync(self, account: Account, *, is_full: bool = False) -> Any:
        """Read the account; answers the run's row."""
        run_id = await self.ask_to_sync(account, is_full=is_full)
        await self.reader().run_due()
        return await self.run(account, run_id)

    async def run(self, account: Account, run_id: UUID | None) -> Any:
        async with self.database.tenant_transaction(account.org_id) as session:
            return await session.fetchrow("SELECT * FROM sync_runs WHERE id = $1", run_id)

    async def open_account(self, org_id: OrgId, base_url: str | None = None) -> Account:
        company_id = CompanyId(new_id())
        body = NewAccount.model_validate(
            {
                "provider": self.provider,
                "name": "Main",
                "company_id": public_id("cmp", company_id),
                "base_url": base_url or f"http://127.0.0.1{self.path}",
                "credentials": {"api_key": self.simulator.api_key},
            }
        )
        async with self.units.begin(org_id) as work:
            await CompanyRepository(work.session).keep({company_id: "One"})
            await open_account(body, work, providers=PROVIDERS, sealer=self.sealer, allow_loopback=True)
        events = await told(self.database, org_id)
        opened = next(event for event in events if isinstance(event, ProviderAccountChangedV1))
        endpoint = next(event for event in events if isinstance(event, WebhookEndpointChangedV1))
        return Account(org_id, opened.account_id, company_id, endpoint)

    async def deliver(self, account: Account, bodies: Iterable[bytes], **more: Any) -> list[Envelope]:
        """Hear these webhooks in one batch; `more` are fields of their events."""
        envelopes = [self.webhook(account, body, **more) for body in bodies]
        await processor(self.database, "provider-sync.webhooks").deliver(envelopes)
        return envelopes

    def webhook(self, account: Account, body: bytes, **more: Any) -> Envelope:
        known = KnownAccount(account.id, self.provider, PROVIDERS[self.provider].channel.value, account.company_id)
        return Stage(account.org_id, known, account.endpoint.endpoint_id).webhook(body, **more)

    async def hear(self, account: Account, queue: str, event: Any) -> None:
        sealed = contract.seal(event, source=event.publisher, org_id=account.org_id)
        await processor(self.database, queue).deliver([read_envelope(sealed.raw)])

    async def make_ready(self, account: Account, token_id: UUID | None = None) -> None:
        ready = WebhookEndpointReadyV1(endpoint_id=account.endpoint.endpoint_id, token_id=token_id)
        await self.hear(account, "provider-sync.endpoints", ready)

    async def snapshot(self, account: Account, **more: Any) -> list[SnapshotCapturedV1]:
        event = SnapshotRequestedV1(run_id=new_id(), pass_number=1, account_id=account.id, **more)
        await self.hear(account, "provider-sync.snapshots", event)
        await self.worker.run_due()
        captured: list[SnapshotCapturedV1] = await self.told(account, SnapshotCapturedV1)
        return [one for one in captured if one.run_id == event.run_id]

    async def told(self, account: Account, kind: type) -> list[Any]:
        return [event for event in await told(self.database, account.org_id) if isinstance(event, kind)]

    async def endpoint(self, account: Account) -> Any:
        async with self.database.tenant_transaction(account.org_id) as session:
            return await session.fetchrow("SELECT * FROM endpoints")

    async def jobs(self, account: Account) -> list[Any]:
        async with self.database.tenant_transaction(account.org_id) as session:
            return [*await session.fetch("SELECT * FROM sync_jobs ORDER BY created_at, id")]

    async def make_due(self, account: Account, *, but: str = "") -> None:
        """All of the account's jobs, `but` those of this kind."""
        async with self.database.tenant_transaction(account.org_id) as session:
            await session.execute(
                "UPDATE sync_jobs SET due_at = now(), lease_until = now() - interval '1 second' WHERE kind <> $1", but
            )
