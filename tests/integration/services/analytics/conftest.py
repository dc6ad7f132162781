"""Facts as provider_sync tells them, and analytics as the gateway asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

import libs.contracts.events  # noqa: F401 - fills the registry
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import Envelope
from libs.contracts.event import Event, seal
from libs.contracts.events import (
    CampaignRecordedV1,
    EngagementRecordedV1,
    MessageRecordedV1,
    SequenceStepRecordedV1,
)
from libs.database.engine import Database
from libs.ids import CompanyId, OrgId, entity_id, new_id
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.providers.sightings import Reading
from libs.runtime.service import Platform
from libs.tenancy.context import ALL_COMPANIES, CompanyScope, TenantContext
from libs.tenancy.signing import HEADER, ContextSigner, ContextVerifier, new_private_key, public_key_of
from services.analytics.app import build
from services.analytics.consumers import consumers
from services.analytics.settings import AnalyticsSettings

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@dataclass
class Agency:
    """One org with one account; every factory gives an envelope, sealed as provider_sync would."""

    org_id: OrgId
    account_id: UUID = field(default_factory=new_id)
    company_id: CompanyId | None = None
    provider: str = "smartlead"
    channel: str = "email"

    def id_of(self, kind: str, key: str) -> UUID:
        return entity_id(self.account_id, kind, key)

    def seal(self, event: Event, company_id: CompanyId | None = None, source: str = "provider-sync") -> Envelope:
        return envelopes.read(seal(event, source=source, org_id=self.org_id, company_id=company_id).raw)

    def campaign(self, key: str = "c1", revision: int = 1, company: CompanyId | None = None, **more: Any) -> Envelope:
        fields: dict[str, Any] = {"name": f"Campaign {key}", "status": "active", "source": "pull"}
        fields |= {"provider": self.provider, "channel": self.channel} | more
        event = CampaignRecordedV1(
            campaign_id=self.id_of("campaign", key), account_id=self.account_id, revision=revision, external_id=key,
            **fields,
        )  # fmt: skip
        return self.seal(event, company or self.company_id)

    def step(self, number: int, campaign: str = "c1", revision: int = 1, **more: Any) -> Envelope:
        event = SequenceStepRecordedV1(
            step_id=self.id_of("sequence_step", f"{campaign}/{number}"), account_id=self.account_id,
            campaign_id=self.id_of("campaign", campaign), revision=revision, number=number, source="pull", **more,
        )  # fmt: skip
        return self.seal(event, self.company_id)

    def message(
        self,
        key: str,
        *,
        campaign: str | None = "c1",
        lead: str = "ines@example.com",
        revision: int = 1,
        step: int | None = 1,
        at: datetime | None = NOON,
        company: CompanyId | None = None,
        **more: Any,
    ) -> Envelope:
        fields: dict[str, Any] = {"direction": "outbound", "source": "webhook", "channel": self.channel} | more
        event = MessageRecordedV1(
            message_id=self.id_of("message", key), account_id=self.account_id,
            campaign_id=None if campaign is None else self.id_of("campaign", campaign), lead_id=self.id_of("lead", lead),
            conversation_id=self.id_of("conversation", lead), revision=revision,
            sequence_step_number=step if fields["channel"] == "email" else None, occurred_at=at, **fields,
        )  # fmt: skip
        return self.seal(event, company or self.company_id)

    def reply(self, key: str, **more: Any) -> Envelope:
        return self.message(key, direction="inbound", **more)

    def engagement(
        self,
        kind: str,
        message: str | None = None,
        *,
        key: str | None = None,
        campaign: str | None = "c1",
        lead: str = "ines@example.com",
        revision: int = 1,
        step: int | None = None,
        at: datetime = NOON + timedelta(hours=1),
        company: CompanyId | None = None,
        **more: Any,
    ) -> Envelope:
        event = EngagementRecordedV1(
            engagement_id=self.id_of("engagement", key or f"{kind}:{message or lead}"), account_id=self.account_id,
            campaign_id=None if campaign is None else self.id_of("campaign", campaign), lead_id=self.id_of("lead", lead),
            message_id=None if message is None else self.id_of("message", message), revision=revision, kind=kind,
            sequence_step_number=step, occurred_at=at, **({"source": "webhook", "channel": self.channel} | more),
        )  # fmt: skip
        return self.seal(event, company or self.company_id)


@dataclass
class ProviderSync:
    """What provider_sync makes of readings, in little: field by field the newer statement wins, each change a revision."""

    agency: Agency
    _known: dict[tuple[str, str], tuple[int, dict[str, tuple[datetime, Any]]]] = field(default_factory=dict)

    def told(self, readings: Iterable[Reading]) -> list[Envelope]:
        return [envelope for reading in readings for envelope in self._of(reading)]

    def _of(self, reading: Reading) -> Iterator[Envelope]:
        for campaign in reading.campaigns:
            revision, now = self._merge("campaign", campaign.external_id, campaign)
            if revision:
                told = {name: now.get(name) for name in ("name", "status")}
                yield self.agency.campaign(campaign.external_id, revision, **told, source="webhook")
        for message in reading.messages:
            revision, now = self._merge("message", message.key, message)
            if revision:
                yield self.agency.message(
                    message.key, campaign=now.get("campaign_external_id"), lead=now["lead_key"], revision=revision,
                    step=None if now.get("is_manual") else now.get("step_number"), at=now.get("occurred_at"),
                    direction=now["direction"], manual=now.get("is_manual"), inmail=now.get("is_inmail"),
                )  # fmt: skip
        for one in reading.engagements:
            revision, now = self._merge("engagement", one.key, one)
            if revision:
                yield self.agency.engagement(
                    one.kind, one.message_key, key=one.key, campaign=one.campaign_external_id, lead=one.lead_key,
                    revision=revision, step=now.get("step_number"), at=now["occurred_at"], details=one.details,
                )  # fmt: skip

    def _merge(self, kind: str, key: str, sighting: Any) -> tuple[int, dict[str, Any]]:
        """The new revision (0: nothing changed) and all that is known now."""
        revision, before = self._known.get((kind, key), (0, {}))
        known = dict(before)
        for name in (one.name for one in fields(sighting) if one.name not in ("key", "seen_at", "details")):
            value = getattr(sighting, name)
            if value is not None and (name not in known or sighting.seen_at >= known[name][0]):
                known[name] = (sighting.seen_at, value)
        told = {name: value for name, (_, value) in known.items()}
        if revision and told == {name: value for name, (_, value) in before.items()}:
            return 0, told
        self._known[kind, key] = (revision + 1, known)
        return revision + 1, told


class Analytics:
    """The service under test: `hears` delivers as the broker does, `asks` as the gateway does."""

    def __init__(self, database: Database, units: Units, client: httpx.AsyncClient, signer: ContextSigner) -> None:
        self.database = database
        self.units = units
        self._client = client
        self._signer = signer
        self._processors = {one.queue: Processor(database, one, "analytics") for one in consumers()}

    async def hears(self, *envelopes: Envelope, queue: str = "analytics.facts") -> None:
        """Deliver and see that nothing failed."""
        await self._processors[queue].deliver(envelopes)
        async with self.database.transaction() as transaction:
            await transaction.as_dispatch()
            failed = await transaction.driver.fetch("SELECT type, state, reason FROM inbox WHERE state <> 'done'")
        assert [dict(row) for row in failed] == []

    async def asks(
        self,
        path: str,
        org_id: OrgId,
        scope: CompanyScope = ALL_COMPANIES,
        permissions: Sequence[str] = ("analytics:read", "ledger:read"),
        **query: Any,
    ) -> httpx.Response:
        context = TenantContext("key:test", org_id, scope, frozenset(permissions))
        token = self._signer.sign(context, "analytics")
        return await self._client.get(path, params=query, headers={HEADER: token})

    async def told(self, path: str, org_id: OrgId, scope: CompanyScope = ALL_COMPANIES, **query: Any) -> dict[str, Any]:
        answer = await self.asks(path, org_id, scope, **query)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def rows(self, org_id: OrgId) -> dict[str, list[tuple[Any, ...]]]:
        """All projections of the org, for comparing."""
        async with self.database.tenant_transaction(org_id) as session:
            return {
                "campaigns": _plain(await session.fetch("SELECT * FROM campaigns ORDER BY campaign_id")),
                "steps": _plain(await session.fetch("SELECT * FROM steps ORDER BY step_id")),
                "messages": _plain(await session.fetch("SELECT * FROM messages ORDER BY message_id")),
                "engagements": _plain(await session.fetch("SELECT * FROM engagements ORDER BY engagement_id")),
            }


def _plain(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in rows]


@pytest.fixture
async def analytics(database: Callable[[str], Database], units: Callable[[str], Units]) -> AsyncIterator[Analytics]:
    private = new_private_key()
    platform = Platform(
        database("analytics"), units("analytics"), ContextVerifier([public_key_of(private)], "analytics")
    )
    service = build(platform, AnalyticsSettings())
    transport = httpx.ASGITransport(service.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://analytics") as client:
        yield Analytics(database("analytics"), units("analytics"), client, ContextSigner(private))


@pytest.fixture
def agency(make_org: Callable[[], OrgId]) -> Agency:
    return Agency(make_org())


@pytest.fixture
def stranger(agency: Agency, make_org: Callable[[], OrgId]) -> Agency:
    """Another tenant with the same provider account id and so the same entity ids: nothing but org_id tells them apart."""
    return Agency(make_org(), agency.account_id)


@pytest.fixture
def linkedin(agency: Agency) -> Agency:
    """The same tenant's account on LinkedIn."""
    return Agency(agency.org_id, provider="heyreach", channel="linkedin")
