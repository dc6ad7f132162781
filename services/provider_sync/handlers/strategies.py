"""How an account's messages are followed, as it is shown to whoever may choose."""

from __future__ import annotations

from collections.abc import Mapping

from libs.clock import now
from libs.errors import Invalid, NotFound
from libs.ids import AccountId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import Pulls
from libs.providers.registry import Provider
from services.provider_sync.domain import strategy
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.strategies import StrategyRepository
from services.provider_sync.schemas import FollowedOut, SyncStrategyOut


async def show_strategy(account_id: str, work: UnitOfWork, providers: Mapping[str, Provider]) -> SyncStrategyOut:
    """Raises: NotFound; Invalid for an account of a provider that this build does not know."""
    identifier = AccountId(parse_public_id("acc", account_id))
    account = (await AccountRepository(work.session).find_all([identifier])).get(identifier)
    if account is None:
        raise NotFound("there is no acc_ object with this id")
    provider = providers.get(account.provider)
    if provider is None:
        raise Invalid("this build does not know the account's provider")
    moment = now()
    # Whole days: who asks twice on one day is told of the same window.
    since = (moment - strategy.WINDOW).replace(hour=0, minute=0, second=0, microsecond=0)
    evidence = await StrategyRepository(work.session).evidence(account.id, since)
    advice = strategy.advise(provider, evidence, moment)
    same = (
        "messages by_webhook_only by_pull_only by_both missed_by_webhooks without_campaign without_step engagements "
        "running_campaigns"
    )
    return SyncStrategyOut(
        account_id=public_id("acc", account.id),
        company_id=public_id("cmp", account.company_id),
        provider=provider.name,
        current=strategy.mode_of(provider, account.chosen_sync_mode).value,
        choices=[] if provider.offers(Pulls) else [choice.value for choice in strategy.CHOICES],
        recommended=advice.mode.value,
        because=list(advice.because),
        evidence=FollowedOut(
            since=since,
            webhook_endpoint_status=evidence.endpoint_status,
            last_webhook_at=evidence.heard_at,
            **{name: getattr(evidence, name) for name in same.split()},
        ),
        as_of=moment,
    )
