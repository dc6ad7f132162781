"""Replacing a webhook endpoint's token while its provider goes on posting.

The new token is told to the door, then registered at the provider; only that begins the overlap, so nothing is refused
however long it takes. The old registration stays for as long as providers repeat posts, the old token for the overlap and
until nobody used it for a day. What comes even later is quarantined by the door, and after a month refused.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from libs.clock import now
from libs.contracts.envelope import Envelope
from libs.contracts.events import EarlierToken as EarlierTokenTold
from libs.contracts.events import WebhookEndpointChangedV1
from libs.errors import Conflict, NotFound, TenantMismatch
from libs.ids import new_id, public_id
from libs.messaging.work import UnitOfWork
from services.provider_sync.domain import endpoints as rules
from services.provider_sync.domain.jobs import Job, JobKind, Wish
from services.provider_sync.repository.accounts import Heard, Noted
from services.provider_sync.repository.endpoints import Configured, ConfiguredRepository, EarlierTokenRepository
from services.provider_sync.repository.jobs import JobRepository
from services.provider_sync.sealing import Sealer

_UNDER_WAY = frozenset({"pending", "ready", "sent"})
_NEVER_REGISTERED = _UNDER_WAY - {"sent"} | {"failed"}


def mint(endpoint_id: UUID) -> tuple[str, str]:
    """A new token of an endpoint, and its SHA-256 in hex."""
    token = f"{endpoint_id.hex}_{secrets.token_urlsafe(32)}"
    return token, hashlib.sha256(token.encode()).hexdigest()


async def rotate(endpoint_id: UUID, overlap_seconds: int, work: UnitOfWork, sealer: Sealer) -> None:
    """Give the endpoint a new token. With an overlap of 0 all older ones end at once: that is for a leaked one.

    Publishes WebhookEndpointChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the org has no such endpoint, or the caller does not see its company.
        Conflict: the last rotation is not over, or there were very many.
        KeysUnavailable: there is no key to seal with.
    """
    endpoints, tokens = ConfiguredRepository(work.session), EarlierTokenRepository(work.session)
    endpoint = await endpoints.lock(endpoint_id)
    if endpoint is None:
        raise no_such_endpoint()
    moment = now()
    earlier = [token for token in await tokens.of_endpoint(endpoint.id) if not token.is_dead(moment)]
    if overlap_seconds:
        _check_overlap(endpoint, earlier)
    if len(earlier) >= rules.MOST_TOKENS:
        raise Conflict(
            f"this endpoint had {rules.MOST_TOKENS} tokens within a month: wait until one of them is dead",
            code="too_many_tokens",
        )
    old = await sealer.open(endpoint.token, work.session, table="endpoints", row_id=endpoint.id)
    sealed = await sealer.seal(old, work.session, table="earlier_tokens", row_id=endpoint.token_id)
    await tokens.insert(endpoint, token=sealed, moment=moment, never_registered=endpoint.status in _NEVER_REGISTERED)
    if not overlap_seconds:
        await tokens.end_all(endpoint.id, moment)
    token, sha256 = mint(endpoint.id)
    await endpoints.replace_token(
        endpoint,
        token_id=new_id(),
        token=await sealer.seal(token, work.session, table="endpoints", row_id=endpoint.id),
        token_sha256=sha256,
        last4=token[-4:],
        overlap_seconds=overlap_seconds,
        moment=moment,
    )
    await tell_door(endpoint.id, work)
    work.audit(
        "webhook_endpoint.rotated",
        public_id("whe", endpoint.id),
        {"overlap_seconds": overlap_seconds},
        company_id=endpoint.company_id,
    )


def _check_overlap(endpoint: Configured, earlier: list[rules.EarlierToken]) -> None:
    if endpoint.status in _UNDER_WAY:
        raise Conflict(
            "the endpoint's newest token is not registered at the provider yet; overlap_seconds=0 replaces it and ends all "
            "others now",
            code="rotation_under_way",
        )
    if any(token.overlap_ends_at is not None and token.ended_at is None for token in earlier):
        raise Conflict(
            "the token before the newest one has not ended yet; overlap_seconds=0 ends both now",
            code="rotation_under_way",
        )


async def tell_door(endpoint_id: UUID, work: UnitOfWork, cause: Envelope | None = None) -> None:
    """Publish the endpoint as it is now, as its next revision."""
    endpoints = ConfiguredRepository(work.session)
    revision = await endpoints.next_revision(endpoint_id)
    endpoint = await endpoints.lock(endpoint_id)
    if endpoint is None:
        raise TenantMismatch("an endpoint changed that this organization does not have")
    moment = now()
    earlier = await EarlierTokenRepository(work.session).of_endpoint(endpoint_id)
    event = WebhookEndpointChangedV1(
        endpoint_id=endpoint.id,
        account_id=endpoint.account_id,
        revision=revision,
        provider=endpoint.provider,
        token_sha256=endpoint.token_sha256,
        mode=endpoint.signature_mode,
        token_id=endpoint.token_id,
        earlier_tokens=tuple(
            EarlierTokenTold(token_id=one.id, token_sha256=one.sha256, ends_at=one.end, dead_at=one.dead_at)
            for one in earlier
            if not one.is_dead(moment)
        ),
        allowed_sources=endpoint.allowed_sources,
        source_mode=endpoint.source_mode,
    )
    work.publish(event, company_id=endpoint.company_id, cause=cause)


async def begin_overlap(endpoint_id: UUID, work: UnitOfWork, cause: Envelope) -> None:
    """The newest token is registered at the provider: from now on the earlier ones may end, and be forgotten there.

    Publishes WebhookEndpointChangedV1 if there are such.
    """
    endpoint = await ConfiguredRepository(work.session).lock(endpoint_id)
    if endpoint is None:
        raise TenantMismatch("an endpoint was registered that this organization does not have")
    tokens = EarlierTokenRepository(work.session)
    overlap = timedelta(seconds=endpoint.overlap_seconds or 0)
    ends_at = now() + overlap
    begun = await tokens.begin_overlap(endpoint_id, ends_at, ends_at + rules.STRETCH)
    stays = min(overlap, rules.RETRIES)
    wishes = [
        _wish(endpoint, JobKind.REMOVE_WEBHOOK, one, stays, cause) for one in await tokens.registered(endpoint_id)
    ]
    wishes += [_wish(endpoint, JobKind.END_TOKEN, one, overlap, cause) for one in begun]
    await JobRepository(work.session).ask_by(wishes)
    if begun:
        await tell_door(endpoint_id, work, cause)


def _wish(endpoint: Configured, kind: JobKind, token_id: UUID, due_in: timedelta, cause: Envelope) -> Wish:
    return Wish(
        account_id=endpoint.account_id,
        kind=kind,
        key=f"{kind.value}:{token_id}",
        payload={"endpoint_id": str(endpoint.id), "token_id": str(token_id)},
        cause=cause,
        due_in_seconds=due_in.total_seconds(),
    )


async def note_late_registration(
    endpoint_id: UUID, token_id: UUID, webhook_id: str, work: UnitOfWork, cause: Envelope
) -> None:
    """A token that was replaced meanwhile has been registered: it is to be forgotten once the newest is registered."""
    await EarlierTokenRepository(work.session).note_registration(token_id, webhook_id)
    endpoint = await ConfiguredRepository(work.session).lock(endpoint_id)
    if endpoint is not None and endpoint.status == "registered":
        await begin_overlap(endpoint_id, work, cause)


async def note_uses(heard: Sequence[Heard], noted: Sequence[Noted], work: UnitOfWork, cause: Envelope) -> None:
    """What posts tell of tokens: an earlier one is still in use; the newest one is registered, though no answer said so."""
    newest_tokens = {one.newest_token_id for one in noted}
    used: dict[UUID, datetime] = {}
    for one in heard:
        if one.token_id is not None and one.at is not None and one.token_id not in newest_tokens:
            used[one.token_id] = max(one.at, used.get(one.token_id, one.at))
    if used:
        await EarlierTokenRepository(work.session).note_uses(used)
    for endpoint in noted:
        if endpoint.overlap_is_due:
            await begin_overlap(endpoint.endpoint_id, work, cause)


async def end_if_over(job: Job, work: UnitOfWork) -> float | None:
    """End an earlier token whose time has come; else answers in how many seconds to ask again.

    Publishes WebhookEndpointChangedV1 when it ends.
    """
    endpoint_id, token_id = UUID(job.payload["endpoint_id"]), UUID(job.payload["token_id"])
    if await ConfiguredRepository(work.session).lock(endpoint_id) is None:
        raise TenantMismatch("a token is to end that this organization does not have")
    tokens = EarlierTokenRepository(work.session)
    token = await tokens.find(token_id)
    if token is None or token.ended_at is not None:
        return None
    moment = now()
    left = token.goes_on_for(moment)
    if left is not None:
        return left.total_seconds()
    await tokens.end(token_id, moment)
    await tell_door(endpoint_id, work, job.cause)
    return None


async def webhook_to_remove(job: Job, work: UnitOfWork) -> str | None:
    """The provider's id of what it is to forget; None when there is nothing (left)."""
    return await EarlierTokenRepository(work.session).webhook_to_remove(UUID(job.payload["token_id"]))


async def note_removal(job: Job, work: UnitOfWork, error: str | None = None) -> None:
    """`error`: why it could not be removed, for a person to do it; until it is done its posts are late ones."""
    moment = None if error else now()
    await EarlierTokenRepository(work.session).note_removal(UUID(job.payload["token_id"]), moment=moment, error=error)


def no_such_endpoint() -> NotFound:
    return NotFound("there is no whe_ object with this id")
