"""A provider's posts become facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from libs.contracts.events import WebhookReceivedV1
from libs.errors import ContractViolated, TenantMismatch
from libs.ids import AccountId
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import CampaignPulls, Pulls
from libs.providers.registry import Provider
from libs.providers.sightings import ReadBack, Source
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import JobKind, Wish
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers import workspaces
from services.provider_sync.handlers.facts import record
from services.provider_sync.repository.accounts import AccountRepository, EndpointRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.repository.unknown import Count, UnknownWebhookRepository


async def apply_webhooks(
    events: Sequence[WebhookReceivedV1], work: UnitOfWork, *, providers: Mapping[str, Provider]
) -> None:
    """Turn one org's webhooks into facts.

    Publishes `*.recorded` events for what is new. A payload without a provider time states nothing: it asks for a
    read-back, if the provider can be read there. A type that we do not know is counted, as is a wish that cannot be
    fulfilled; the bytes are kept by the door.

    Raises:
        TenantMismatch: the account is none of this org's, or the payload names another workspace than the account's.
        ContractViolated: the bytes are no webhook of this provider.
    """
    accounts = await AccountRepository(work.session).find_all({AccountId(event.account_id) for event in events})
    told: list[Told] = []
    wishes: list[Wish] = []
    unknown: dict[tuple[AccountId, str], Count] = {}
    newest: dict[UUID, datetime] = {}
    for event in events:
        account = _account(accounts, event)
        provider = providers[account.provider]
        reading = provider.webhooks.read_webhook(event.body)
        workspaces.check(account, reading)
        told.append(Told(account, reading, Source.WEBHOOK, event.envelope))
        asked = [_wish(account, provider, wish, event) for wish in reading.read_backs]
        wishes += [wish for wish in asked if wish is not None]
        if not reading.recognized or None in asked:
            at = event.received_at
            unknown.setdefault((account.id, reading.event_type), Count(0, at, at)).add(at)
        newest[event.endpoint_id] = max(event.envelope.time, newest.get(event.endpoint_id, event.envelope.time))
    await record(told, work)
    await JobRepository(work.session).ask_again(wishes)
    if unknown:
        await UnknownWebhookRepository(work.session).add(unknown)
    # Last: all webhooks of an account meet in this row, and hold it until they commit.
    await EndpointRepository(work.session).note_webhooks(newest)


def _account(accounts: Mapping[AccountId, Account], event: WebhookReceivedV1) -> Account:
    account = accounts.get(AccountId(event.account_id))
    if account is None:
        raise TenantMismatch("a webhook came in for an account that this organization does not have")
    if account.provider != event.provider:
        raise ContractViolated("a webhook came in under another provider than its account's")
    return account


def _wish(account: Account, provider: Provider, wish: ReadBack, event: WebhookReceivedV1) -> Wish | None:
    """None when nothing names a campaign, or the provider cannot be asked: then there is nowhere to read."""
    is_campaign = wish.kind == "campaign"
    campaign = wish.external_id if is_campaign else wish.campaign_external_id
    if campaign is None or not provider.offers(CampaignPulls if is_campaign else Pulls):
        return None
    lead_key = None if is_campaign else wish.external_id
    return Wish(
        account_id=account.id,
        kind=JobKind.READ_BACK,
        key=f"read_back:{account.id}:{campaign}:{lead_key or ''}",
        payload={"campaign_external_id": campaign, "lead_key": lead_key, "reason": wish.reason},
        cause=event.envelope,
    )
