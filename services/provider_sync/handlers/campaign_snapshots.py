"""A provider's own counters of a campaign and its sequence: asked for, read by a job, kept until the next answer, shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from libs.clock import now, rfc3339
from libs.errors import NotFound
from libs.ids import CompanyId, parse_public_id, public_id
from libs.messaging.work import UnitOfWork, Units
from libs.providers.capabilities import EmailSequences, LinkedInSequences, Statistics
from libs.providers.registry import Provider
from services.provider_sync.domain.campaign_snapshots import counted_by_us, figures_of, figures_to_keep
from services.provider_sync.domain.jobs import Job, JobKind
from services.provider_sync.handlers import asked_jobs
from services.provider_sync.handlers.operations import Accepted, Asking, Target, check_offered, found
from services.provider_sync.outgoing import watching
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.campaign_snapshots import CampaignSnapshotRepository
from services.provider_sync.repository.targets import TargetRepository
from services.provider_sync.schemas import Channel
from services.provider_sync.snapshot_schemas import (
    EmailFigures,
    EmailSequenceOut,
    EmailStatisticsOut,
    EmailStepFigures,
    LinkedInFigures,
    LinkedInSequenceOut,
    LinkedInStatisticsOut,
)

_KINDS = {JobKind.READ_FIGURES: "figures", JobKind.READ_SEQUENCE: "sequence"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`as_of` None: the provider's answer told no time."""

    content: Mapping[str, Any]
    as_of: datetime | None


async def ask_to_read(
    asking: Asking, kind: JobKind, channel: Channel, campaign_id: str, units: Units, providers: Mapping[str, Provider]
) -> Accepted:
    """Have the campaign's counters or its sequence read. Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the caller sees no such campaign.
        Unsupported: the account's provider cannot tell.
        Conflict: its company is archived, or the key was used for something else.
    """
    context = asking.context
    async with units.begin(
        context.org_id, context.scope, actor=context.principal, request_id=asking.request_id
    ) as work:
        identifier = parse_public_id("cam", campaign_id)
        row = found("cam", await TargetRepository(work.session).campaign(channel, identifier))
    async with units.begin(context.org_id) as own:  # who has a sub-account sees its campaigns and not the account
        account = (await AccountRepository(own.session).find_all([row["account_id"]])).get(row["account_id"])
    if account is None:
        raise NotFound("there is no acc_ object with this id")
    check_offered(providers[account.provider], _capability(kind, channel))
    target = Target(row["account_id"], row["company_id"], public_id("cam", row["id"]))
    payload = {"campaign_id": str(row["id"]), "campaign_external_id": row["external_id"], "channel": channel}
    async with units.begin(
        context.org_id, context.scope, actor=context.principal, request_id=asking.request_id
    ) as work:
        return await asked_jobs.ask(kind, target, payload, asking.key, work)


async def read(job: Job, client: object, provider: Provider) -> Snapshot:
    """Ask the provider.

    Raises:
        Unsupported: this provider cannot be asked.
    """
    external_id, channel = job.payload["campaign_external_id"], job.payload["channel"]
    capability = _capability(job.kind, channel)
    with watching() as calls:
        asked: Any = provider.require(client, capability)
        if job.kind is JobKind.READ_FIGURES:
            told = await asked.read_figures(external_id)
            steps = await client.list_steps(external_id) if told.by_step and isinstance(client, EmailSequences) else ()
            return Snapshot(figures_to_keep(told, steps), told.as_of)
        if channel == "email":
            content: dict[str, Any] = {"steps": [asdict(step) for step in await asked.list_steps(external_id)]}
        else:
            first = await asked.get_sequence(external_id)
            content = {"first": None if first is None else asdict(first)}
    return Snapshot(content, calls.answered_at)


async def keep(job: Job, snapshot: Snapshot, work: UnitOfWork) -> None:
    """Publishes OperationChangedV1, where somebody asked."""
    as_of, campaign_id = snapshot.as_of or now(), UUID(job.payload["campaign_id"])
    await CampaignSnapshotRepository(work.session).keep(campaign_id, _KINDS[job.kind], snapshot.content, as_of)
    await asked_jobs.succeed(job, {"as_of": rfc3339(as_of)}, work)


async def show_email_statistics(work: UnitOfWork, campaign_id: str) -> EmailStatisticsOut:
    shown, content, counted = await _statistics(work, "email", campaign_id)
    totals, steps = content.get("figures", {}), content.get("steps")
    return EmailStatisticsOut(
        **shown,
        totals=EmailFigures(**totals),
        not_told=_not_told("email", totals),
        steps=None if steps is None else [EmailStepFigures(**one) for one in steps],
        counted=EmailFigures(**counted),
    )


async def show_linkedin_statistics(work: UnitOfWork, campaign_id: str) -> LinkedInStatisticsOut:
    shown, content, counted = await _statistics(work, "linkedin", campaign_id)
    totals = content.get("figures", {})
    return LinkedInStatisticsOut(
        **shown,
        totals=LinkedInFigures(**totals),
        not_told=_not_told("linkedin", totals),
        counted=LinkedInFigures(**counted),
    )


async def show_email_sequence(work: UnitOfWork, campaign_id: str) -> EmailSequenceOut:
    shown, content = await _find(CampaignSnapshotRepository(work.session), "email", campaign_id, "sequence")
    return EmailSequenceOut(**shown, steps=content.get("steps"))


async def show_linkedin_sequence(work: UnitOfWork, campaign_id: str) -> LinkedInSequenceOut:
    shown, content = await _find(CampaignSnapshotRepository(work.session), "linkedin", campaign_id, "sequence")
    return LinkedInSequenceOut(**shown, first=content.get("first"))


async def _statistics(
    work: UnitOfWork, channel: str, campaign_id: str
) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    rows, identifier = CampaignSnapshotRepository(work.session), parse_public_id("cam", campaign_id)
    shown, content = await _find(rows, channel, campaign_id, "figures")
    counted = counted_by_us(
        channel,
        dict(await rows.count_messages(identifier)),
        [dict(one) for one in await rows.count_engagements(identifier)],
        await rows.count_leads(identifier),
    )
    return shown, content, counted


def _not_told(channel: str, totals: Mapping[str, Any]) -> list[str]:
    return [figure.value for figure in figures_of(channel) if figure.value not in totals]


async def _find(
    rows: CampaignSnapshotRepository, channel: str, campaign_id: str, kind: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    row = found("cam", await rows.find(channel, parse_public_id("cam", campaign_id), kind))
    shown = {
        "campaign_id": public_id("cam", row["id"]),
        "account_id": public_id("acc", row["account_id"]),
        "company_id": public_id("cmp", CompanyId(row["company_id"])),
        "as_of": row["as_of"],
        "read_at": row["read_at"],
    }
    return shown, {} if row["content"] is None else orjson.loads(row["content"])


def _capability(kind: JobKind, channel: str) -> type[object]:
    if kind is JobKind.READ_FIGURES:
        return Statistics
    return EmailSequences if channel == "email" else LinkedInSequences
