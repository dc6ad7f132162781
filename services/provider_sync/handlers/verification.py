"""Whether the provider still has our webhook: there, active, at our address, telling all that it can; mended if not.

Providers pause, narrow and lose registrations without a word, and then there is silence. So each is looked at again and
again, and on demand; what is faulty is repaired, once per look. What was found stays on the endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from libs.contracts.envelope import Envelope
from libs.errors import (
    Conflict,
    CredentialRefused,
    PermanentError,
    PlatformError,
    ProviderRefused,
    RateLimited,
    TransientError,
)
from libs.ids import AccountId, public_id
from libs.messaging.work import UnitOfWork
from libs.observability.logs import get_logger
from libs.outbound.addresses import AddressRefused
from libs.providers.capabilities import WebhookListing, WebhookUpkeep
from libs.providers.records import Registration
from services.provider_sync.domain.jobs import Job, JobKind, Wish
from services.provider_sync.handlers import asked_jobs
from services.provider_sync.handlers.operations import Accepted, Target
from services.provider_sync.handlers.registration import NAME
from services.provider_sync.handlers.rotations import no_such_endpoint
from services.provider_sync.outgoing import watching
from services.provider_sync.repository.endpoints import ConfiguredRepository, VerificationRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.sealing import Sealer

_ROTATE = "give the endpoint a new token (POST …/rotations), and delete at the provider what still posts to the old one"
_LOST = f"a repair got no answer, so nobody knows which webhook it made: {_ROTATE}"
_NEVER_TOLD = f"the provider never told its id of this registration, and lists none: {_ROTATE}"

log = get_logger()


@dataclass(frozen=True, slots=True)
class Begun:
    """What is to be looked at; `url_token` None: there is nothing to look at yet, as it is not registered."""

    endpoint_id: UUID
    token_id: UUID
    webhook_id: str | None
    url_token: str | None = field(repr=False)
    repair_was_lost: bool


@dataclass(frozen=True, slots=True)
class Looked:
    """`state` as the endpoint bears it; `faults` were found, in the adapter's words."""

    state: str
    webhook_id: str | None
    faults: tuple[str, ...] = ()
    error: str | None = None


async def ask_for_verification(endpoint_id: UUID, shown_id: str, key: str | None, work: UnitOfWork) -> Accepted:
    """Publishes OperationChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the org has no such endpoint, or the caller does not see its company.
        Conflict: it is not registered at the provider; the key was used for another request.
    """
    endpoint = await ConfiguredRepository(work.session).lock(endpoint_id)
    if endpoint is None:
        raise no_such_endpoint()
    if endpoint.status not in ("registered", "unknown"):
        raise Conflict(
            f"there is nothing to verify: the registration is {endpoint.status}", code="endpoint_not_registered"
        )
    target = Target(endpoint.account_id, endpoint.company_id, shown_id)
    return await asked_jobs.ask(JobKind.VERIFY_WEBHOOK, target, {"endpoint_id": str(endpoint_id)}, key, work)


async def look_again(
    endpoint_id: UUID, account_id: AccountId, work: UnitOfWork, cause: Envelope, *, in_seconds: float
) -> None:
    """Have it looked at by itself from now on; asked twice it is one job."""
    wish = Wish(
        account_id=account_id,
        kind=JobKind.VERIFY_WEBHOOK,
        key=f"verify_webhook:{endpoint_id}",
        payload={"endpoint_id": str(endpoint_id)},
        cause=cause,
        due_in_seconds=in_seconds,
    )
    await JobRepository(work.session).ask([wish])


async def begin(job: Job, work: UnitOfWork, sealer: Sealer) -> Begun:
    """Raises: KeysUnavailable."""
    await asked_jobs.begin(job, work)
    found = await VerificationRepository(work.session).find(UUID(job.payload["endpoint_id"]))
    if found is None:
        raise PermanentError("the endpoint of this job is gone")
    token = None
    if found["status"] in ("registered", "unknown"):
        token = await sealer.open(bytes(found["token"]), work.session, table="endpoints", row_id=found["id"])
    return Begun(
        found["id"], found["token_id"], found["provider_webhook_id"], token, found["repair_sent_at"] is not None
    )


