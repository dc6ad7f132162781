"""Archived companies: nothing is compared for them any more, and what was stays to be read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from libs.contracts.events import CompanyArchivedV1, SnapshotRequestedV1
from libs.ids import CompanyId, new_id, public_id
from services.reconciliation import jobs
from tests.integration.services.reconciliation.conftest import SCHEDULES, Agency, DatabaseClock, Reconciliation

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)


@pytest.fixture
def mine(agency: Agency) -> Agency:
    agency.company_id = CompanyId(new_id())
    return agency


async def archive(reconciliation: Reconciliation, agency: Agency) -> None:
    assert agency.company_id is not None
    await reconciliation.hears(agency.seal(CompanyArchivedV1(company_id=agency.company_id, name="One")))


async def test_nothing_is_compared_for_an_archived_company(
    reconciliation: Reconciliation, mine: Agency, stranger: Agency
) -> None:
    await archive(reconciliation, mine)  # word of it may come before word of its account
    await reconciliation.hears(mine.account(), stranger.account())

    for path, more in (("/reconciliations", {}), (SCHEDULES, {"interval_seconds": 3600})):
        body = {"account_id": public_id("acc", mine.account_id)} | more
        refused = await reconciliation.asks("POST", path, mine.org_id, json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "company_archived"), path

    assert await reconciliation.runs(mine) == []
    assert await reconciliation.told(mine.org_id, SnapshotRequestedV1) == []
    await reconciliation.starts(stranger)


async def test_a_schedule_of_an_archived_company_starts_nothing_and_can_only_be_ended(
    reconciliation: Reconciliation, mine: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    schedule, theirs = await reconciliation.scheduled(mine), await reconciliation.scheduled(stranger)
    await archive(reconciliation, mine)
    await archive(reconciliation, mine)
    clock.now = NOON + timedelta(minutes=5)

    assert (await reconciliation.puts(mine, schedule, "2026-07-11T12:00:00Z")).json()["code"] == "company_archived"
    await jobs.start_due(reconciliation.database, reconciliation.units)

    assert await reconciliation.runs(mine) == []
    assert len(await reconciliation.runs(stranger)) == 1
    shown = (await reconciliation.asks("GET", f"{SCHEDULES}/{schedule}", mine.org_id)).json()
    assert (shown["enabled"], shown["next_slot"], shown["revision"]) == (False, None, 2)
    on = {"revision": 2, "enabled": True}
    refused = await reconciliation.asks("PATCH", f"{SCHEDULES}/{schedule}", mine.org_id, json=on)
    assert (refused.status_code, refused.json()["code"]) == (409, "company_archived")
    assert (await reconciliation.asks("DELETE", f"{SCHEDULES}/{schedule}", mine.org_id)).status_code == 204
    other = (await reconciliation.asks("GET", f"{SCHEDULES}/{theirs}", stranger.org_id)).json()
    assert (other["enabled"], other["revision"]) == (True, 1)
