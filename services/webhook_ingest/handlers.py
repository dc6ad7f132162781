"""What the service does: keep deliveries, open endpoints, show deliveries."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from libs.clock import now
from libs.contracts.event import seal
from libs.contracts.events import WebhookEndpointChangedV1, WebhookEndpointReadyV1, WebhookReceivedV1
from libs.database.engine import Database
from libs.errors import ContractViolated, Forbidden, NotFound
from libs.ids import AccountId, EventId, public_id
from libs.messaging import work as works
from libs.messaging.ledger import Changes
from libs.messaging.work import UnitOfWork
from libs.web.cursors import Cursors, page
from services.webhook_ingest import domain
from services.webhook_ingest.domain import Arrival, Endpoint, Judged
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
                _as_event(one),
                source=source,
                org_id=work.org_id,
                event_id=EventId(one.arrival.id),
                traceparent=one.arrival.traceparent,
            )
            work.published.append(envelope)


def _as_event(judged: Judged) -> WebhookReceivedV1:
    arrival = judged.arrival
    return WebhookReceivedV1(
        delivery_id=arrival.id,
        provider=arrival.endpoint.provider,
        account_id=arrival.endpoint.account_id,
        endpoint_id=arrival.endpoint.id,
        received_at=arrival.received_at,
        event_type=arrival.event_type,
        conflicting=judged.verdict == "conflict",
        body=arrival.body,
    )


async def open_endpoints(events: Sequence[WebhookEndpointChangedV1], work: UnitOfWork) -> None:
    """Know one org's endpoints as their newest revisions say.

    Publishes WebhookEndpointReadyV1 for each that is open then, also when it was known before: a repeated wish gets its
    answer again.

    Raises:
        ContractViolated: a token's hash is not 64 hex digits.
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
            token_sha256=_digest(event.token_sha256),
            is_open=event.status == "open",
            revision=event.revision,
        )
        for event in newest.values()
    )
    for endpoint_id, event in newest.items():
        if endpoint_id in open_now:
            work.publish(WebhookEndpointReadyV1(endpoint_id=endpoint_id), cause=event.envelope)


def _digest(text: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ContractViolated("token_sha256 is not 64 hex digits")
    return digest


async def list_deliveries(
    work: UnitOfWork, cursors: Cursors, *, verdict: str | None, after: str | None, limit: int
) -> dict[str, Any]:
    """One page, newest first, without bodies."""
    _sees_whole_org(work)
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


async def get_delivery(work: UnitOfWork, delivery_id: UUID) -> dict[str, Any]:
    """One delivery with its headers and bytes.

    Raises:
        NotFound: this org has none of this id.
    """
    _sees_whole_org(work)
    row = await DeliveryRepository(work.session).find(delivery_id)
    if row is None:
        raise NotFound("there is no dlv_ object with this id")
    return _shown(row) | {
        "headers": orjson.loads(row["headers"]),
        "body_base64": base64.b64encode(row["body"]).decode("ascii"),
    }


def _sees_whole_org(work: UnitOfWork) -> None:
    # Which company a delivery is about only provider_sync can tell.
    if not work.session.scope.is_all:
        raise Forbidden("deliveries belong to the whole organization; this needs access to all of its companies")


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": public_id("dlv", row["id"]),
        "endpoint_id": str(row["endpoint_id"]),
        "account_id": public_id("acc", row["account_id"]),
        "provider": row["provider"],
        "received_at": row["received_at"],
        "event_type": row["event_type"],
        "verdict": row["verdict"],
        "duplicate_of": None if row["duplicate_of"] is None else public_id("dlv", row["duplicate_of"]),
        "quarantine_reason": row["quarantine_reason"],
        "size_bytes": row["size_bytes"],
        "body_sha256": row["body_sha256"].hex(),
    }
