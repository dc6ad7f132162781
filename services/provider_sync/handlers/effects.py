"""What the effect worker keeps: that a write is about to leave, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

from libs.clock import now
from libs.contracts.envelope import Envelope
from libs.contracts.events import OperationChangedV1
from libs.ids import CompanyId, entity_id, public_id
from libs.messaging.work import UnitOfWork
from libs.providers import arguments
from libs.providers.capabilities import CampaignPulls, Inbox, Pulls
from libs.providers.registry import Provider
from services.provider_sync.domain import additions
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import JobKind, Wish
from services.provider_sync.domain.kinds import CAMPAIGN, MESSAGE
from services.provider_sync.domain.operations import Effect, EffectState, Outcome
from services.provider_sync.domain.statements import Told
from services.provider_sync.handlers.additions import wish_to_look
from services.provider_sync.handlers.facts import record
from services.provider_sync.handlers.outcomes import FOLLOWS, as_of, proven
from services.provider_sync.repository.effects import EffectRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.repository.operations import OperationRepository

# Until what was changed can be read back: a campaign's status follows within seconds, an answer is queued first.
_CAMPAIGN_FOLLOWS_SECONDS = 5.0
_ANSWER_FOLLOWS_SECONDS = 60.0
_OF_CAMPAIGN = frozenset(
    {
        "create_campaign", "update_campaign", "start_campaign", "pause_campaign", "resume_campaign", "stop_campaign",
        "replace_steps", "replace_sequence",
    }
)  # fmt: skip


async def note_sent(effect: Effect, work: UnitOfWork, *, write_within_seconds: float, lease_seconds: float) -> bool:
    """Note that a write is about to leave, to be committed before it does; False when it must not (it was taken back, or
    is in other hands). Publishes OperationChangedV1 when that begins the operation."""
    operations = OperationRepository(work.session)
    await operations.lock(effect.operation_id)
    if not await EffectRepository(work.session).note_sent(
        effect, write_within_seconds=write_within_seconds, lease_seconds=lease_seconds
    ):
        return False
    await tell_if_changed(effect.operation_id, work)
    return True


async def settle(
    effect: Effect, outcome: Outcome, work: UnitOfWork, *, account: Account | None, provider: Provider | None
) -> bool:
    """Keep what became of the effect, and what follows from it; False when it is in other hands by now.

    Publishes OperationChangedV1 when that changes the operation, and what the model learns by it.
    """
    operations = OperationRepository(work.session)
    operation = await operations.lock(effect.operation_id)
    if operation is None or not await EffectRepository(work.session).settle(effect, outcome):
        return False
    result: dict[str, object] = {}
    if outcome.state in (EffectState.DONE, EffectState.REFUSED) and account is not None and provider is not None:
        if outcome.state is EffectState.DONE:
            result = _result(effect, outcome.result, account, operation["result"])
        if effect.kind == "add_leads":
            result["not_added"] = [*operation["result"].get("not_added", []), *_not_added(effect, outcome, provider)]
        if result:
            await operations.add_result(effect.operation_id, result)
    cause = await tell_if_changed(effect.operation_id, work)
    if outcome.state is EffectState.DONE and account is not None and provider is not None:
        await _follow(effect, outcome, account, provider, work, cause)
    return True


async def tell_if_changed(operation_id: Any, work: UnitOfWork) -> Envelope | None:
    """Bring a locked operation up to its effects. Publishes OperationChangedV1 when that changes what is told of it."""
    row = await OperationRepository(work.session).refresh(operation_id)
    return None if row is None else tell(row, work)


def tell(row: asyncpg.Record, work: UnitOfWork) -> Envelope:
    same = "account_id revision kind target state needs_decision done total error_code created_at changed_at"
    event = OperationChangedV1.model_validate({"operation_id": row["id"], **{name: row[name] for name in same.split()}})
    return work.publish(event, company_id=CompanyId(row["company_id"]))


def _not_added(effect: Effect, outcome: Outcome, provider: Provider) -> list[dict[str, str]]:
    leads, channel = arguments.from_json("add_leads", effect.arguments)["leads"], provider.channel.value
    named = {provider.name_lead(lead).key: getattr(lead, additions.naming(channel)) for lead in leads}
    if outcome.state is EffectState.REFUSED:
        return [additions.entry(channel, one, additions.REFUSED, outcome.error or "refused") for one in named.values()]
    return additions.not_added(named, channel, outcome.result)


def _result(effect: Effect, answer: Any, account: Account, before: Mapping[str, Any]) -> dict[str, object]:
    """What is shown of the provider's answer, summed over parts; `answer` is None when only a look told that it is done."""
    if effect.kind == "create_campaign" and isinstance(answer, str):
        made = entity_id(account.id, CAMPAIGN.name, answer)
        return {"campaign_id": public_id("cam", made), "external_id": answer}
    if effect.kind == "reply" and isinstance(answer, str):
        return {"message_id": public_id("msg", entity_id(account.id, MESSAGE.name, answer))}
    if effect.kind == "add_leads":
        if not isinstance(answer, dict):
            return {"uncounted": before.get("uncounted", 0) + len(effect.arguments["leads"])}
        refused = dict(before.get("refused", {}))
        for reason, count in answer["refused"].items():
            refused[reason] = refused.get(reason, 0) + count
        counts = {name: before.get(name, 0) + answer[name] for name in ("added", "known")}
        return {**counts, "refused": refused}
    return {}


