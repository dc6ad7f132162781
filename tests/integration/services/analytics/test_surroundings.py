"""What others tell: accounts, drift, syncs; the newest counts, whatever the order."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from libs.contracts.envelope import Envelope
from libs.contracts.events import (
    CompanyCreatedV1,
    DriftDetectedV1,
    OrganizationCreatedV1,
    ProviderAccountChangedV1,
    ReconciliationCompletedV1,
    SyncCompletedV1,
)
from libs.ids import new_id, public_id
from tests.integration.services.analytics.conftest import Agency, Analytics


def _drift(agency: Agency, run_id: UUID, missing: int, kind: str = "reply", campaign: str = "c1") -> Envelope:
    event = DriftDetectedV1(
        run_id=run_id, account_id=agency.account_id, campaign_id=agency.id_of("campaign", campaign), kind=kind,
        missing=missing, surplus=0,
    )  # fmt: skip
    return agency.seal(event, source="reconciliation")


def _completed(agency: Agency, run_id: UUID, *campaigns: str, outcome: str = "completed") -> Envelope:
    event = ReconciliationCompletedV1(
        run_id=run_id, account_id=agency.account_id, outcome=outcome,
        campaign_ids=tuple(agency.id_of("campaign", campaign) for campaign in campaigns),
    )  # fmt: skip
    return agency.seal(event, source="reconciliation")


async def _completeness(analytics: Analytics, agency: Agency) -> dict[str, Any]:
    answer = await analytics.told(
        "/analytics/campaigns", agency.org_id, campaign_id=public_id("cam", agency.id_of("campaign", "c1"))
    )
    assert answer["completeness"] == answer["data"][0]["completeness"]
    return dict(answer["completeness"])


async def test_a_completed_run_closes_the_drift_told_before_it_in_any_order(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    for order in itertools.permutations(range(4)):
        one = Agency(agency.org_id)  # an account of its own
        run = new_id()
        told = [
            _drift(one, run, 5),
            _drift(one, run, 2, kind="sent"),
            _completed(one, run, "c1"),
            _drift(one, run, 3),  # told after the end: left open
        ]
        await analytics.hears(one.campaign("c1"))
        for number in order:
            await analytics.hears(told[number], queue="analytics.drift")

        completeness = await _completeness(analytics, one)

        assert completeness["open_drift"] == 3
        assert datetime.fromisoformat(completeness["last_reconciled_at"]) == told[2].time


async def test_drift_is_each_tenants_own_and_a_failed_run_closes_nothing(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    run = new_id()
    await analytics.hears(agency.campaign("c1"), stranger.campaign("c1"))
    await analytics.hears(
        _drift(agency, run, 2), _completed(agency, run, "c1", outcome="failed"), queue="analytics.drift"
    )

    assert await _completeness(analytics, agency) == {"open_drift": 2, "last_reconciled_at": None}
    assert await _completeness(analytics, stranger) == {"open_drift": 0, "last_reconciled_at": None}


async def test_of_an_account_the_highest_revision_stays(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    def account(revision: int, status: str) -> Envelope:
        event = ProviderAccountChangedV1.model_validate(
            {"account_id": agency.account_id, "revision": revision, "provider": "smartlead", "channel": "email",
             "name": "Main", "status": status}
        )  # fmt: skip
        return agency.seal(event)

    await analytics.hears(account(3, "needs_reauth"), account(1, "active"), queue="analytics.tenants")
    await analytics.hears(account(2, "paused"), queue="analytics.tenants")

    for one, expected in ((agency, [(3, "needs_reauth")]), (stranger, [])):
        async with analytics.database.tenant_transaction(one.org_id) as session:
            rows = await session.fetch("SELECT revision, status FROM accounts")
        assert [(row["revision"], row["status"]) for row in rows] == expected


async def test_tenants_are_kept_once(analytics: Analytics, agency: Agency) -> None:
    company = new_id()
    told = [
        agency.seal(OrganizationCreatedV1(organization_id=agency.org_id, name="Agency", time_zone="Europe/Lisbon")),
        agency.seal(CompanyCreatedV1(company_id=company, name="Client")),
        agency.seal(CompanyCreatedV1(company_id=company, name="Client")),
    ]

    await analytics.hears(*told, queue="analytics.tenants")

    assert (await analytics.told("/analytics/campaigns", agency.org_id))["time_zone"] == "Europe/Lisbon"


async def test_a_time_zone_that_does_not_exist_is_a_dead_letter(analytics: Analytics, agency: Agency) -> None:
    event = OrganizationCreatedV1(organization_id=agency.org_id, name="Agency", time_zone="Mars/Olympus")

    with pytest.raises(AssertionError, match="there is no time zone"):
        await analytics.hears(agency.seal(event), queue="analytics.tenants")


async def test_syncs_are_counted_once_each(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    def sync(outcome: str, objects: int) -> Envelope:
        event = SyncCompletedV1.model_validate(
            {
                "sync_id": new_id(),
                "account_id": agency.account_id,
                "kind": "repair",
                "outcome": outcome,
                "objects": objects,
            }
        )
        return agency.seal(event)

    told = [sync("done", 3), sync("done", 4), sync("failed", 0)]
    await analytics.hears(*told[:2], queue="analytics.sync")
    await analytics.hears(*told, queue="analytics.sync")

    for one, expected in ((agency, [("done", 2, 7), ("failed", 1, 0)]), (stranger, [])):
        async with analytics.database.tenant_transaction(one.org_id) as session:
            rows = await session.fetch("SELECT outcome, count, objects FROM syncs ORDER BY outcome")
        assert [tuple(row) for row in rows] == expected
