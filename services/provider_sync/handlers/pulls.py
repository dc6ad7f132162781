"""Reading the truth back from the provider: repairs that reconciliation asks for, and read-backs that webhooks ask for."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from libs.contracts.events import SyncCompletedV1
from libs.ids import entity_id
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import CampaignPulls, Pulls, require
from libs.providers.sightings import Reading, Source
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Job, JobKind
from services.provider_sync.domain.kinds import CAMPAIGN
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.facts import record


async def read(job: Job, client: object, provider: str) -> Reading:
    """Ask the provider for the messages of some leads, or for a campaign: each needs no more than its own capability.

    Raises:
        Unsupported: this provider cannot be asked.
    """
    campaign = job.payload["campaign_external_id"]
    leads = job.payload["lead_keys"] if job.kind is JobKind.REPAIR else job.payload["lead_key"]
    if leads is None:
        return await require(client, CampaignPulls, provider).read_campaign(campaign)  # type: ignore[type-abstract]
    pulls = require(client, Pulls, provider)  # type: ignore[type-abstract]
    return await pulls.read_messages(campaign, [leads] if isinstance(leads, str) else leads)


async def keep(job: Job, account: Account, reading: Reading, work: UnitOfWork) -> None:
    """Merge what was read. Publishes `*.recorded` for what is new, and SyncCompletedV1 with how many entities changed."""
    changed = await record([Told(account, reading, Source.PULL, job.cause)], work)
    tell_end(job, work, "done", objects=changed)


def tell_end(
    job: Job, work: UnitOfWork, outcome: Literal["done", "failed"], *, objects: int = 0, error: str | None = None
) -> None:
    """Publish how the pull ended."""
    run_id = job.payload.get("run_id")
    work.publish(
        SyncCompletedV1(
            sync_id=job.id,
            account_id=job.account_id,
            kind="repair" if job.kind is JobKind.REPAIR else "read_back",
            campaign_id=entity_id(job.account_id, CAMPAIGN.name, job.payload["campaign_external_id"]),
            run_id=None if run_id is None else UUID(run_id),
            pass_number=job.payload.get("pass_number"),
            outcome=outcome,
            objects=objects,
            error=error,
        ),
        company_id=job.cause.company_id,
        cause=job.cause,
    )
