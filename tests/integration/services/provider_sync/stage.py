"""What these tests stand on: an org with an account, webhooks as envelopes, a processor, and the rows at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from libs import clock
from libs.contracts import event as contract
from libs.contracts.envelope import Envelope
from libs.contracts.envelope import read as read_envelope
from libs.contracts.event import registry
from libs.contracts.events import WebhookReceivedV1
from libs.database.engine import Database, TenantSession
from libs.ids import AccountId, CompanyId, OrgId, new_id
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.providers.registry import PROVIDERS
from services.provider_sync.consumers import consumers
from services.provider_sync.domain.accounts import Account
from services.provider_sync.key_ring import KeyRing
from services.provider_sync.repository.accounts import (
    AccountRepository,
    CompanyRepository,
    Endpoint,
    EndpointRepository,
)
from services.provider_sync.sealing import Sealer

SEALER = Sealer(lambda: KeyRing(["5a" * 32]))
CORPUS = Path(__file__).parents[3] / "contract/providers"
TABLES = ("campaigns", "sequence_steps", "leads", "enrolments", "conversations", "messages", "engagements")
# What tells of the way and not of the state.
BOOKKEEPING = frozenset({"org_id", "revision", "created_at", "updated_at"})


@dataclass(frozen=True)
class Stage:
    """One org with one account; where the provider has sub-accounts, two of them are companies of their own."""

    org_id: OrgId
    account: Account
    endpoint_id: UUID
    now: datetime = datetime(2026, 7, 11, 12, tzinfo=UTC)

    def webhook(self, body: bytes, *, org_id: OrgId | None = None, **more: Any) -> Envelope:
        event = WebhookReceivedV1(
            delivery_id=new_id(),
            provider=self.account.provider,
            account_id=self.account.id,
            endpoint_id=self.endpoint_id,
            received_at=clock.now(),
            body=body,
            **more,
        )
        sealed = contract.seal(event, source="webhook-ingest", org_id=org_id or self.org_id)
        return read_envelope(sealed.raw)


async def set_stage(
    units: Units,
    org_id: OrgId,
    *,
    provider: str = "smartlead",
    account_id: AccountId | None = None,
    companies: Sequence[CompanyId] | None = None,
    endpoint_status: str = "registered",
) -> Stage:
    default, first, second = companies or [CompanyId(new_id()) for _ in range(3)]
    account = Account(
        id=account_id or AccountId(new_id()),
        provider=provider,
        channel=PROVIDERS[provider].channel.value,
        company_id=default,
        clients={"111": first, "222": second} if PROVIDERS[provider].has_clients else {},
    )
    endpoint_id = new_id()
    endpoint = Endpoint(endpoint_id, account.id, endpoint_status, b"sealed", endpoint_id)
    async with units.begin(org_id) as work:
        await CompanyRepository(work.session).keep({default: "Default", first: "First", second: "Second"})
        await AccountRepository(work.session).insert(account, name="Main", credentials=b"sealed")
        await EndpointRepository(work.session).insert(endpoint, token_sha256="0" * 64, last4="last")
    return Stage(org_id, account, endpoint.id)


def processor(database: Database, queue: str) -> Processor:
    found = next(one for one in consumers(PROVIDERS, SEALER) if one.queue == queue)
    return Processor(database, found, "provider-sync")


def payload(name: str, provider: str = "smartlead", /, **changes: Any) -> bytes:
    """A sample of the corpus, with fields of its top level changed; where those are objects, with fields of theirs."""
    sample = orjson.loads((CORPUS / provider / f"{name}.json").read_bytes())["payload"]
    for field, value in changes.items():
        before = sample.get(field)
        sample[field] = before | value if isinstance(before, dict) and isinstance(value, dict) else value
    return orjson.dumps(sample)


def readable(provider: str) -> list[bytes]:
    """Every payload of the provider's corpus that can be read, in the order of names."""
    found = [orjson.loads(path.read_bytes()) for path in sorted((CORPUS / provider).glob("*.json"))]
    return [orjson.dumps(one["payload"]) for one in found if "facts" in one and "payload" in one]


async def rows_of(database: Database, org_id: OrgId) -> dict[str, list[dict[str, Any]]]:
    """All entities of the org, without bookkeeping, in the order of ids."""
    found: dict[str, list[dict[str, Any]]] = {}
    async with database.tenant_transaction(org_id) as session:
        for table in TABLES:
            rows = await session.fetch(f"SELECT * FROM {table} ORDER BY id")
            found[table] = [{name: value for name, value in row.items() if name not in BOOKKEEPING} for row in rows]
    return found


async def told(database: Database, org_id: OrgId) -> list[Any]:
    """The events in the outbox of this org, opened, in the order of ids."""
    async with database.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch("SELECT envelope FROM outbox WHERE org_id = $1 ORDER BY id", org_id)
    return [registry.open(read_envelope(row["envelope"])) for row in rows]


async def inbox_states(database: Database, queue: str) -> dict[UUID, str]:
    async with database.transaction() as transaction:
        await transaction.as_dispatch()
        rows = await transaction.driver.fetch("SELECT event_id, state FROM inbox WHERE consumer = $1", queue)
    return {row["event_id"]: row["state"] for row in rows}


_ORG_FILTER = re.compile(r"\b(?:\w+\.)?org_id = \$1\b")


def forget_org_filters(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take `org_id = $1` out of every statement of every session; answers the (growing) list of those that had it."""
    forgotten: list[str] = []
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        original = getattr(TenantSession, name)

        async def without(self: TenantSession, sql: str, *arguments: Any, original: Any = original) -> Any:
            changed = _ORG_FILTER.sub("$1::uuid IS NOT NULL", sql)
            if changed != sql:
                forgotten.append(sql)
            return await original(self, changed, *arguments)

        monkeypatch.setattr(TenantSession, name, without)
    return forgotten
