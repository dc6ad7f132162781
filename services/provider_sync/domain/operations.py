"""Changes at providers that people ask for: an operation, and the effects (calls) that make it. Pure decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from libs.ids import AccountId, CompanyId
from libs.providers.effects import Effect as Rules
from libs.providers.effects import Evidence, Seen
from services.provider_sync.domain.jobs import JobKind

PREFIX = "op_sync"  # the public id names the service that works on it

# What only ends something at a provider; that may be asked for a company that is archived, too.
ENDING = frozenset({"pause_campaign", "stop_campaign", "pause_lead", "stop_lead", "remove_lead", "unsubscribe_lead"})

MOST_SENDS = 5  # a provider that loses every answer is left to a person
MOST_LOOKS = 8

_DELAYS_SECONDS = (2.0, 10.0, 60.0, 300.0, 600.0)  # as for jobs: an outage of a quarter of an hour is bridged


def job_key(operation_id: UUID) -> str:
    """The natural key of the job that an operation without effects is."""
    return f"operation:{operation_id}"


class EffectState(StrEnum):
    INTENT = "intent"  # nothing was sent: it may be, and may be taken back
    SENT = "sent"  # noted before the first byte leaves; its answer is awaited
    UNKNOWN = "unknown"  # sent, and no answer: it is looked for, or a person decides
    DONE = "done"
    REFUSED = "refused"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An operation to be kept. `parts` are the arguments of its effects, one call each, in JSON's values.

    With `job` it has no effects: what it asks for changes nothing that may not be changed twice, and is one job's work.
    """

    account_id: AccountId
    company_id: CompanyId
    kind: str
    target: str
    arguments: Mapping[str, Any]
    parts: Sequence[Mapping[str, Any]]
    idempotency_key: str | None
    fingerprint: bytes
    job: JobKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One call in a worker's hands: its `takes`-th taking, the `attempts`-th since it came into its state."""

    id: UUID
    operation_id: UUID
    account_id: AccountId
    company_id: CompanyId
    kind: str
    target: str
    arguments: Mapping[str, Any]
    state: EffectState
    takes: int
    sends: int
    attempts: int
    sent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What becomes of an effect. `due_in_seconds` None: nothing more is done about it by itself.

    `free`: nothing that has to do with this effect stopped it, so the attempt does not count. `answered_at` is the provider's
    clock when it answered, None when it did not say.
    """

    state: EffectState
    due_in_seconds: float | None = None
    result: Any = None
    evidence: str | None = None
    error_code: str | None = None
    error: str | None = None
    free: bool = False
    answered_at: datetime | None = None


def retry_delay(attempts: int, jitter: float) -> float | None:
    """Seconds until the next try, None when there is none. `jitter` is drawn from 0..1."""
    return None if attempts > len(_DELAYS_SECONDS) else _DELAYS_SECONDS[attempts - 1] * jitter


def lost(rules: Rules | None, error: str) -> Outcome:
    """A write left and its answer did not come (or could not be read): looked for as soon as a look means anything."""
    if rules is not None and rules.may_repeat:
        return Outcome(state=EffectState.INTENT, due_in_seconds=0.0, error_code="answer_unknown", error=error)
    if rules is None or rules.read_back is None:
        return undecided(error, None)
    wait = rules.read_back_after_seconds
    return Outcome(state=EffectState.UNKNOWN, due_in_seconds=wait, error_code="answer_unknown", error=error)


def seen(rules: Rules, effect: Effect, evidence: Evidence, result: Any) -> Outcome:
    """What a look means: done, to be sent again because its absence is proven, or a person's to decide."""
    if evidence.seen is Seen.DONE:
        return Outcome(state=EffectState.DONE, result=result, evidence=evidence.detail)
    if evidence.seen is Seen.ABSENT and rules.absence_is_proof and effect.sends < MOST_SENDS:
        return Outcome(
            state=EffectState.INTENT,
            due_in_seconds=0.0,
            evidence=evidence.detail,
            error_code="answer_unknown",
            error="its answer was lost, and it was not done: sent again",
        )
    return undecided(f"its answer was lost; {rules.why}", evidence.detail)


def undecided(error: str, evidence: str | None) -> Outcome:
    return Outcome(state=EffectState.UNKNOWN, evidence=evidence, error_code="answer_unknown", error=error)


def state_of(effects: Mapping[str, int], *, begun: bool) -> str:
    """The state of an operation whose effects are counted by their states. `begun`: one of them was sent or settled."""
    if effects.get(EffectState.UNKNOWN):
        return "unknown"
    if effects.get(EffectState.INTENT) or effects.get(EffectState.SENT):
        return "running" if begun else "pending"
    if effects.get(EffectState.REFUSED):
        return "failed"
    return "cancelled" if effects.get(EffectState.CANCELLED) else "succeeded"
