"""Webhook endpoints: showing them, configuring them, releasing what they withheld. Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import asyncpg

from libs.clock import now
from libs.errors import Conflict, Invalid, Unsupported
from libs.ids import new_id, parse_public_id, public_id
from libs.messaging import withholding
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from libs.web.cursors import Cursors, page
from services.provider_sync.domain import endpoints as rules
from services.provider_sync.domain.endpoints import Counts
from services.provider_sync.endpoint_schemas import (
    EndpointChangeIn,
    EndpointDetail,
    EndpointOut,
    ReleasedOut,
    SigningSecretOut,
    SuggestionOut,
    TokenOut,
    VerificationOut,
)
from services.provider_sync.handlers.rotations import no_such_endpoint, tell_door
from services.provider_sync.repository.endpoints import (
    Configured,
    ConfiguredRepository,
    EarlierTokenRepository,
    SecretsRepository,
)
from services.provider_sync.schemas import Page
from services.provider_sync.sealing import Sealer

WEBHOOKS_QUEUE = "provider-sync.webhooks"


async def list_endpoints(work: UnitOfWork, cursors: Cursors, *, after: str | None, limit: int) -> Page[EndpointOut]:
    """Newest first."""
    position = cursors.read(after, org_id=work.org_id, query="webhook-endpoints")
    before = None if position is None else UUID(position[0])
    rows, more = page(await ConfiguredRepository(work.session).page(before, limit), limit)
    heard = [row["last_webhook_at"] for row in rows if row["last_webhook_at"] is not None]
    return Page(
        data=[EndpointOut(**_fields(row)) for row in rows],
        has_more=more,
        next_cursor=cursors.write([rows[-1]["id"]], org_id=work.org_id, query="webhook-endpoints") if more else None,
        as_of=now(),
        last_webhook_at=max(heard, default=None),
    )


async def show_endpoint(work: UnitOfWork, endpoint_id: UUID, providers: Mapping[str, Provider]) -> EndpointDetail:
    """Raises: NotFound."""
    row = await ConfiguredRepository(work.session).find_shown(endpoint_id)
    if row is None:
        raise no_such_endpoint()
    tokens = await EarlierTokenRepository(work.session).shown(endpoint_id)
    secrets = await SecretsRepository(work.session).shown(endpoint_id)
    provider = providers.get(row["provider"])
    return EndpointDetail(
        **_fields(row),
        tokens=[_newest(row), *(_earlier(token) for token in tokens)],
        can_be_signed=provider is not None and provider.signing is not None,
        signing_secrets=[
            SigningSecretOut(id=public_id("whs", one["id"]), created_at=one["made_at"]) for one in secrets
        ],
    )


async def change_endpoint(
    endpoint_id: UUID,
    change: EndpointChangeIn,
    work: UnitOfWork,
    *,
    providers: Mapping[str, Provider],
    sealer: Sealer,
) -> None:
    """What is not named stays. The counts begin anew.

    Publishes WebhookEndpointChangedV1 and ActionPerformedV1.

    Raises:
        NotFound: the org has no such endpoint, or the caller does not see its company.
        Unsupported: the provider cannot prove its deliveries.
        Invalid: a mode without secrets, a secret that is none, a source that is no address block, too many secrets.
        Conflict: somebody changed it since it was read; a proof is required that no delivery has shown yet.
        KeysUnavailable: there is no key to seal with.
    """
    endpoints = ConfiguredRepository(work.session)
    endpoint = await endpoints.lock(endpoint_id)
    if endpoint is None:
        raise no_such_endpoint()
    if change.revision != endpoint.revision:
        raise Conflict(
            f"the endpoint was changed: it is at revision {endpoint.revision} now; read it again",
            code="revision_conflict",
        )
    provider = providers[endpoint.provider]
    held = await _change_secrets(endpoint, change, work, provider, sealer)
    mode = change.signature_mode or endpoint.signature_mode
    if mode != "off":
        _check_signing(provider)
        if not held:
            raise Invalid("without a signing secret nothing can be proven: add one", pointer="/signature_mode")
    new_secrets = change.add_signing_secret is not None or change.remove_signing_secrets
    if mode == "require" and endpoint.signature_mode != "require" and (new_secrets or not endpoint.verified):
        raise Conflict(
            "no delivery was proven yet with what is configured now, so all would be withheld: observe first",
            code="not_observed",
        )
    sources = endpoint.allowed_sources if change.allowed_sources is None else change.allowed_sources
    checked = rules.checked_sources(sources)
    source_mode = change.source_mode or endpoint.source_mode
    if source_mode == "enforce" and not checked:
        raise Invalid("no source would be allowed: name some in allowed_sources", pointer="/source_mode")
    await endpoints.configure(
        endpoint.id, signature_mode=mode, source_mode=source_mode, allowed_sources=checked, moment=now()
    )
    await tell_door(endpoint.id, work)
    work.audit(
        "webhook_endpoint.changed",
        public_id("whe", endpoint.id),
        {
            "fields": sorted(change.model_fields_set - {"revision"}),
            "signature_mode": mode,
            "source_mode": source_mode,
            "allowed_sources": checked,
        },
        company_id=endpoint.company_id,
    )


async def release_withheld(endpoint_id: UUID, work: UnitOfWork) -> ReleasedOut:
    """Judge anew, as the endpoint is configured now, what it withheld for want of a proof. What still shows none is
    withheld again.

    Raises:
        NotFound: the org has no such endpoint, or the caller does not see its company.
    """
    endpoint = await ConfiguredRepository(work.session).lock(endpoint_id)
    if endpoint is None:
        raise no_such_endpoint()
    released = await withholding.release(work, WEBHOOKS_QUEUE, rules.SignatureRefused.code, mentions=str(endpoint_id))
    if released:
        work.audit(
            "webhook_endpoint.released",
            public_id("whe", endpoint.id),
            {"deliveries": released},
            company_id=endpoint.company_id,
        )
    return ReleasedOut(released=released, has_more=released == withholding.RELEASED_AT_ONCE)


def _check_signing(provider: Provider) -> None:
    if provider.signing is None:
        raise Unsupported(
            f"{provider.name} signs nothing and sends no secret along: whoever knows an endpoint's URL can post to it. "
            "Rotate it when it may have leaked, and list the sources that you know",
            pointer="/signature_mode",
        )


async def _change_secrets(
    endpoint: Configured, change: EndpointChangeIn, work: UnitOfWork, provider: Provider, sealer: Sealer
) -> int:
    """Answers how many secrets there are then."""
    secrets = SecretsRepository(work.session)
    if change.remove_signing_secrets:
        ids = {parse_public_id("whs", one) for one in change.remove_signing_secrets}
        if await secrets.delete(endpoint.id, ids) < len(ids):
            raise Invalid("this endpoint has no such signing secret", pointer="/remove_signing_secrets")
    if change.add_signing_secret is not None:
        _check_signing(provider)
        secret_id = new_id()
        plain = change.add_signing_secret.get_secret_value()
        if not plain.isprintable():
            raise Invalid("a signing secret is visible text without line breaks", pointer="/add_signing_secret")
        sealed = await sealer.seal(plain, work.session, table="signing_secrets", row_id=secret_id)
        await secrets.insert(secret_id, endpoint.id, secret=sealed, moment=now())
    held = len(await secrets.shown(endpoint.id))
    if held > rules.MOST_SECRETS:
        raise Invalid(
            f"an endpoint has {rules.MOST_SECRETS} signing secrets at most: remove an old one in the same request",
            pointer="/add_signing_secret",
        )
    return held


def _fields(row: asyncpg.Record) -> dict[str, Any]:
    counts = Counts(row["verified"], row["unsigned"], row["mismatched"], row["listed"], row["unlisted"])
    suggested = rules.suggestions(
        row["signature_mode"], row["has_secrets"], row["source_mode"], bool(row["allowed_sources"]), counts
    )
    return {
        "id": public_id("whe", row["id"]),
        "account_id": public_id("acc", row["account_id"]),
        "company_id": public_id("cmp", row["company_id"]),
        "provider": row["provider"],
        "revision": row["revision"],
        "status": row["status"],
        "error": row["error"],
        "webhook_external_id": row["provider_webhook_id"],
        "last_webhook_at": row["last_webhook_at"],
        "silent_since": row["silent_since"],
        "verification": VerificationOut(
            state=row["verification"],
            last_verified_at=row["verified_at"],
            last_checked_at=row["checked_at"],
            last_repaired_at=row["repaired_at"],
            error=row["verification_error"],
        ),
        "signature_mode": row["signature_mode"],
        "source_mode": row["source_mode"],
        "allowed_sources": row["allowed_sources"],
        "counts": {
            "since": row["counted_since"],
            "verified": counts.verified,
            "unsigned": counts.unsigned,
            "mismatched": counts.mismatched,
            "listed": counts.listed,
            "unlisted": counts.unlisted,
        },
        "suggestions": [SuggestionOut(field=one.field, value=one.value, because=one.because) for one in suggested],
    }


def _newest(row: asyncpg.Record) -> TokenOut:
    return TokenOut(
        id=public_id("wht", row["token_id"]),
        last4=row["token_last4"],
        state="newest",
        created_at=row["token_made_at"],
    )


def _earlier(row: asyncpg.Record) -> TokenOut:
    token = rules.EarlierToken(
        row["id"], row["sha256"], row["replaced_at"], row["overlap_ends_at"], row["ends_at"], row["ended_at"],
        row["last_used_at"],
    )  # fmt: skip
    moment = now()
    return TokenOut(
        id=public_id("wht", row["id"]),
        last4=row["last4"],
        state="dead" if token.is_dead(moment) else "ended" if token.is_over(moment) else "overlapping",
        created_at=row["made_at"],
        replaced_at=token.replaced_at,
        overlap_ends_at=token.overlap_ends_at,
        ends_at=token.end,
        refused_from=token.dead_at,
        last_used_at=token.last_used_at,
        removed_at=row["removed_at"],
        removal_error=row["removal_error"],
    )
