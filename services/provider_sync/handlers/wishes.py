"""Events that ask for work at a provider become rows; a worker does it. Nothing here touches the network."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from libs.contracts.events import RepairRequestedV1, SnapshotRequestedV1, WebhookEndpointReadyV1
from libs.errors import TenantMismatch
from libs.ids import AccountId
from libs.messaging.work import UnitOfWork
from services.provider_sync.domain.jobs import JobKind, Wish
from services.provider_sync.repository.accounts import AccountRepository, EndpointRepository
from services.provider_sync.repository.jobs import JobRepository


async def ask_for_registrations(events: Sequence[WebhookEndpointReadyV1], work: UnitOfWork) -> None:
    """The door knows these endpoints: from now on the provider may be told their URLs.

    Raises:
        TenantMismatch: the endpoint is none of this org's.
    """
    causes = {(event.endpoint_id, event.token_id or event.endpoint_id): event.envelope for event in events}
    accounts = await EndpointRepository(work.session).make_ready(causes)
    if not {endpoint_id for endpoint_id, _ in causes} <= set(accounts):
        raise TenantMismatch("an endpoint became ready that this organization does not have")
    await JobRepository(work.session).ask(
        [
            Wish(
                account_id=accounts[endpoint_id],
                kind=JobKind.REGISTER_WEBHOOK,
                # The first token has the endpoint's id, and was asked for under it before there were others.
                key=f"register_webhook:{token_id}",
                payload={"endpoint_id": str(endpoint_id), "token_id": str(token_id)},
                cause=cause,
            )
            for (endpoint_id, token_id), cause in causes.items()
        ]
    )


async def ask_for_snapshots(events: Sequence[SnapshotRequestedV1], work: UnitOfWork) -> None:
    """Raises: TenantMismatch when the account is none of this org's."""
    await _check({AccountId(event.account_id) for event in events}, work)
    await JobRepository(work.session).ask(
        [
            Wish(
                account_id=AccountId(event.account_id),
                kind=JobKind.SNAPSHOT,
                key=f"snapshot:{event.run_id}:{event.pass_number}",
                payload={
                    "run_id": str(event.run_id),
                    "pass_number": event.pass_number,
                    "campaign_id": None if event.campaign_id is None else str(event.campaign_id),
                },
                cause=event.envelope,
            )
            for event in events
        ]
    )


async def ask_for_repairs(events: Sequence[RepairRequestedV1], work: UnitOfWork) -> None:
    """Raises: TenantMismatch when the account is none of this org's."""
    await _check({AccountId(event.account_id) for event in events}, work)
    await JobRepository(work.session).ask(
        [
            Wish(
                account_id=AccountId(event.account_id),
                kind=JobKind.REPAIR,
                # The event's id too: a campaign with very many leads is asked for in several events.
                key=f"repair:{event.run_id}:{event.pass_number}:{event.campaign_id}:{event.envelope.id}",
                payload={
                    "run_id": str(event.run_id),
                    "pass_number": event.pass_number,
                    "campaign_id": str(event.campaign_id),
                    "campaign_external_id": event.campaign_external_id,
                    "lead_keys": list(event.lead_keys),
                },
                cause=event.envelope,
            )
            for event in events
        ]
    )


async def _check(ids: Collection[AccountId], work: UnitOfWork) -> None:
    if len(await AccountRepository(work.session).find_all(ids)) < len(ids):
        raise TenantMismatch("work is asked for at an account that this organization does not have")
