"""The effect worker: makes the calls that change something at providers, each at most once unless its absence is proven.

An effect is noted as `sent` after its budget is paid and right before its first byte leaves, by whoever holds it; what
fails before that was not sent. Whoever lost the answer looks for it later; whoever lost the lease keeps nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace

import httpx

from libs.clock import now
from libs.crash import crash_point
from libs.database.engine import OrganizationErased, Transaction
from libs.errors import (
    CredentialRefused,
    DependencyDown,
    PlatformError,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    TransientError,
)
from libs.ids import OrgId
from libs.messaging.failures import reason_of
from libs.messaging.standing import OrganizationSuspended
from libs.messaging.work import UnitOfWork, Units
from libs.observability import tracing
from libs.observability.logs import get_logger
from libs.providers import arguments
from libs.providers.effects import WRITES
from libs.providers.effects import Effect as Rules
from libs.providers.registry import Provider
from services.provider_sync.clients import open_client
from services.provider_sync.domain import operations
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.jobs import Superseded
from services.provider_sync.domain.operations import MOST_LOOKS, Effect, EffectState, Outcome, retry_delay
from services.provider_sync.handlers import account_changes, effects
from services.provider_sync.jobs import PAUSE_SECONDS, ProviderAway
from services.provider_sync.key_ring import KeysUnavailable
from services.provider_sync.outgoing import Writes, watching
from services.provider_sync.repository.effects import EffectRepository, orgs_with_due_effects
from services.provider_sync.sealing import Sealer
from services.provider_sync.spending import BudgetSpent, Spender, spending
from services.provider_sync.taking import FairWorker

LEASE_SECONDS = 15.0  # renewed three times as often; an effect whose holder was killed waits no longer
WRITE_WITHIN_SECONDS = 10.0  # from the note to the first byte: a holder that was asleep longer writes nothing

log = get_logger()


class DeadlinePassed(TransientError):
    """The holder was too slow to write: somebody else may be looking for the write already, so it is not made."""

    code = "deadline_passed"


# Nothing of these is about this call: it is made later, and not charged.
_NOT_ITS_FAULT = (KeysUnavailable, BudgetSpent, ProviderAway, RateLimited, CredentialRefused, DeadlinePassed)


class EffectWorker(FairWorker[Effect]):
    def __init__(
        self,
        units: Units,
        http: httpx.AsyncClient,
        sealer: Sealer,
        *,
        providers: Mapping[str, Provider],
        at_once: int,
        poll_seconds: float,
    ) -> None:
        super().__init__(units, at_once=at_once, poll_seconds=poll_seconds)
        self._http = http
        self._sealer = sealer
        self._providers = providers
        self._holder = f"{socket.gethostname()}:{os.getpid()}"

    async def due_orgs(self, transaction: Transaction, most: int) -> list[OrgId]:
        return await orgs_with_due_effects(transaction, most)

    async def take(self, work: UnitOfWork) -> Effect | None:
        return await EffectRepository(work.session).take(LEASE_SECONDS, self._holder)

    async def do(self, org_id: OrgId, effect: Effect) -> None:
        outcome = ""
        crash_point("effect.taken")
        with tracing.span(f"effect {effect.kind}", tracing.SpanKind.INTERNAL):
            try:
                async with self._held(org_id, effect):
                    outcome = await self._do(org_id, effect)
            except (DependencyDown, OrganizationErased, Superseded) as error:
                outcome = f"left: {type(error).__name__}"  # its lease runs out, then somebody takes it again
        log.info("effect_ended", effect_id=str(effect.id), kind=effect.kind, org_id=str(org_id), outcome=outcome,
                 account_id=str(effect.account_id), sends=effect.sends, attempts=effect.attempts)  # fmt: skip

    async def _do(self, org_id: OrgId, effect: Effect) -> str:
        account: Account | None = None
        provider: Provider | None = None
        refused: CredentialRefused | None = None
        try:
            async with self._units.begin(org_id) as work:
                account, client = await open_client(effect.account_id, work, self._sealer, self._providers, self._http)
            provider = self._providers[account.provider]
            rules = provider.effects.get(effect.kind)
            if effect.state is EffectState.INTENT:
                outcome, refused = await self._send(org_id, effect, provider, client)
            elif effect.state is EffectState.SENT:
                outcome = await self._found_sent(org_id, effect, rules)
            elif rules is None or rules.read_back is None:
                outcome = operations.undecided("its answer was lost, and nothing that the provider shows tells", None)
            else:
                outcome, refused = await self._look(org_id, effect, provider, rules, client)
        except KeysUnavailable as error:  # nothing was tried
            if effect.state is EffectState.SENT:
                raise
            outcome = _later(effect.state, error)
        async with self._units.begin(org_id) as work:
            if not await effects.settle(effect, outcome, work, account=account, provider=provider):
                raise Superseded
            if refused is not None:
                await account_changes.need_credentials(effect.account_id, str(refused), work)
            crash_point("effect.outcome_written")
        crash_point("effect.outcome_committed")
        return outcome.state.value

    async def _send(
        self, org_id: OrgId, effect: Effect, provider: Provider, client: object
    ) -> tuple[Outcome, CredentialRefused | None]:
        async def note() -> None:
            started = time.monotonic()  # before the deadline that the database counts
            async with self._units.begin(org_id) as work:
                if work.session.is_suspended:
                    raise OrganizationSuspended
                if not await effects.note_sent(
                    effect, work, write_within_seconds=WRITE_WITHIN_SECONDS, lease_seconds=LEASE_SECONDS
                ):
                    raise Superseded
                crash_point("effect.noted")
            crash_point("effect.intent_committed")
            if time.monotonic() - started > WRITE_WITHIN_SECONDS:
                raise DeadlinePassed("too much time has passed since the write was noted; it was not made")

        with watching(before=note) as writes:
            try:
                provider.require(client, WRITES[effect.kind])
                with self._paying(org_id, effect, provider):
                    answer = await getattr(client, effect.kind)(**arguments.from_json(effect.kind, effect.arguments))
            except (Superseded, OrganizationErased):
                raise
            except Exception as error:
                if isinstance(error, DependencyDown) and not writes.left and not isinstance(error, KeysUnavailable):
                    raise
                return _failed(effect, error, writes, provider.effects.get(effect.kind)), _refused(error)
        crash_point("effect.called")
        result = arguments.answer_to_json(effect.kind, answer)
        return Outcome(state=EffectState.DONE, result=result, answered_at=writes.answered_at), None

    async def _found_sent(self, org_id: OrgId, effect: Effect, rules: Rules | None) -> Outcome:
        """Its holder is gone, and may have written until its deadline."""
        error = "whoever made the call ended before its answer came"
        outcome = operations.lost(rules, error)
        if outcome.state is not EffectState.UNKNOWN or rules is None or rules.read_back is None:
            return outcome
        async with self._units.begin(org_id) as work:
            wait = await EffectRepository(work.session).left_by_its_holder(
                effect, read_back_after_seconds=rules.read_back_after_seconds
            )
        return Outcome(state=outcome.state, due_in_seconds=wait, error_code=outcome.error_code, error=outcome.error)

    async def _look(
        self, org_id: OrgId, effect: Effect, provider: Provider, rules: Rules, client: object
    ) -> tuple[Outcome, CredentialRefused | None]:
        assert rules.read_back is not None
        try:
            with watching() as calls, self._paying(org_id, effect, provider):
                evidence = await rules.read_back(
                    client, arguments.from_json(effect.kind, effect.arguments), effect.sent_at or now()
                )
        except _NOT_ITS_FAULT as error:
            return _later(EffectState.UNKNOWN, error), _refused(error)
        except PlatformError as error:
            if isinstance(error, DependencyDown):
                raise
            delay = retry_delay(effect.attempts, random.random()) if isinstance(error, TransientError) else None
            if delay is None or effect.attempts >= MOST_LOOKS:
                return operations.undecided(f"its answer was lost, and a look failed: {error}", None), None
            wait = max(delay, getattr(error, "retry_after_seconds", None) or 0.0)
            return Outcome(state=EffectState.UNKNOWN, due_in_seconds=wait, error_code="answer_unknown",
                           error=f"its answer was lost, and a look failed: {error}"), None  # fmt: skip
        made = evidence.external_id if effect.kind in ("create_campaign", "reply") else None
        return replace(operations.seen(rules, effect, evidence, made), answered_at=calls.answered_at), None

    @asynccontextmanager
    async def _held(self, org_id: OrgId, effect: Effect) -> AsyncIterator[None]:
        """Lengthens the lease while the block runs. A lost one stops no write by itself: each write asks anew."""

        async def hold() -> None:
            held = True
            while held:
                await asyncio.sleep(LEASE_SECONDS / 3)
                with suppress(DependencyDown):
                    async with self._units.begin(org_id) as work:
                        held = await EffectRepository(work.session).hold(effect, LEASE_SECONDS)

        holding = asyncio.create_task(hold())
        try:
            yield
        finally:
            holding.cancel()
            with suppress(asyncio.CancelledError, OrganizationErased):
                await holding

    @contextmanager
    def _paying(self, org_id: OrgId, effect: Effect, provider: Provider) -> Iterator[None]:
        """Calls inside the block are paid from the account's budget, as what somebody waits for.

        Raises:
            ProviderAway: instead of an error that says as much of this one call, when the account is left alone for now.
        """
        spender = Spender(self._units, org_id, effect.account_id, calls_per_minute=provider.calls_per_minute, live=True)
        try:
            with spending(spender):
                yield
        except ProviderUnavailable as error:
            if spender.is_left_alone:
                raise ProviderAway(str(error)) from error
            raise


def _refused(error: Exception) -> CredentialRefused | None:
    return error if isinstance(error, CredentialRefused) else None


def _words(error: Exception) -> str:
    """The provider's own, in which no key is; of a bug of ours nothing that may stem from a payload."""
    return str(error)[:500] if isinstance(error, PlatformError) else reason_of(error)