async def look(
    client: object,
    upkeep: WebhookUpkeep,
    begun: Begun,
    url: str,
    *,
    may_repeat: bool,
    before_repair: Callable[[], Awaitable[None]],
) -> Looked:
    """Look, and repair once what is faulty. `before_repair` is awaited before its first byte leaves.

    Raises:
        TransientError: the provider could not be asked, or nothing was repaired yet: later may work.
        CredentialRefused: the key opens nothing.
    """
    webhook_id = begun.webhook_id
    if webhook_id is None and isinstance(client, WebhookListing):
        listed = [one for one in await client.list_webhooks() if one.url == url]
        webhook_id = listed[0].external_id if listed else ""
    if webhook_id is None:
        return Looked("unknown", None, error=_NEVER_TOLD)
    found = await upkeep.check_webhook(webhook_id, url=url)
    faults = _faults(found)
    if not faults:
        return Looked("whole", webhook_id)
    if begun.repair_was_lost and not may_repeat:
        return Looked("unknown", webhook_id, faults, _LOST)
    with watching(before=None if may_repeat else before_repair) as writes:
        try:
            made = await upkeep.repair_webhook(webhook_id, url=url, name=NAME)
        except (CredentialRefused, RateLimited):
            raise
        except PlatformError as error:
            if isinstance(error, ProviderRefused | AddressRefused) and not writes.left:
                return Looked("broken", webhook_id, faults, str(error)[:500])
            if isinstance(error, TransientError) and (may_repeat or not writes.left):
                raise
            state = "broken" if may_repeat else "unknown"
            return Looked(state, webhook_id, faults, str(error)[:500] if may_repeat else _LOST)
    try:
        left = _faults(await upkeep.check_webhook(made, url=url))
    except TransientError:
        left = ()  # its new id must be kept now; the next look tells
    if left:
        return Looked("broken", made, left, "it is faulty still after it was repaired")
    return Looked("repaired", made, faults)


async def note_repair_sent(endpoint_id: UUID, work: UnitOfWork) -> None:
    """To be committed before a repair leaves that may not be sent twice."""
    await VerificationRepository(work.session).note_repair_sent(endpoint_id)


async def keep(job: Job, begun: Begun, looked: Looked | None, work: UnitOfWork) -> None:
    """`looked` None: there was nothing to look at. What was found of a token that was replaced meanwhile is told, not kept.

    Publishes OperationChangedV1 where somebody asked.
    """
    if looked is None:
        await asked_jobs.fail(job, "endpoint_not_registered", "it is not registered at the provider (any more)", work)
        return
    if looked.state != "whole":
        log.warning("webhook_endpoint_faulty", org_id=str(work.org_id), endpoint_id=str(begun.endpoint_id),
                    state=looked.state, faults=list(looked.faults))  # fmt: skip
    await VerificationRepository(work.session).keep(
        begun.endpoint_id,
        begun.token_id,
        state=looked.state,
        webhook_id=looked.webhook_id or None,
        error=looked.error or ("; ".join(looked.faults) or None),
    )
    result: dict[str, Any] = {
        "webhook_endpoint_id": public_id("whe", begun.endpoint_id),
        "state": looked.state,
        "faults": list(looked.faults),
        "error": looked.error,
        "webhook_external_id": looked.webhook_id or None,
    }
    await asked_jobs.succeed(job, result, work)


async def note_failure(job: Job, reason: str, work: UnitOfWork) -> None:
    """It could not be looked at: what was known stays, and why stands beside it."""
    await VerificationRepository(work.session).note_failure(UUID(job.payload["endpoint_id"]), reason)


def _faults(found: Registration | None) -> tuple[str, ...]:
    if found is None:
        return ("it is gone",)
    return found.faults if found.is_active or found.faults else ("it is paused",)