async def _follow(
    effect: Effect, outcome: Outcome, account: Account, provider: Provider, work: UnitOfWork, cause: Envelope | None
) -> None:
    """Let the model follow: what the outcome proves is there at once, and what was changed is read back."""
    told = proven(effect, outcome, account, provider, as_of(outcome.answered_at, now()))
    await record([Told(account, reading, source, cause) for reading, source in told], work)
    if cause is not None:
        wishes = [_look_again(effect, outcome.result, account, provider, cause), _read_sequence(effect, account, cause)]
        if effect.kind == "add_leads" and any(
            one["outcome"] == additions.UNDECIDED for one in _not_added(effect, outcome, provider)
        ):
            wishes.append(wish_to_look(effect, account, provider, cause))
        await JobRepository(work.session).ask_again([wish for wish in wishes if wish is not None])


def _look_again(effect: Effect, answer: Any, account: Account, provider: Provider, cause: Envelope) -> Wish | None:
    """None where there is nothing to read back, or nowhere."""
    if effect.kind == "reply":
        return _look_for_answer(effect, account, provider, cause)
    made = answer if effect.kind == "create_campaign" else effect.arguments.get("campaign_external_id")
    if effect.kind not in _OF_CAMPAIGN or not isinstance(made, str) or not provider.offers(CampaignPulls):
        return None
    follows = [status.value for status in FOLLOWS.get(effect.kind, ())]
    return Wish(
        account_id=account.id,
        kind=JobKind.READ_BACK,
        key=f"read_back:{account.id}:{made}:",
        payload={"campaign_external_id": made, "lead_key": None, "reason": effect.kind, "follows": follows},
        cause=cause,
        due_in_seconds=_CAMPAIGN_FOLLOWS_SECONDS,
    )


def _read_sequence(effect: Effect, account: Account, cause: Envelope) -> Wish | None:
    """What replaced a sequence is read back for the ids that the provider gave its steps."""
    if effect.kind not in ("replace_steps", "replace_sequence"):
        return None
    external_id = effect.arguments["campaign_external_id"]
    campaign_id = str(entity_id(account.id, CAMPAIGN.name, external_id))
    return Wish(
        account_id=account.id,
        kind=JobKind.READ_SEQUENCE,
        key=f"read_sequence:{campaign_id}",
        payload={"campaign_id": campaign_id, "campaign_external_id": external_id, "channel": account.channel},
        cause=cause,
        due_in_seconds=_CAMPAIGN_FOLLOWS_SECONDS,
    )


def _look_for_answer(effect: Effect, account: Account, provider: Provider, cause: Envelope) -> Wish | None:
    """Where messages can be pulled with their campaign and step, so; elsewhere as the inbox shows them."""
    conversation = effect.arguments["conversation"]
    campaign, lead_key = conversation["campaign_external_id"], conversation["lead"]["key"]
    payload: dict[str, Any] = {"campaign_external_id": campaign, "lead_key": lead_key, "reason": effect.kind}
    if provider.offers(Pulls) and campaign is not None:
        key = f"read_back:{account.id}:{campaign}:{lead_key}"
    elif provider.offers(Inbox):
        key = f"read_back:{account.id}:answer:{effect.id}"
        payload |= {"conversation": conversation, "written": effect.arguments["answer"]["text"]}
    else:
        return None
    return Wish(
        account_id=account.id,
        kind=JobKind.READ_BACK,
        key=key,
        payload=payload,
        cause=cause,
        due_in_seconds=_ANSWER_FOLLOWS_SECONDS,
    )
