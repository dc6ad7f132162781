"""Who of a batch was added, where the provider only counted: looked for lead by lead, some at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from libs.clock import now
from libs.contracts.envelope import Envelope
from libs.errors import PermanentError
from libs.messaging.work import UnitOfWork
from libs.providers import arguments
from libs.providers.calls import NotThere
from libs.providers.capabilities import Leads
from libs.providers.records import LeadRef, NewLead
from libs.providers.registry import Provider
from libs.providers.sightings import Channel
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.additions import REFUSED, UNDECIDED, naming
from services.provider_sync.domain.jobs import Job, JobKind, Wish
from services.provider_sync.domain.operations import Effect
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.outcomes import as_of, enrolled
from services.provider_sync.outgoing import watching
from services.provider_sync.repository.operations import OperationRepository

AT_ONCE = 10  # a call each, from a budget that may be 60 a minute: what was looked at is kept before it is spent
_ANY_MOMENT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Looked:
    """`there` by the address that the caller named, at the provider's time `at`."""

    there: Mapping[str, bool]
    at: datetime


def wish_to_look(effect: Effect, account: Account, provider: Provider, cause: Envelope) -> Wish:
    """Not before the provider shows whom it added."""
    rules = provider.effects.get(effect.kind)
    return Wish(
        account_id=account.id,
        kind=JobKind.LOOK_FOR_LEADS,
        key=f"look_for_leads:{effect.operation_id}",
        payload={
            "of_operation": str(effect.operation_id),
            "campaign_external_id": effect.arguments["campaign_external_id"],
        },
        cause=cause,
        due_in_seconds=rules.read_back_after_seconds if rules is not None else _ANY_MOMENT_SECONDS,
    )


async def undecided(job: Job, account: Account, work: UnitOfWork) -> Sequence[str]:
    """Whom to look for next, as the caller named them."""
    row = await OperationRepository(work.session).find(UUID(job.payload["of_operation"]))
    return [] if row is None else _undecided(row["result"], account.channel)[:AT_ONCE]


async def look(job: Job, client: object, provider: Provider, addresses: Sequence[str]) -> Looked:
    """Ask the provider in which campaigns each of them is."""
    campaign, there = job.payload["campaign_external_id"], {}
    leads = provider.require(client, Leads)  # type: ignore[type-abstract]
    with watching() as calls:
        for address in addresses:
            key = provider.name_lead(_lead(provider, address)).key
            try:
                there[address] = campaign in await leads.list_campaigns_of_lead(LeadRef(key=key))
            except NotThere:
                there[address] = False
    return Looked(there, as_of(calls.answered_at, now()))


async def keep(job: Job, account: Account, provider: Provider, looked: Looked, work: UnitOfWork) -> bool:
    """Whether some are still to be looked for. Publishes `*.recorded` of who is in the campaign.

    Raises:
        PermanentError: the operation is gone.
    """
    operations, operation_id = OperationRepository(work.session), UUID(job.payload["of_operation"])
    row = await operations.lock(operation_id)
    if row is None:
        raise PermanentError("the operation of this job is gone")
    name, left = naming(account.channel), []
    for one in row["result"].get("not_added", []):
        is_there = looked.there.get(one[name]) if one["outcome"] == UNDECIDED else None
        if is_there is not True:
            left.append(one if is_there is None else {**one, "outcome": REFUSED})
    await operations.add_result(operation_id, {"not_added": left})
    found = {address for address, is_there in looked.there.items() if is_there}
    asked: list[NewLead] = arguments.from_json("add_leads", row["arguments"])["leads"]
    told = enrolled(
        job.payload["campaign_external_id"],
        [(lead, None) for lead in asked if getattr(lead, name) in found],
        provider,
        Channel(account.channel),
        looked.at,
    )
    await record([Told(account, reading, source, job.cause) for reading, source in told], work)
    return bool(_undecided({"not_added": left}, account.channel))


def _undecided(result: Mapping[str, Any], channel: str) -> list[str]:
    return [one[naming(channel)] for one in result.get("not_added", []) if one["outcome"] == UNDECIDED]


def _lead(provider: Provider, address: str) -> NewLead:
    return NewLead(email=address) if provider.channel is Channel.EMAIL else NewLead(profile_url=address)
