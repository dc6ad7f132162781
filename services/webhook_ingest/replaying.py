"""Deliveries are read again: told once more, to the one that reads them, under a new id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from libs.errors import Conflict
from libs.ids import new_id, parse_public_id, public_id
from libs.messaging.work import UnitOfWork
from libs.providers.registry import Provider
from services.webhook_ingest.domain import Judged
from services.webhook_ingest.handlers import as_arrival, as_event, no_such_delivery, sees_whole_org
from services.webhook_ingest.reading import read
from services.webhook_ingest.repository import DeliveryRepository
from services.webhook_ingest.schemas import DeliveryReplayIn


async def replay_again(
    asked: DeliveryReplayIn, work: UnitOfWork, *, providers: Mapping[str, Provider]
) -> dict[str, Any]:
    """Publish WebhookReceivedV1 again for each delivery that was published once, with a `replayid`. Audited.

    A repeated delivery stands for its first. What the reader did not do yet it tries in the place of this (provider_sync).

    Raises:
        NotFound: this org lacks one of them; none is told.
        Conflict: one is quarantined; that is released, not replayed.
    """
    sees_whole_org(work)
    deliveries, replay_id = DeliveryRepository(work.session), new_id()
    if asked.delivery_ids:
        ids = [parse_public_id("dlv", one) for one in asked.delivery_ids]
        known = {row["id"]: row for row in await deliveries.find_all(ids)}
        if missing := [one for one in ids if one not in known]:
            del missing
            raise no_such_delivery()
        if held := [one for one in ids if known[one]["verdict"] == "quarantined"]:
            raise Conflict(f"{public_id('dlv', held[0])} is quarantined: release it", code="quarantined")
        wanted = [known[one]["duplicate_of"] or one for one in ids]
        rows, has_more = await deliveries.with_bodies(list(dict.fromkeys(wanted))), False
    else:
        rows = await deliveries.published(
            account_id=_parsed("acc", asked.account_id),
            endpoint_id=_parsed("whe", asked.endpoint_id),
            received_from=asked.received_from,
            received_until=asked.received_until,
            after=_parsed("dlv", asked.after),
            limit=asked.max + 1,
        )
        rows, has_more = rows[: asked.max], len(rows) > asked.max
    if not asked.dry_run:
        for row in rows:
            reading = read(providers, row["provider"], row["body"])
            arrival = as_arrival(row, reading, providers.get(row["provider"]), work.org_id)
            work.publish(as_event(Judged(arrival, row["verdict"], None)), replay_id=replay_id)
        if rows:
            details = {"deliveries": len(rows), "reason_given": True}
            work.audit("deliveries.replayed", public_id("rpl_deliveries", replay_id), details)
    ids = [row["id"] for row in rows]
    return {
        "replay_id": public_id("rpl_deliveries", replay_id),
        "dry_run": asked.dry_run,
        "delivery_ids": [public_id("dlv", one) for one in ids],
        "has_more": has_more,
        "next_after": public_id("dlv", ids[-1]) if has_more else None,
    }


def _parsed(prefix: str, text: str | None) -> UUID | None:
    return None if text is None else parse_public_id(prefix, text)
