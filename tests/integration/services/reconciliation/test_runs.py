"""A run from its start to its end, in whatever order its events come."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope
from libs.contracts.event import registry
from libs.contracts.events import (
    DriftDetectedV1,
    ReconciliationCompletedV1,
    RepairRequestedV1,
    SnapshotRequestedV1,
    SyncCompletedV1,
)
from libs.ids import OrgId, new_id
from services.reconciliation.domain.runs import LEADS_PER_REPAIR
from services.reconciliation.jobs import end_stuck
from tests.integration.services.reconciliation.conftest import Agency, Reconciliation

LOST = [("reply:1", "email:ines@example.com"), ("reply:2", "email:omar@example.com")]
TOO_MANY = [("reply:9", "email:ruth@example.com")]


def _outcome(run: dict[str, Any]) -> dict[str, Any]:
    return {name: run[name] for name in ("state", "pass_number", "found", "repaired", "open", "error")}


async def test_nothing_differs_and_the_run_is_over(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id = await reconciliation.starts(agency)
    other = await reconciliation.starts(stranger)

    await reconciliation.hears(agency.captured(run_id, "c1", part=1, parts=2))
    assert (await reconciliation.run(agency, run_id))["state"] == "capturing"
    await reconciliation.hears(agency.captured(run_id, "c2", part=2, parts=2))

    run = await reconciliation.run(agency, run_id)
    assert _outcome(run) == {
        "state": "completed",
        "pass_number": 1,
        "found": 0,
        "repaired": 0,
        "open": 0,
        "error": None,
    }
    assert (run["parts_captured"], run["parts_expected"]) == (2, 2)
    [completed] = await reconciliation.told(agency.org_id, ReconciliationCompletedV1)
    assert completed.campaign_ids == tuple(sorted([agency.campaign("c1"), agency.campaign("c2")]))
    assert await reconciliation.told(agency.org_id, DriftDetectedV1) == []
    assert (await reconciliation.run(stranger, other))["state"] == "requested"


async def test_what_is_missing_is_pulled_and_the_next_capture_proves_it(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id = await reconciliation.starts(agency)

    await reconciliation.hears(agency.captured(run_id, "c1", missing=LOST))
    assert (await reconciliation.run(agency, run_id))["state"] == "repairing"
    [repair] = await reconciliation.told(agency.org_id, RepairRequestedV1)
    assert (repair.campaign_id, repair.campaign_external_id) == (agency.campaign("c1"), "c1")
    assert repair.lead_keys == ("email:ines@example.com", "email:omar@example.com")
    await reconciliation.hears(agency.answered(run_id))
    assert (await reconciliation.run(agency, run_id))["state"] == "verifying"
    await reconciliation.hears(agency.captured(run_id, "c1", pass_number=2))

    expected = {"state": "completed", "pass_number": 2, "found": 1, "repaired": 1, "open": 0, "error": None}
    assert _outcome(await reconciliation.run(agency, run_id)) == expected
    [drift] = await reconciliation.drifts(agency, run_id)
    assert (drift["state"], drift["missing_count"], drift["kind"], drift["day"]) == (
        "repaired",
        2,
        "reply",
        "2026-03-10",
    )
    run = await reconciliation.run(agency, run_id)
    assert (run["missing_messages"], run["repaired_messages"]) == (2, 2)
    assert drift["missing"][0] == {"message": "reply:1", "lead": "email:ines@example.com"}
    assert [event.pass_number for event in await reconciliation.told(agency.org_id, SnapshotRequestedV1)] == [1, 2]
    [told] = await reconciliation.told(agency.org_id, DriftDetectedV1)
    assert (told.kind, told.missing, told.surplus) == ("reply", 2, 0)
    assert await reconciliation.told(stranger.org_id, DriftDetectedV1) == []


async def test_what_stays_missing_is_told_after_the_end_and_never_loops(
    reconciliation: Reconciliation, agency: Agency
) -> None:
    run_id = await reconciliation.starts(agency)
    for pass_number in (1, 2, 3):
        await reconciliation.hears(agency.captured(run_id, "c1", pass_number=pass_number, missing=LOST))
        await reconciliation.hears(agency.answered(run_id, pass_number=pass_number, error="the provider refused"))

    run = await reconciliation.run(agency, run_id)
    assert _outcome(run) == {
        "state": "completed", "pass_number": 3, "found": 1, "repaired": 0, "open": 1,
        "error": "2 pulls failed: the provider refused",
    }  # fmt: skip
    assert (run["missing_messages"], run["repaired_messages"]) == (2, 0)
    assert [drift["state"] for drift in await reconciliation.drifts(agency, run_id)] == ["unrepaired"]
    assert len(await reconciliation.told(agency.org_id, RepairRequestedV1)) == 2
    [completed] = await reconciliation.told(agency.org_id, ReconciliationCompletedV1)
    last = (await reconciliation.told(agency.org_id, DriftDetectedV1))[-1]
    assert (completed.open, last.missing) == (1, 2)
    assert (last.envelope.time, last.envelope.id) > (completed.envelope.time, completed.envelope.id)


async def test_surplus_cannot_be_pulled_away_and_stays_open(reconciliation: Reconciliation, agency: Agency) -> None:
    run_id = await reconciliation.starts(agency)

    await reconciliation.hears(agency.captured(run_id, "c1", surplus=TOO_MANY))

    assert await reconciliation.told(agency.org_id, RepairRequestedV1) == []
    run = await reconciliation.run(agency, run_id)
    assert (run["state"], run["found"], run["open"]) == ("completed", 1, 1)
    assert run["missing_messages"] == 0  # we hold too much, nothing is missing


async def test_a_dry_run_compares_and_touches_nothing(reconciliation: Reconciliation, agency: Agency) -> None:
    run_id = await reconciliation.starts(agency, dry_run=True)

    await reconciliation.hears(agency.captured(run_id, "c1", missing=LOST))

    run = await reconciliation.run(agency, run_id)
    assert (run["state"], run["dry_run"], run["found"], run["open"]) == ("completed", True, 1, 1)
    assert (run["missing_messages"], run["repaired_messages"]) == (2, 0)
    assert [drift["state"] for drift in await reconciliation.drifts(agency, run_id, state="open")] == ["open"]
    assert await reconciliation.told(agency.org_id, RepairRequestedV1) == []


async def test_captures_that_failed_fail_the_run_once_all_are_in(
    reconciliation: Reconciliation, agency: Agency
) -> None:
    run_id = await reconciliation.starts(agency)

    await reconciliation.hears(agency.captured(run_id, "c1", part=1, parts=3, error="the key was refused"))
    await reconciliation.hears(agency.captured(run_id, "c2", part=2, parts=3, missing=LOST))
    assert (await reconciliation.run(agency, run_id))["state"] == "capturing"
    await reconciliation.hears(agency.captured(run_id, "c3", part=3, parts=3))

    run = await reconciliation.run(agency, run_id)
    assert _outcome(run) == {
        "state": "failed", "pass_number": 1, "found": 1, "repaired": 0, "open": 1,
        "error": "1 of 3 campaigns could not be compared: the key was refused",
    }  # fmt: skip
    [completed] = await reconciliation.told(agency.org_id, ReconciliationCompletedV1)
    assert (completed.outcome, completed.error) == ("failed", run["error"])
    assert await reconciliation.told(agency.org_id, RepairRequestedV1) == []


async def test_messages_are_counted_over_all_passes_and_repairs_once_proven(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id, other = await reconciliation.starts(agency), await reconciliation.starts(stranger)
    late = [("sent:3", "email:ruth@example.com")]

    async def counts() -> tuple[int, int]:
        run = await reconciliation.run(agency, run_id)
        return run["missing_messages"], run["repaired_messages"]

    await reconciliation.hears(agency.captured(run_id, "c1", missing=LOST))
    await reconciliation.hears(stranger.captured(other, "c1", missing=TOO_MANY))
    assert await counts() == (2, 0)
    await reconciliation.hears(agency.answered(run_id))
    # One of the two came, and while we pulled another went missing.
    await reconciliation.hears(
        agency.captured(run_id, "c1", pass_number=2, part=1, parts=2, missing=LOST[:1]),
        agency.captured(run_id, "c1", pass_number=2, part=2, parts=2, missing=late, kind="sent"),
    )
    assert await counts() == (3, 0)
    await reconciliation.hears(agency.answered(run_id, pass_number=2))
    await reconciliation.hears(agency.captured(run_id, "c1", pass_number=3, missing=LOST[:1]))

    run = await reconciliation.run(agency, run_id)
    assert (run["state"], run["found"], run["repaired"], run["open"]) == ("completed", 2, 1, 1)
    assert await counts() == (3, 2)
    theirs = await reconciliation.run(stranger, other)
    assert (theirs["missing_messages"], theirs["repaired_messages"]) == (1, 0)


async def test_a_run_that_failed_claims_no_repair(reconciliation: Reconciliation, agency: Agency) -> None:
    run_id = await reconciliation.starts(agency)

    await reconciliation.hears(agency.captured(run_id, "c1", missing=LOST))
    await reconciliation.hears(agency.answered(run_id))
    await reconciliation.hears(agency.captured(run_id, "c1", pass_number=2, error="the key was refused"))

    run = await reconciliation.run(agency, run_id)
    assert (run["state"], run["missing_messages"], run["repaired_messages"]) == ("failed", 2, 0)


async def test_many_leads_are_asked_for_in_several_wishes(reconciliation: Reconciliation, agency: Agency) -> None:
    missing = [(f"reply:{number}", f"email:lead{number}@example.com") for number in range(LEADS_PER_REPAIR + 1)]
    run_id = await reconciliation.starts(agency)

    await reconciliation.hears(agency.captured(run_id, "c1", missing=missing))

    repairs = await reconciliation.told(agency.org_id, RepairRequestedV1)
    assert sorted(len(repair.lead_keys) for repair in repairs) == [1, LEADS_PER_REPAIR]
    await reconciliation.hears(agency.answered(run_id))
    assert (await reconciliation.run(agency, run_id))["state"] == "repairing"
    await reconciliation.hears(agency.answered(run_id))
    assert (await reconciliation.run(agency, run_id))["state"] == "verifying"
    [drift] = await reconciliation.drifts(agency, run_id)
    assert (drift["missing_count"], len(drift["missing"])) == (LEADS_PER_REPAIR + 1, 100)


async def test_the_keys_of_one_day_may_come_in_several_parts_in_any_order(
    reconciliation: Reconciliation, agency: Agency
) -> None:
    for order in itertools.permutations(range(3)):
        one = Agency(agency.org_id)
        run_id = await reconciliation.starts(one)
        told = [
            one.captured(run_id, "c1", part=1, parts=3, differ=True),  # the digests, without room for keys
            one.captured(run_id, "c1", part=2, parts=3, missing=LOST[:1], only_keys=True),
            one.captured(run_id, "c1", part=3, parts=3, missing=LOST[1:], surplus=TOO_MANY, only_keys=True),
        ]
        for number in order:
            await reconciliation.hears(told[number])

        [drift] = await reconciliation.drifts(one, run_id)
        assert (drift["missing_count"], drift["surplus_count"]) == (2, 1)
        assert [key["message"] for key in drift["missing"]] == ["reply:1", "reply:2"]
        repairs = await reconciliation.told(agency.org_id, RepairRequestedV1)
        assert repairs[-1].lead_keys == ("email:ines@example.com", "email:omar@example.com")
        last = (await reconciliation.told(agency.org_id, DriftDetectedV1))[-1]
        assert (last.run_id, last.missing, last.surplus) == (run_id, 2, 1)


def _events(agency: Agency, run_id: UUID) -> list[Envelope]:
    """Three campaigns: one sound, one repaired at once, one that needs two pulls and keeps a surplus."""
    return [
        agency.captured(run_id, "c1", part=1, parts=3),
        agency.captured(run_id, "c2", part=2, parts=3, missing=LOST),
        agency.captured(run_id, "c3", part=3, parts=3, missing=LOST, surplus=TOO_MANY),
        agency.answered(run_id, "c2"),
        agency.answered(run_id, "c3"),
        agency.captured(run_id, "c1", pass_number=2, part=1, parts=3),
        agency.captured(run_id, "c2", pass_number=2, part=2, parts=3),
        agency.captured(run_id, "c3", pass_number=2, part=3, parts=3, missing=LOST[:1], surplus=TOO_MANY),
        agency.answered(run_id, "c3", pass_number=2),
        agency.captured(run_id, "c1", pass_number=3, part=1, parts=3),
        agency.captured(run_id, "c2", pass_number=3, part=2, parts=3),
        agency.captured(run_id, "c3", pass_number=3, part=3, parts=3, surplus=TOO_MANY),
    ]


async def _end_of(reconciliation: Reconciliation, agency: Agency, run_id: UUID) -> dict[str, Any]:
    drifts = await reconciliation.drifts(agency, run_id)
    org = agency.org_id
    run = await reconciliation.run(agency, run_id)
    return {
        "run": _outcome(run),
        "messages": (run["missing_messages"], run["repaired_messages"]),
        "drifts": sorted((drift["campaign_id"], drift["state"], drift["missing_count"]) for drift in drifts),
        "captures": [event.pass_number for event in await reconciliation.told(org, SnapshotRequestedV1)],
        "repairs": sorted(
            (event.pass_number, event.campaign_external_id, event.lead_keys)
            for event in await reconciliation.told(org, RepairRequestedV1)
        ),
        "completed": [
            (event.campaign_ids, event.found, event.open)
            for event in await reconciliation.told(org, ReconciliationCompletedV1)
        ],
        "left": [
            (event.campaign_id, event.missing, event.surplus)
            for event in (await reconciliation.told(org, DriftDetectedV1))[-1:]
        ],
    }


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    again=st.lists(st.integers(0, 11), max_size=5),
    cuts=st.lists(st.integers(0, 30), max_size=8),
)
async def test_every_order_of_captures_and_answers_ends_alike(
    reconciliation: Reconciliation, seed: int, again: list[int], cuts: list[int]
) -> None:
    straight = Agency(OrgId(new_id()))
    shuffled = Agency(OrgId(new_id()), straight.account_id)
    first, second = await reconciliation.starts(straight), await reconciliation.starts(shuffled)
    for event in _events(straight, first):
        await reconciliation.hears(event)
    told = _events(shuffled, second)
    # Told again by the same delivery, and as a new event with the same content.
    told += [told[number] for number in again] + [shuffled.seal(registry.open(told[number])) for number in again]
    random.Random(seed).shuffle(told)
    bounds = [0, *sorted(cut % (len(told) + 1) for cut in cuts), len(told)]

    for start, end in itertools.pairwise(bounds):
        if start < end:
            await reconciliation.hears(*told[start:end])

    expected = await _end_of(reconciliation, straight, first)
    assert expected["run"] == {
        "state": "completed", "pass_number": 3, "found": 2, "repaired": 1, "open": 1, "error": None,
    }  # fmt: skip
    assert expected["messages"] == (4, 4)
    assert expected["left"] == [(straight.campaign("c3"), 0, 1)]
    assert await _end_of(reconciliation, shuffled, second) == expected


async def test_concurrent_batches_end_the_run_once(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id, other = await reconciliation.starts(agency), await reconciliation.starts(stranger)

    await asyncio.gather(
        *(reconciliation.delivers(agency.captured(run_id, f"c{n}", part=n, parts=12)) for n in range(1, 13)),
        *(reconciliation.delivers(stranger.captured(other, f"c{n}", part=n, parts=12)) for n in range(1, 12)),
    )

    assert await reconciliation.failures() == []
    assert len(await reconciliation.told(agency.org_id, ReconciliationCompletedV1)) == 1
    assert (await reconciliation.run(agency, run_id))["state"] == "completed"
    run = await reconciliation.run(stranger, other)
    assert (run["state"], run["parts_captured"]) == ("capturing", 11)


async def test_a_capture_for_anothers_run_is_a_dead_letter(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id = await reconciliation.starts(agency)

    await reconciliation.delivers(stranger.captured(run_id, "c1", missing=LOST), stranger.answered(run_id))

    assert await reconciliation.failures() == [("dead", "tenant_mismatch")] * 2
    run = await reconciliation.run(agency, run_id)
    assert (run["state"], run["parts_captured"]) == ("requested", 0)


async def test_a_pull_that_no_run_asked_for_means_nothing(reconciliation: Reconciliation, agency: Agency) -> None:
    event = SyncCompletedV1(sync_id=new_id(), account_id=agency.account_id, kind="read_back", outcome="done")

    await reconciliation.hears(agency.seal(event))


@pytest.mark.parametrize("waiting_for", ["captures", "repairs"])
async def test_a_run_that_hears_nothing_ends_with_a_reason(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, waiting_for: str
) -> None:
    run_id, other = await reconciliation.starts(agency), await reconciliation.starts(stranger)
    if waiting_for == "repairs":
        await reconciliation.hears(agency.captured(run_id, "c1", missing=LOST))
    async with reconciliation.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE runs SET changed_at = changed_at - interval '2 hours'")

    ended = await end_stuck(reconciliation.database, reconciliation.units, timeout_seconds=1800)

    run = await reconciliation.run(agency, run_id)
    assert (ended, run["state"]) == (1, "failed")
    assert run["error"].startswith("nothing was heard for 1800 s while pass 1 waited for")
    assert waiting_for in run["error"]
    [completed] = await reconciliation.told(agency.org_id, ReconciliationCompletedV1)
    assert completed.outcome == "failed"
    assert (await reconciliation.run(stranger, other))["state"] == "requested"
    assert await end_stuck(reconciliation.database, reconciliation.units, timeout_seconds=1800) == 0
    await reconciliation.hears(agency.captured(run_id, "c1", part=2, parts=2, missing=LOST))  # late: changes nothing
    assert (await reconciliation.run(agency, run_id)) == run
