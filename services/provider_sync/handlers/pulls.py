"""Reading the truth back from the provider: repairs that reconciliation asks for, and read-backs that webhooks ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal
from uuid import UUID

from pydantic import TypeAdapter

from libs.clock import now
from libs.contracts.envelope import Envelope
from libs.contracts.events import SyncCompletedV1
from libs.ids import entity_id
from libs.messaging.work import UnitOfWork
from libs.providers.capabilities import CampaignPulls, Campaigns, Inbox, Pulls, require
from libs.providers.records import ConversationRef
from libs.providers.sightings import CampaignSighting, CampaignStatus, Channel, Direction, Reading, Source
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Job, JobKind, Wish
from services.provider_sync.domain.kinds import CAMPAIGN
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.facts import record
from services.provider_sync.outgoing import watching

_LOOKS_AGAIN_SECONDS = (5.0, 15.0, 60.0)


async def read(job: Job, client: object, provider: str) -> Reading:
    """Ask the provider for the messages of some leads, or for a campaign: each needs no more than its own capability.

    Raises:
        Unsupported: this provider cannot be asked.
    """
    if "campaigns" in job.payload:
        return await _list_campaigns(require(client, Campaigns, provider), Channel(job.payload["campaigns"]))  # type: ignore[type-abstract]
    if "conversation" in job.payload:
        return await _read_conversation(job, require(client, Inbox, provider))  # type: ignore[type-abstract]
    campaign = job.payload["campaign_external_id"]
    leads = job.payload["lead_keys"] if job.kind is JobKind.REPAIR else job.payload["lead_key"]
    if leads is None:
        return await require(client, CampaignPulls, provider).read_campaign(campaign)  # type: ignore[type-abstract]
    pulls = require(client, Pulls, provider)  # type: ignore[type-abstract]
    return await pulls.read_messages(campaign, [leads] if isinstance(leads, str) else leads)


def wish_for_campaigns(account: Account, cause: Envelope) -> Wish:
    """That all campaigns of the account be known, if only by name and status: also drafts, of which no webhook tells."""
    return Wish(
        account_id=account.id,
        kind=JobKind.READ_BACK,
        key=f"read_back:{account.id}:campaigns",
        payload={"campaign_external_id": None, "lead_key": None, "campaigns": account.channel, "reason": "account"},
        cause=cause,
    )


async def _list_campaigns(client: Campaigns, channel: Channel) -> Reading:
    begun = now()
    with watching() as calls:
        listed = await client.list_campaigns()
    # By the provider's clock at the first page: what happened meanwhile is newer.
    seen_at = begun if calls.answered_at is None else calls.answered_at - (now() - begun)
    return Reading(
        event_type="pull.campaigns",
        campaigns=tuple(
            CampaignSighting(
                external_id=one.external_id,
                seen_at=seen_at,
                channel=channel,
                name=one.name or None,
                status=one.status,
                client_external_id=one.client_external_id,
            )
            for one in listed
        ),
    )


async def _read_conversation(job: Job, inbox: Inbox) -> Reading:
    """The messages as the inbox shows them; the one that we wrote is a person's, as nobody else knows."""
    asked = TypeAdapter(ConversationRef).validate_python(job.payload["conversation"])
    found = await inbox.list_messages(asked)
    ours = _bare(job.payload["written"])
    return Reading(
        event_type="pull.conversation",
        messages=tuple(
            replace(one, is_manual=True)
            if one.direction is Direction.OUTBOUND and ours and _bare(one.body_text or "") == ours
            else one
            for one in found
        ),
    )


def again_in(job: Job, reading: Reading) -> float | None:
    """Seconds after which to look once more at a campaign whose status does not follow what it was told yet; None: it
    does, or we have looked often enough to believe it."""
    follows = job.payload.get("follows")
    told = {campaign.status for campaign in reading.campaigns} - {None}
    if not follows or not told or told & {CampaignStatus(one) for one in follows}:
        return None
    return _LOOKS_AGAIN_SECONDS[job.attempts - 1] if job.attempts <= len(_LOOKS_AGAIN_SECONDS) else None


def without_status(reading: Reading) -> Reading:
    """Of a campaign that is to be looked at once more: providers tell the status of before for some seconds."""
    return replace(reading, campaigns=tuple(replace(campaign, status=None) for campaign in reading.campaigns))


async def keep(job: Job, account: Account, reading: Reading, work: UnitOfWork) -> None:
    """Merge what was read. Publishes `*.recorded` for what is new, and SyncCompletedV1 with how many entities changed."""
    changed = await record([Told(account, reading, Source.PULL, job.cause)], work)
    tell_end(job, work, "done", objects=changed)


def tell_end(
    job: Job, work: UnitOfWork, outcome: Literal["done", "failed"], *, objects: int = 0, error: str | None = None
) -> None:
    """Publish how the pull ended."""
    run_id, campaign = job.payload.get("run_id"), job.payload["campaign_external_id"]
    work.publish(
        SyncCompletedV1(
            sync_id=job.id,
            account_id=job.account_id,
            kind="repair" if job.kind is JobKind.REPAIR else "read_back",
            campaign_id=None if campaign is None else entity_id(job.account_id, CAMPAIGN.name, campaign),
            run_id=None if run_id is None else UUID(run_id),
            pass_number=job.payload.get("pass_number"),
            outcome=outcome,
            objects=objects,
            error=error,
        ),
        company_id=job.cause.company_id,
        cause=job.cause,
    )


def _bare(text: str) -> str:
    return "".join(text.split())
