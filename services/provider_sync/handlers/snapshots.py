"""Counting what the provider holds, and comparing it with what we hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from libs.contracts.events import SnapshotCapturedV1
from libs.errors import ContractViolated, PermanentError
from libs.ids import entity_id
from libs.messaging.failures import reason_of
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import RemoteMessageKey, Snapshots
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.comparing import Comparison, compare, split
from services.provider_sync.domain.jobs import Job
from services.provider_sync.domain.kinds import CAMPAIGN
from services.provider_sync.repository.messages import HeldMessages


@dataclass(frozen=True, slots=True)
class Listed:
    """One campaign as the provider lists it; `error` says why it cannot be listed."""

    external_id: str
    keys: Sequence[RemoteMessageKey] = ()
    error: str | None = None


async def wanted_campaign(job: Job, work: UnitOfWork) -> str | None:
    """The provider's id of the campaign that is asked about; None: all of the account's.

    Raises:
        ContractViolated: a campaign that the account does not have. Another account's may be another company's.
    """
    if job.payload["campaign_id"] is None:
        return None
    found = await HeldMessages(work.session).external_id(UUID(job.payload["campaign_id"]), job.account_id)
    if found is None:
        raise ContractViolated("a snapshot is asked for of a campaign that is not known here")
    return found


async def list_campaigns(provider: Snapshots, only: str | None) -> list[Listed]:
    """Ask the provider. What one campaign does wrong is told of that campaign; a provider that is away ends it all."""
    listed = []
    for external_id in [only] if only is not None else await provider.list_campaign_ids():
        try:
            listed.append(Listed(external_id, await provider.list_message_keys(external_id)))
        except PermanentError as error:
            listed.append(Listed(external_id, error=reason_of(error)))
    return listed


async def keep(job: Job, account: Account, listed: Sequence[Listed], work: UnitOfWork) -> None:
    """Publishes one SnapshotCapturedV1 per campaign (more where very many keys differ); one without any for none.

    Each carries its campaign's company; of one that is not known here, the account's.
    """
    held = HeldMessages(work.session)
    parts: list[tuple[Listed, UUID, Comparison]] = []
    for campaign in listed:
        campaign_id = entity_id(account.id, CAMPAIGN.name, campaign.external_id)
        if campaign.error is not None:
            parts.append((campaign, campaign_id, Comparison((), ())))
            continue
        found = compare(campaign.keys, await held.of_campaign(campaign_id))
        parts += [(campaign, campaign_id, part) for part in split(found)]
    companies = await held.companies(campaign_id for _, campaign_id, _ in parts)
    for number, (campaign, campaign_id, part) in enumerate(parts, start=1):
        work.publish(
            SnapshotCapturedV1(
                run_id=UUID(job.payload["run_id"]),
                pass_number=job.payload["pass_number"],
                account_id=account.id,
                campaign_id=campaign_id,
                campaign_external_id=campaign.external_id,
                part=number,
                parts=len(parts),
                digests=part.digests,
                differences=part.differences,
                error=campaign.error,
            ),
            company_id=companies.get(campaign_id, account.company_id),
            cause=job.cause,
        )
    if not parts:
        tell_nothing(job, None, work)


def tell_nothing(job: Job, error: str | None, work: UnitOfWork) -> None:
    """Publish the one part of a snapshot that failed, or of an account without campaigns."""
    work.publish(
        SnapshotCapturedV1(
            run_id=UUID(job.payload["run_id"]),
            pass_number=job.payload["pass_number"],
            account_id=job.account_id,
            part=1,
            parts=1,
            error=error,
        ),
        company_id=job.cause.company_id,
        cause=job.cause,
    )
