"""A provider that answers as told, and reconciliation as the gateway asks it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import reduce
from operator import xor
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event, registry, seal
from libs.contracts.events import (
    CompanyArchivedV1,
    OrganizationResumedV1,
    OrganizationSuspendedV1,
    ProviderAccountChangedV1,
    SnapshotCapturedV1,
    SnapshotDifference,
    SnapshotDigest,
    SyncCompletedV1,
)
from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, entity_id, new_id, parse_public_id, public_id
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.providers.capabilities import RemoteMessageKey
from libs.runtime.service import Platform
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.reconciliation.app import build
from services.reconciliation.consumers import consumers
from services.reconciliation.repository.schedules import ScheduleRepository
from services.reconciliation.settings import ReconciliationSettings

DAY = date(2026, 3, 10)
SCHEDULES = "/reconciliation-schedules"
PERMISSIONS = (
    "drifts:read", "reconciliations:read", "reconciliations:start", "schedules:read", "schedules:run", "schedules:write",
)  # fmt: skip
E = TypeVar("E", bound=Event)


@dataclass
class Agency:
    """One org with one account, and what its provider_sync tells."""

    org_id: OrgId
    account_id: UUID = field(default_factory=new_id)
    company_id: CompanyId | None = None
    provider: str = "smartlead"

    def campaign(self, key: str = "c1") -> UUID:
        return entity_id(self.account_id, "campaign", key)

    def seal(self, event: Event, company_id: CompanyId | None = None) -> Envelope:
        company = company_id or self.company_id
        return envelopes.read(seal(event, source="provider-sync", org_id=self.org_id, company_id=company).raw)

    def account(self, revision: int = 1) -> Envelope:
        event = ProviderAccountChangedV1(
            account_id=self.account_id, revision=revision, provider=self.provider,
            channel="linkedin" if self.provider == "heyreach" else "email", name="Main", status="active",
        )  # fmt: skip
        return self.seal(event)

    def captured(
        self,
        run_id: UUID,
        campaign: str | None = "c1",
        *,
        pass_number: int = 1,
        part: int = 1,
        parts: int = 1,
        missing: Iterable[tuple[str, str]] = (),
        surplus: Iterable[tuple[str, str]] = (),
        kind: Any = "reply",
        error: str | None = None,
        company: CompanyId | None = None,
        differ: bool = False,
        only_keys: bool = False,
    ) -> Envelope:
        """One campaign compared: equal, unless keys are `missing` or `surplus`, or digests `differ`."""
        missing, surplus = tuple(missing), tuple(surplus)
        digests = (
            SnapshotDigest(
                kind=kind, day=DAY, provider_count=5 + len(missing), provider_hash="aa" if missing or surplus or differ else "bb",
                our_count=5 + len(surplus), our_hash="bb",
            ),
        )  # fmt: skip
        differences = (SnapshotDifference(kind=kind, day=DAY, missing=missing, surplus=surplus),)
        event = SnapshotCapturedV1(
            run_id=run_id, pass_number=pass_number, account_id=self.account_id,
            campaign_id=None if campaign is None else self.campaign(campaign), campaign_external_id=campaign or "",
            part=part, parts=parts, digests=() if error or only_keys else digests,
            differences=differences if missing or surplus else (), error=error,
        )  # fmt: skip
        return self.seal(event, company)

    def compared(
        self,
        run_id: UUID,
        campaign: str,
        listed: Iterable[RemoteMessageKey],
        held: Collection[str],
        *,
        pass_number: int = 1,
        part: int = 1,
        parts: int = 1,
    ) -> Envelope:
        """One campaign as its provider lists it, compared by kind and day with the keys that are held of it."""
        days: dict[tuple[Any, date], list[RemoteMessageKey]] = defaultdict(list)
        for one in listed:
            days[one.kind, one.occurred_at.astimezone(UTC).date()].append(one)
        digests, differences = [], []
        for (kind, day), keys in sorted(days.items()):
            theirs, ours = [one.key for one in keys], [one.key for one in keys if one.key in held]
            digests.append(
                SnapshotDigest(
                    kind=kind, day=day, provider_count=len(theirs), provider_hash=_xor(theirs), our_count=len(ours),
                    our_hash=_xor(ours),
                )
            )  # fmt: skip
            missing = tuple((one.key, one.lead_key) for one in keys if one.key not in held)
            if missing:
                differences.append(SnapshotDifference(kind=kind, day=day, missing=missing))
        event = SnapshotCapturedV1(
            run_id=run_id, pass_number=pass_number, account_id=self.account_id, campaign_id=self.campaign(campaign),
            campaign_external_id=campaign, part=part, parts=parts, digests=tuple(digests),
            differences=tuple(differences),
        )  # fmt: skip
        return self.seal(event)

    def answered(
        self, run_id: UUID, campaign: str = "c1", *, pass_number: int = 1, error: str | None = None
    ) -> Envelope:
        event = SyncCompletedV1(
            sync_id=new_id(), account_id=self.account_id, kind="repair", campaign_id=self.campaign(campaign), run_id=run_id,
            pass_number=pass_number, outcome="failed" if error else "done", error=error,
        )  # fmt: skip
        return self.seal(event)


def _xor(keys: Iterable[str]) -> str:
    hashes = (int.from_bytes(hashlib.sha256(key.encode()).digest()) for key in keys)
    return f"{reduce(xor, hashes, 0):064x}"


QUEUES = {
    OrganizationSuspendedV1.routing_key: "reconciliation.tenants",
    OrganizationResumedV1.routing_key: "reconciliation.tenants",
    CompanyArchivedV1.routing_key: "reconciliation.tenants",
    ProviderAccountChangedV1.routing_key: "reconciliation.accounts",
    SnapshotCapturedV1.routing_key: "reconciliation.snapshots",
    SyncCompletedV1.routing_key: "reconciliation.syncs",
}


class Reconciliation:
    """The service under test: `hears` delivers as the broker does, `asks` as the gateway does."""

    def __init__(self, database: Database, units: Units, client: httpx.AsyncClient, signer: ContextSigner) -> None:
        self.database = database
        self.units = units
        self._client = client
        self._signer = signer
        self._processors = {one.queue: Processor(database, one, "reconciliation") for one in consumers()}

    async def hears(self, *told: Envelope) -> None:
        """Deliver one batch per queue and see that nothing failed."""
        await self.delivers(*told)
        assert await self.failures() == []

    async def delivers(self, *told: Envelope) -> None:
        for queue in dict.fromkeys(QUEUES[envelope.type] for envelope in told):
            await self._processors[queue].deliver([one for one in told if QUEUES[one.type] == queue])

    async def failures(self) -> list[tuple[str, str]]:
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            rows = await transaction.driver.fetch("SELECT state, error_class FROM inbox WHERE state <> 'done'")
        return [(row["state"], row["error_class"]) for row in rows]

    async def told(self, org_id: OrgId, event_type: type[E]) -> list[E]:
        """What was published, in the order of ids."""
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            rows = await transaction.driver.fetch("SELECT envelope FROM outbox WHERE org_id = $1 ORDER BY id", org_id)
        found = [registry.open(envelopes.read(row["envelope"])) for row in rows]
        return [event for event in found if isinstance(event, event_type)]

    async def asks(
        self,
        method: str,
        path: str,
        org_id: OrgId,
        scope: CompanyScope = ALL_COMPANIES,
        permissions: Sequence[str] = PERMISSIONS,
        **more: Any,
    ) -> httpx.Response:
        context = TenantContext("key:test", org_id, scope, frozenset(permissions))
        headers = {HEADER: self._signer.sign(context, "reconciliation")}
        return await self._client.request(method, path, headers=headers, **more)

    async def starts(self, agency: Agency, **body: Any) -> UUID:
        await self.hears(agency.account())
        return await self.starts_again(agency, **body)

    async def starts_again(self, agency: Agency, **body: Any) -> UUID:
        answer = await self.asks(
            "POST", "/reconciliations", agency.org_id, json={"account_id": public_id("acc", agency.account_id)} | body
        )
        assert answer.status_code == 202, answer.text
        return parse_public_id("rec", answer.json()["id"])

    async def run(self, agency: Agency, run_id: UUID) -> dict[str, Any]:
        answer = await self.asks("GET", f"/reconciliations/{public_id('rec', run_id)}", agency.org_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def scheduled(self, agency: Agency, **body: Any) -> str:
        """The id of a new schedule of the agency's account, hourly from noon unless told otherwise."""
        await self.hears(agency.account())
        answer = await self.asks(
            "POST", SCHEDULES, agency.org_id,
            json={"account_id": public_id("acc", agency.account_id), "interval_seconds": 3600, "anchor": "2026-07-11T12:00:00Z"}
            | body,
        )  # fmt: skip
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def puts(self, agency: Agency, schedule: str, slot: str, **more: Any) -> httpx.Response:
        """Asks for a slot as the scheduler's key does."""
        path = f"{SCHEDULES}/{schedule}/slots/{slot}"
        return await self.asks("PUT", path, agency.org_id, permissions=("schedules:run",), **more)

    async def slots(self, agency: Agency, schedule: str) -> list[tuple[str, str]]:
        """(hour, state) of what was decided, oldest first."""
        answer = await self.asks("GET", f"{SCHEDULES}/{schedule}/slots", agency.org_id)
        assert answer.status_code == 200, answer.text
        return [(one["slot"][11:16], one["state"]) for one in reversed(answer.json()["data"])]

    async def runs(self, agency: Agency) -> list[dict[str, Any]]:
        answer = await self.asks("GET", "/reconciliations", agency.org_id)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])

    async def drifts(self, agency: Agency, run_id: UUID, **query: Any) -> list[dict[str, Any]]:
        path = f"/reconciliations/{public_id('rec', run_id)}/drifts"
        answer = await self.asks("GET", path, agency.org_id, params=query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"])


@pytest.fixture
async def reconciliation(
    database: Callable[[str], Database], units: Callable[[str], Units]
) -> AsyncIterator[Reconciliation]:
    private = new_private_key()
    verifier = ContextVerifier([public_key_of(private)], "reconciliation")
    platform = Platform(database("reconciliation"), units("reconciliation"), verifier)
    service = build(platform, ReconciliationSettings())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(service.app), base_url="http://reconciliation"
    ) as client:
        yield Reconciliation(platform.database, platform.units, client, ContextSigner(private))


@dataclass
class DatabaseClock:
    """The database's clock as schedules are judged by it; a test moves it by hand."""

    now: datetime


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DatabaseClock:
    held = DatabaseClock(datetime(2026, 7, 11, 11, 30, tzinfo=UTC))

    async def now(_: ScheduleRepository) -> datetime:
        return held.now

    monkeypatch.setattr(ScheduleRepository, "now", now)
    return held


@pytest.fixture
def agency(make_org: Callable[[], OrgId]) -> Agency:
    return Agency(make_org())


@pytest.fixture
def stranger(agency: Agency, make_org: Callable[[], OrgId]) -> Agency:
    """Another tenant whose account has the same id, and so the same campaigns: nothing but org_id tells them apart."""
    return Agency(make_org(), agency.account_id)
