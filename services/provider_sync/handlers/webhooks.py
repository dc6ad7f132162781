"""A provider's posts become facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from libs.clock import now
from libs.contracts.events import WebhookReceivedV1
from libs.errors import ContractViolated, TenantMismatch
from libs.ids import AccountId, entity_id
from libs.messaging import withholding
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import CampaignPulls, Pulls
from libs.providers.registry import Provider
from libs.providers.sightings import ReadBack, Source
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import JobKind, Wish
from services.provider_sync.domain.kinds import CAMPAIGN
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers import rotations, workspaces
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.judging import Judge
from services.provider_sync.repository.accounts import AccountRepository, EndpointRepository, Heard
from services.provider_sync.repository.health import CampaignWebhooks
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.repository.unknown import Count, UnknownWebhookRepository
from services.provider_sync.sealing import Sealer

QUEUE = "provider-sync.webhooks"


async def apply_webhooks(
    events: Sequence[WebhookReceivedV1], work: UnitOfWork, *, providers: Mapping[str, Provider], sealer: Sealer
) -> None:
    """Turn one org's webhooks into facts.

    Publishes `*.recorded` events for what is new. A payload without a provider time states nothing: it asks for a
    read-back, if the provider can be read there. A type that we do not know is counted, as is a wish that cannot be
    fulfilled; the bytes are kept by the door. What lacks the proof that its endpoint requires is withheld.

    What is told again for a replay of its delivery is read again only if it was done; if it was not, that very event is made
    due again in its place, so that nothing of one delivery is left dead behind another. Nobody posted it now: it is not
    counted, and a read-back that was done since it came is not asked for again.

    Raises:
        TenantMismatch: the account is none of this org's, or the payload names another workspace than the account's.
        ContractViolated: the bytes are no webhook of this provider.
    """
    events = await _without_waiting(events, work)
    if not events:
        return
    accounts, judged = await AccountRepository(work.session).find_all_judged(
        {AccountId(event.account_id) for event in events}
    )
    judge = Judge(judged, providers, sealer, work.session)
    told: list[Told] = []
    wishes: list[Wish] = []
    unknown: dict[tuple[AccountId, str], Count] = {}
    heard: list[Heard] = []
    posted: list[Told] = []
    for event in events:
        account = _account(accounts, event)
        verdict, refused = await judge(event)
        if refused is not None:
            work.withhold(event, refused)
            if event.envelope.replay_id is None:
                heard.append(Heard(event.endpoint_id, None, None, verdict, event.source_listed))
            continue
        is_replayed = event.envelope.replay_id is not None
        provider = providers[account.provider]
        reading = provider.webhooks.read_webhook(event.body)
        workspaces.check(account, reading)
        told.append(Told(account, reading, Source.WEBHOOK, event.envelope))
        asked = [_wish(account, provider, wish, event) for wish in reading.read_backs]
        wishes += [wish for wish in asked if wish is not None]
        if is_replayed:
            continue
        posted.append(told[-1])
        if not reading.recognized or None in asked:
            at = event.received_at
            unknown.setdefault((account.id, reading.event_type), Count(0, at, at)).add(at)
        token_id = event.token_id or event.endpoint_id  # the first has the endpoint's id
        heard.append(Heard(event.endpoint_id, token_id, event.envelope.time, verdict, event.source_listed))
    await record(told, work)
    # Of one key the last counts: one that was posted now.
    await JobRepository(work.session).ask_again(sorted(wishes, key=lambda wish: wish.told_at is None))
    await CampaignWebhooks(work.session).note(_campaigns(posted))
    if unknown:
        await UnknownWebhookRepository(work.session).add(unknown)
    # Last: all webhooks of an account meet in this row, and hold it until they commit.
    if not heard:
        return
    noted = await EndpointRepository(work.session).note_webhooks(heard)
    await rotations.note_uses(heard, noted, work, events[0].envelope)


async def _without_waiting(events: Sequence[WebhookReceivedV1], work: UnitOfWork) -> Sequence[WebhookReceivedV1]:
    replayed = {event.delivery_id for event in events if event.envelope.replay_id is not None}
    if not replayed:
        return events
    waiting = await withholding.again(work, QUEUE, replayed)
    return [event for event in events if event.envelope.replay_id is None or event.delivery_id not in waiting]


def _account(accounts: Mapping[AccountId, Account], event: WebhookReceivedV1) -> Account:
    account = accounts.get(AccountId(event.account_id))
    if account is None:
        raise TenantMismatch("a webhook came in for an account that this organization does not have")
    if account.provider != event.provider:
        raise ContractViolated("a webhook came in under another provider than its account's")
    return account


def _campaigns(told: Sequence[Told]) -> dict[UUID, datetime]:
    """Of which campaigns these webhooks tell, and when the last of them came."""
    found: dict[UUID, datetime] = {}
    for one in told:
        reading, at = one.reading, one.cause.time if one.cause is not None else now()
        named = {campaign.external_id for campaign in reading.campaigns}
        named |= {message.campaign_external_id or "" for message in reading.messages}
        named |= {engagement.campaign_external_id or "" for engagement in reading.engagements}
        named.discard("")
        for external_id in named:
            campaign_id = entity_id(one.account.id, CAMPAIGN.name, external_id)
            found[campaign_id] = max(at, found.get(campaign_id, at))
    return found


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
        told_at=None if event.envelope.replay_id is None else event.received_at,
    )