def _later(state: EffectState, error: PlatformError) -> Outcome:
    wait = (getattr(error, "retry_after_seconds", None) or PAUSE_SECONDS) * random.uniform(1, 1.2)
    return Outcome(state=state, due_in_seconds=wait, error_code=error.code, error=str(error), free=True)


def _failed(effect: Effect, error: Exception, writes: Writes, rules: Rules | None) -> Outcome:
    """What an error means: of what never left, and of what did."""
    if writes.left and writes.was_refused and isinstance(error, ProviderRefused) and not _refused(error):
        return Outcome(state=EffectState.REFUSED, error_code=error.code,
                       error=f"{error} (a part of it may have been done before)")  # fmt: skip
    if writes.left:
        return operations.lost(rules, _words(error))
    if isinstance(error, OrganizationSuspended):  # nobody takes it before it is resumed
        return Outcome(state=EffectState.INTENT, due_in_seconds=0.0, error_code=error.code, error=str(error), free=True)
    if isinstance(error, _NOT_ITS_FAULT):
        return _later(EffectState.INTENT, error)
    delay: float | None = None
    if isinstance(error, TransientError):
        delay = retry_delay(effect.attempts, random.random())
        delay = None if delay is None else max(delay, error.retry_after_seconds or 0.0)
    elif not isinstance(error, PlatformError):
        log.error("effect_failed", effect_id=str(effect.id), kind=effect.kind, exc_info=error)
        delay = retry_delay(effect.attempts, random.random()) if effect.attempts <= 1 else None
    code = error.code if isinstance(error, PlatformError) else "internal"
    state = EffectState.REFUSED if delay is None else EffectState.INTENT
    return Outcome(state=state, due_in_seconds=delay, error_code=code, error=_words(error))
