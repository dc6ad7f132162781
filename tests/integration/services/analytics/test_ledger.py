"""The ledger: every hop in count and in ids, each tenant's own."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from libs.clock import rfc3339
from libs.contracts.envelope import Envelope
from libs.contracts.events import LedgerCount, LedgerCountedV1
from libs.ids import EventId, new_id
from libs.messaging.ledger import bucket_of
from tests.integration.services.analytics.conftest import Agency, Analytics

WEBHOOK, QUEUE = "webhook.received.v1", "provider-sync.webhooks"
LONG_AGO = UUID("01900000-0000-7000-8000-000000000000")  # minted in 2024: its bucket is settled


def _counted(agency: Agency, service: str, *counts: tuple[str, str, UUID, str, int]) -> Envelope:
    """One `ledger.counted` with (hop, event type, event id, state, change) each."""
    event = LedgerCountedV1(
        service=service,
        counts=tuple(
            LedgerCount(
                hop=hop,
                event_type=kind,
                bucket=bucket_of(EventId(id_)),
                state=state,
                count=change,
                ids_xor=f"{id_.int:032x}",
            )
            for hop, kind, id_, state, change in counts
        ),
    )
    return agency.seal(event, source=service)


def _sent(agency: Agency, id_: UUID) -> Envelope:
    return _counted(agency, "webhook-ingest", (WEBHOOK, WEBHOOK, id_, "sent", 1))


def _heard(agency: Agency, id_: UUID, state: str = "done") -> Envelope:
    return _counted(agency, "provider-sync", (QUEUE, WEBHOOK, id_, state, 1))


def _old_id(number: int) -> UUID:
    return UUID(int=LONG_AGO.int + number)


async def _ledger(analytics: Analytics, agency: Agency, **query: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    answer = await analytics.told("/analytics/ledger", agency.org_id, **query)
    hop = next(row for row in answer["data"] if (row["event_type"], row["queue"]) == (WEBHOOK, QUEUE))
    return answer, hop


async def test_every_listener_of_every_event_is_a_hop_but_of_the_ledger_itself(
    analytics: Analytics, agency: Agency
) -> None:
    answer, _ = await _ledger(analytics, agency)

    pairs = {(row["event_type"], row["queue"]) for row in answer["data"]}
    assert ("message.recorded.v1", "analytics.facts") in pairs
    assert {("sync.completed.v1", "analytics.sync"), ("sync.completed.v1", "reconciliation.syncs")} <= pairs
    assert "ledger.counted.v1" not in {event_type for event_type, _ in pairs}
    assert (answer["balanced"], answer["as_of"]) == (True, None)


async def test_what_was_sent_and_not_heard_is_on_the_way_until_it_should_have_settled(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    fresh, lost = new_id(), _old_id(1)
    await analytics.hears(_sent(agency, fresh), _sent(stranger, lost), queue="analytics.ledger")

    answer, hop = await _ledger(analytics, agency)
    assert (hop["sent"], hop["on_the_way"], hop["unaccounted"], answer["balanced"]) == (1, 1, 0, True)
    answer, hop = await _ledger(analytics, agency, settle_seconds=0)
    assert (hop["on_the_way"], hop["unaccounted"], answer["balanced"]) == (1, 1, False)
    answer, hop = await _ledger(analytics, stranger)
    assert (hop["unaccounted"], answer["balanced"]) == (1, False)
    bucket = rfc3339(bucket_of(EventId(lost)))
    assert hop["unbalanced_buckets"] == [{"bucket": bucket, "on_the_way": 1, "ids_differ": False}]


async def test_one_lost_and_one_doubled_do_not_balance(analytics: Analytics, agency: Agency) -> None:
    first, second = _old_id(1), _old_id(2)
    told = [_sent(agency, first), _sent(agency, second), _heard(agency, first), _heard(agency, first)]
    await analytics.hears(*told, queue="analytics.ledger")

    answer, hop = await _ledger(analytics, agency)

    assert (hop["sent"], hop["done"], hop["on_the_way"]) == (2, 2, 0)
    assert (hop["unaccounted"], answer["balanced"]) == (1, False)
    assert hop["unbalanced_buckets"][0]["ids_differ"] is True


async def test_a_retry_that_ends_well_moves_from_due_to_done(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    ids = [_old_id(number) for number in range(20)]
    told = [_sent(agency, id_) for id_ in ids]
    told += [_heard(agency, id_, "due" if number < 4 else "done") for number, id_ in enumerate(ids[:18])]
    told += [_heard(agency, ids[18], "dead"), _heard(agency, ids[19], "parked")]
    told += [
        _counted(agency, "provider-sync", (QUEUE, WEBHOOK, id_, "due", -1), (QUEUE, WEBHOOK, id_, "done", 1))
        for id_ in ids[:3]
    ]
    told.append(
        _counted(agency, "provider-sync", (QUEUE, WEBHOOK, ids[3], "due", -1), (QUEUE, WEBHOOK, ids[3], "discarded", 1))
    )
    random.Random(3).shuffle(told)
    for start in range(0, len(told), 7):
        await analytics.hears(*told[start : start + 7], queue="analytics.ledger")
        await analytics.hears(*told[start : start + 7], queue="analytics.ledger")  # redelivered: counted once

    answer, hop = await _ledger(analytics, agency, settle_seconds=0)

    expected = {"sent": 20, "done": 17, "due": 0, "dead": 1, "parked": 1, "discarded": 1, "on_the_way": 0}
    assert {name: hop[name] for name in expected} == expected
    assert (hop["unaccounted"], hop["balanced"], answer["balanced"]) == (0, True, True)
    assert (await _ledger(analytics, stranger))[1]["sent"] == 0


async def test_what_is_heard_by_two_is_judged_for_each(analytics: Analytics, agency: Agency) -> None:
    sync, id_ = "sync.completed.v1", _old_id(1)
    told = [
        _counted(agency, "provider-sync", (sync, sync, id_, "sent", 1)),
        _counted(agency, "analytics", ("analytics.sync", sync, id_, "done", 1)),
    ]
    await analytics.hears(*told, queue="analytics.ledger")

    answer, _ = await _ledger(analytics, agency)

    hops = {row["queue"]: row["unaccounted"] for row in answer["data"] if row["event_type"] == sync}
    assert hops == {"analytics.sync": 0, "reconciliation.syncs": 1}


async def test_the_door_balances_in_count_and_ids(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    states = ["published", "published", "duplicate", "quarantined"]
    for number, state in enumerate(states):
        id_ = _old_id(number)
        counts = [("door", WEBHOOK, id_, "accepted", 1), ("door", WEBHOOK, id_, state, 1)]
        await analytics.hears(_counted(agency, "webhook-ingest", *counts), queue="analytics.ledger")
    lost = _counted(stranger, "webhook-ingest", ("door", WEBHOOK, _old_id(9), "accepted", 1))
    await analytics.hears(lost, queue="analytics.ledger")

    (mine, _), (theirs, _) = await _ledger(analytics, agency), await _ledger(analytics, stranger)

    door = mine["door"]
    assert (door["accepted"], door["published"], door["duplicate"], door["quarantined"]) == (4, 2, 1, 1)
    assert (door["balanced"], door["unaccounted"]) == (True, 0)
    assert (theirs["door"]["unaccounted"], theirs["door"]["on_the_way"], theirs["balanced"]) == (1, 1, False)
