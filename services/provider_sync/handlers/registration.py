"""Telling a provider where to post: a write, so it is noted as sent before it is made and never repeated on a guess.

A provider whose registration looks first and completes what is there (`Provider.may_register_again`) needs no guess: with
it a registration of many parts that broke off midway is made whole by the next attempt.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr

from libs.errors import PermanentError, PlatformError, ProviderRefused, RateLimited, TenantMismatch, TransientError
from libs.messaging.work import UnitOfWork
from libs.outbound.addresses import AddressRefused
from libs.providers.capabilities import WebhookRegistration
from services.provider_sync.domain.jobs import Job
from services.provider_sync.handlers import rotations
from services.provider_sync.outgoing import watching
from services.provider_sync.repository.accounts import EndpointRepository
from services.provider_sync.sealing import Sealer

NAME = "Outrider"


class AnswerUnknown(PermanentError):
    """The registration may or may not exist at the provider: a webhook will prove it, or a person looks."""

    code = "answer_unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`status` of the endpoint from now on, and the error that ends or postpones the job."""

    status: str
    provider_webhook_id: str | None = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """Without a `token` there is nothing (left) to send, be it for `error` or because it is done."""

    token: SecretStr | None = None
    error: AnswerUnknown | None = None


async def begin(job: Job, work: UnitOfWork, sealer: Sealer, *, may_repeat: bool) -> Begun:
    """Note that the registration is about to be sent: to be committed before it is.

    An endpoint that is still `sent` was left so by a crash. Then nobody knows, and it is sent again only if it
    `may_repeat`.

    Raises:
        KeysUnavailable: the token cannot be opened now.
    """
    endpoints = EndpointRepository(work.session)
    endpoint = await endpoints.lock(endpoint_id(job))
    if endpoint is None:
        raise TenantMismatch("the endpoint to be registered is none of this organization's")
    if endpoint.token_id != token_id(job):
        return Begun()  # it was replaced before the provider heard of it
    if endpoint.status == "sent" and not may_repeat:
        await endpoints.settle(endpoint.id, "unknown", error=_ADVICE)
        return Begun(error=AnswerUnknown(_ADVICE))
    if endpoint.status not in ("ready", "sent"):
        return Begun()
    token = await sealer.open(endpoint.token, work.session, table="endpoints", row_id=endpoint.id)
    await endpoints.settle(endpoint.id, "sent")
    return Begun(token=SecretStr(token))


async def register(registrar: WebhookRegistration, url: str, *, may_repeat: bool) -> Outcome:
    """Make the calls. Never raises a platform error: whatever happened is an outcome to be kept."""
    with watching() as writes:
        try:
            return Outcome("registered", provider_webhook_id=await registrar.register_webhook(url=url, name=NAME))
        except RateLimited as error:  # refused before it was done
            return Outcome("ready", error=error)
        except PlatformError as error:
            if not writes.left:
                return Outcome("ready" if isinstance(error, TransientError) else "failed", error=error)
            if isinstance(error, ProviderRefused | AddressRefused):
                return Outcome("failed", error=error)
            if may_repeat and isinstance(error, TransientError):
                return Outcome("ready", error=error)
            return Outcome("unknown", error=AnswerUnknown(f"{_ADVICE} ({error})"))


async def keep(job: Job, outcome: Outcome, work: UnitOfWork) -> None:
    """Keep what is known of the endpoint, whoever has the job by now: it is true all the same.

    A token that is registered ends those before it, see rotations; one that was replaced meanwhile is such a one itself.
    """
    endpoints = EndpointRepository(work.session)
    endpoint = await endpoints.lock(endpoint_id(job))
    if endpoint is None:
        raise TenantMismatch("the endpoint that was registered is none of this organization's")
    if endpoint.token_id != token_id(job):
        if outcome.provider_webhook_id is not None:
            await rotations.note_late_registration(
                endpoint.id, token_id(job), outcome.provider_webhook_id, work, job.cause
            )
        return
    await endpoints.settle(
        endpoint.id,
        outcome.status,
        provider_webhook_id=outcome.provider_webhook_id,
        error=None if outcome.error is None or outcome.status == "ready" else str(outcome.error),
    )
    if outcome.status == "registered":
        await rotations.begin_overlap(endpoint.id, work, job.cause)


async def give_up(job: Job, reason: str, work: UnitOfWork) -> None:
    """The job has failed for good; what is not known better stays as it is."""
    endpoints = EndpointRepository(work.session)
    endpoint = await endpoints.lock(endpoint_id(job))
    if endpoint is not None and endpoint.token_id == token_id(job) and endpoint.status == "ready":
        await endpoints.settle(endpoint.id, "failed", error=reason)


def endpoint_id(job: Job) -> UUID:
    return UUID(job.payload["endpoint_id"])


def token_id(job: Job) -> UUID:
    """The token to be registered. An endpoint's first has its id."""
    return UUID(job.payload.get("token_id", job.payload["endpoint_id"]))


_ADVICE = "the provider may or may not have registered our address: look at its list of webhooks"
