"""What the service does: keep deliveries, open endpoints, show deliveries."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from libs.clock import now
from libs.contracts.event import seal
from libs.contracts.events import WebhookEndpointChangedV1, WebhookEndpointReadyV1, WebhookReceivedV1
from libs.crash import crash_point
from libs.database.engine import Database
from libs.errors import Conflict, ContractViolated, Forbidden, NotFound
from libs.ids import AccountId, EventId, OrgId, public_id
from libs.messaging import work as works
from libs.messaging.ledger import Changes
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from libs.providers.sightings import DoorReading
from libs.web.cursors import Cursors, page
from libs.web.sources import Network, networks
from services.webhook_ingest import domain
from services.webhook_ingest.domain import Arrival, Endpoint, Judged, Token
from services.webhook_ingest.reading import read
from services.webhook_ingest.repository import DeliveryRepository, EndpointRepository

_LEDGER_STATE = {
    "accepted": "published",
    "conflict": "published",
    "duplicate": "duplicate",
    "quarantined": "quarantined",
}


async def keep_deliveries(arrivals: Sequence[Arrival], *, database: Database, source: str) -> None:
    """Store deliveries of any orgs, and tell the new ones, in one transaction; it has committed when this returns.

    Publishes WebhookReceivedV1 (its id is the delivery's) for each first body of a dedupe key and, flagged, for each other
    body of that key. Repetitions and what is no payload are stored and counted only.
    """
    async with database.transaction() as transaction:
        changes = Changes()  # one for all orgs: one insert
        kept = []
        for org_id, mine in domain.by_org(arrivals):
            work = UnitOfWork(await transaction.as_tenant(org_id), source)
            work.changes = changes
            await _keep_of_one_org(mine, work, source)
            kept.append(work)
        await works.keep(transaction, database.schema, kept, changes)
        crash_point("ingest.written")


async def _keep_of_one_org(arrivals: Sequence[Arrival], work: UnitOfWork, source: str) -> None:
    deliveries = DeliveryRepository(work.session)
    firsts = await deliveries.claim(domain.claims(arrivals))
    variants = await deliveries.claim_variants(domain.variant_claims(arrivals, firsts))
    judged = [domain.judge(arrival, firsts, variants) for arrival in arrivals]
    await deliveries.save(judged)
    for one in judged:
        work.count_at_door(WebhookReceivedV1.routing_key, one.arrival.id, "accepted")
        work.count_at_door(WebhookReceivedV1.routing_key, one.arrival.id, _LEDGER_STATE[one.verdict])
        if one.is_published:
            # Sealed here and not by `work.publish`: each event belongs to its own request's trace.
            envelope = seal(
                as_event(one),
                source=source,
                org_id=work.org_id,
                event_id=EventId(one.arrival.id),
                traceparent=one.arrival.traceparent,
            )
            work.published.append(envelope)


def as_event(judged: Judged) -> WebhookReceivedV1:
    arrival = judged.arrival
    return WebhookReceivedV1(
        delivery_id=arrival.id,
        provider=arrival.endpoint.provider,
        account_id=arrival.endpoint.account_id,
        endpoint_id=arrival.endpoint.id,
        received_at=arrival.received_at,
        event_type=arrival.event_type,
        conflicting=judged.verdict == "conflict",
        token_id=arrival.token_id,
        signature_headers=arrival.signature_headers,
        source_listed=arrival.source_listed,
        body=arrival.body,
    )


async def open_endpoints(events: Sequence[WebhookEndpointChangedV1], work: UnitOfWork) -> None:
    """Know one org's endpoints as their newest revisions say.

    Publishes WebhookEndpointReadyV1 for each that is open then, also when it was known before: a repeated wish gets its
    answer again.

    Raises:
        ContractViolated: a token's hash is not 64 hex digits, or a source no CIDR block.
    """
    newest: dict[UUID, WebhookEndpointChangedV1] = {}
    for event in sorted(events, key=lambda event: event.revision):
        newest[event.endpoint_id] = event
    open_now = await EndpointRepository(work.session).save_all(
        Endpoint(
            id=event.endpoint_id,
            org_id=work.org_id,
            account_id=AccountId(event.account_id),
            provider=event.provider,
            tokens=_tokens(event),
            is_open=event.status == "open",
            revision=event.revision,
            allowed_sources=_sources(event),
            enforces_sources=event.source_mode == "enforce",
        )
        for event in newest.values()
    )
    for endpoint_id, event in newest.items():
        if endpoint_id in open_now:
            ready = WebhookEndpointReadyV1(endpoint_id=endpoint_id, token_id=open_now[endpoint_id])
            work.publish(ready, cause=event.envelope)


def _tokens(event: WebhookEndpointChangedV1) -> tuple[Token, ...]:
    return (
        Token(event.token_id or event.endpoint_id, _digest(event.token_sha256)),
        *(Token(one.token_id, _digest(one.token_sha256), one.ends_at, one.dead_at) for one in event.earlier_tokens),
    )


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ContractViolated("token_sha256 is not 64 hex digits")
    return digest


def _sources(event: WebhookEndpointChangedV1) -> tuple[Network, ...]:
    try:
        return networks(event.allowed_sources)
    except ValueError:
        raise ContractViolated("allowed_sources holds what is no CIDR block") from None


async def list_deliveries(
    work: UnitOfWork, cursors: Cursors, *, verdict: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    """One page, newest first, without bodies."""
    sees_whole_org(work)
    query = f"deliveries:{verdict or ''}"
    position = cursors.read(after, org_id=work.org_id, query=query)
    as_of = now()
    rows = await DeliveryRepository(work.session).page(
        verdict=verdict, before=UUID(position[0]) if position else None, limit=limit + 1
    )
    shown, has_more = page(rows, limit)
    return {
        "data": [_shown(row) for row in shown],
        "has_more": has_more,
        "next_cursor": cursors.write([str(shown[-1]["id"])], org_id=work.org_id, query=query) if has_more else None,
        "as_of": as_of,
    }


async def release_deliveries(
    work: UnitOfWork, ids: Sequence[UUID], *, providers: Mapping[str, Provider]
) -> dict[str, Any]:
    """Judge quarantined deliveries anew as if nothing had been held against them, and tell those that are new.

    Their bytes are read by this build, so what an earlier one could not read may pass by now. One that is not quarantined
    (any more) is answered as it is.

    Publishes WebhookReceivedV1 as if it had just come in, and ActionPerformedV1 for each.

    Raises:
        NotFound: this org lacks one of them; none is released.
        Conflict: one is no payload of its provider, whatever it was quarantined for; none is released.
    """
    sees_whole_org(work)
    deliveries = DeliveryRepository(work.session)
    held = await deliveries.lock_quarantined(ids)
    arrivals = []
    for row in held:
        reading = read(providers, row["provider"], row["body"])
        if reading.dedupe_key is None:
            raise Conflict(
                f"{public_id('dlv', row['id'])} is no payload of {row['provider']}: {reading.quarantine_reason}",
                code="not_releasable",
            )
        arrivals.append(as_arrival(row, reading, providers.get(row["provider"]), work.org_id))
    firsts = await deliveries.claim(domain.claims(arrivals))
    variants = await deliveries.claim_variants(domain.variant_claims(arrivals, firsts))
    judged = [domain.judge(arrival, firsts, variants) for arrival in arrivals]
    await deliveries.release(judged)
    for one in judged:
        work.count_at_door(WebhookReceivedV1.routing_key, one.arrival.id, "quarantined", -1)
        work.count_at_door(WebhookReceivedV1.routing_key, one.arrival.id, _LEDGER_STATE[one.verdict])
        if one.is_published:
            work.publish(as_event(one), event_id=EventId(one.arrival.id))
        work.audit("delivery.released", public_id("dlv", one.arrival.id), {"verdict": one.verdict})
    rows = {row["id"]: row for row in await deliveries.find_all(ids)}
    missing = next((one for one in ids if one not in rows), None)
    if missing is not None:
        raise no_such_delivery()
    return {"data": [_shown(rows[one]) for one in dict.fromkeys(ids)]}


def as_arrival(row: dict[str, Any], reading: DoorReading, provider: Provider | None, org_id: OrgId) -> Arrival:
    kept = orjson.loads(row["headers"])
    signing = provider.signing if provider is not None else None
    nobody = Endpoint(
        row["endpoint_id"], org_id, AccountId(row["account_id"]), row["provider"], (), is_open=False, revision=0
    )
    return Arrival(
        id=row["id"],
        endpoint=nobody,
        token_id=row["token_id"] or row["endpoint_id"],
        received_at=row["received_at"],
        body=row["body"],
        body_sha256=row["body_sha256"],
        headers=row["headers"],
        signature_headers=None if signing is None else domain.signature_headers(kept, signing.headers),
        source=row["source_address"],
        source_listed=row["source_listed"],
        dedupe_key=reading.dedupe_key,
        event_type=reading.event_type or "",
        quarantine_reason=None,
        traceparent=None,
    )


async def get_delivery(work: UnitOfWork, delivery_id: UUID) -> dict[str, Any]:
    """One delivery with its headers and bytes.

    Raises:
        NotFound: this org has none of this id.
    """
    sees_whole_org(work)
    row = await DeliveryRepository(work.session).find(delivery_id)
    if row is None:
        raise no_such_delivery()
    return _shown(row) | {
        "headers": orjson.loads(row["headers"]),
        "body_base64": base64.b64encode(row["body"]).decode("ascii"),
    }


def no_such_delivery() -> NotFound:
    return NotFound("there is no dlv_ object with this id")


def sees_whole_org(work: UnitOfWork) -> None:
    # Which company a delivery is about only provider_sync can tell.
    if not work.session.scope.is_all:
        raise Forbidden("deliveries belong to the whole organization; this needs access to all of its companies")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": public_id("dlv", row["id"]),
        "endpoint_id": public_id("whe", row["endpoint_id"]),
        "account_id": public_id("acc", row["account_id"]),
        "provider": row["provider"],
        "received_at": row["received_at"],
        "event_type": row["event_type"],
        "verdict": row["verdict"],
        "duplicate_of": None if row["duplicate_of"] is None else public_id("dlv", row["duplicate_of"]),
        "quarantine_reason": row["quarantine_reason"],
        "size_bytes": row["size_bytes"],
        "body_sha256": row["body_sha256"].hex(),
        "source_address": None if row["source_address"] is None else str(row["source_address"]),
        "source_listed": row["source_listed"],
        "released_at": row["released_at"],
        "released_from": row["released_from"],
    }
