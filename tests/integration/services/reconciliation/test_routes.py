"""Asking for runs: who may, what is refused, and nothing of another tenant."""

from __future__ import annotations

from typing import Any

import pytest

from libs.contracts.events import SnapshotRequestedV1
from libs.ids import CompanyId, new_id, public_id
from libs.tenancy.context import CompanyScope
from tests.integration.services.reconciliation.conftest import Agency, Reconciliation

NORTH, SOUTH = CompanyId(new_id()), CompanyId(new_id())
LOST = [("reply:1", "email:ines@example.com")]


async def test_a_run_is_accepted_and_asked_of_the_provider(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    await reconciliation.hears(agency.account())
    campaign = public_id("cam", agency.campaign("c1"))

    answer = await reconciliation.asks(
        "POST", "/reconciliations", agency.org_id,
        json={"account_id": public_id("acc", agency.account_id), "campaign_id": campaign, "dry_run": True},
    )  # fmt: skip

    run = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/reconciliations/{run['id']}")
    assert (run["state"], run["campaign_id"], run["dry_run"]) == ("requested", campaign, True)
    assert (run["requested_by"], run["parts_expected"], run["completed_at"]) == ("key:test", None, None)
    [asked] = await reconciliation.told(agency.org_id, SnapshotRequestedV1)
    assert (asked.pass_number, asked.account_id, asked.campaign_id) == (1, agency.account_id, agency.campaign("c1"))
    assert await reconciliation.told(stranger.org_id, SnapshotRequestedV1) == []


async def test_one_active_run_an_account_and_campaign(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    run_id = await reconciliation.starts(agency)
    await reconciliation.starts(stranger)  # the same account id in another org is another account
    account = {"account_id": public_id("acc", agency.account_id)}

    refused = await reconciliation.asks("POST", "/reconciliations", agency.org_id, json=account)

    assert (refused.status_code, refused.json()["code"]) == (409, "run_active")
    assert public_id("rec", run_id) in refused.json()["detail"]
    await reconciliation.starts_again(agency, campaign_id=public_id("cam", agency.campaign("c1")))
    await reconciliation.hears(agency.captured(run_id))
    assert await reconciliation.starts_again(agency) != run_id


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"account_id": 7},
        {"account_id": "acc_x", "colour": "red"},
        {"account_id": "acc_x", "dry_run": "yes"},
        [],
        "text",
    ],
)
async def test_a_body_that_is_not_understood_is_refused(
    reconciliation: Reconciliation, agency: Agency, body: Any
) -> None:
    answer = await reconciliation.asks("POST", "/reconciliations", agency.org_id, json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_unknown_foreign_hidden_and_malformed_look_alike(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    theirs = Agency(stranger.org_id, company_id=NORTH)
    foreign = await reconciliation.starts(theirs)
    await reconciliation.hears(theirs.captured(foreign, missing=LOST))
    hidden = Agency(agency.org_id, company_id=NORTH)
    hidden_run = await reconciliation.starts(hidden)
    scope = CompanyScope.of([SOUTH])

    for suffix in ("", "/drifts"):
        answers = [
            await reconciliation.asks("GET", f"/reconciliations/{one}{suffix}", agency.org_id, scope)
            for one in (
                public_id("rec", foreign),
                public_id("rec", hidden_run),
                public_id("rec", new_id()),
                "rec_nonsense",
            )
        ]
        _look_alike(answers)
    accounts = (theirs.account_id, hidden.account_id, new_id())
    ids = [*(public_id("acc", account) for account in accounts), "acc_nonsense", "rec_" + accounts[0].hex]
    _look_alike(
        [
            await reconciliation.asks("POST", "/reconciliations", agency.org_id, scope, json={"account_id": one})
            for one in ids
        ]
    )


def _look_alike(answers: list[Any]) -> None:
    bodies = [answer.json() for answer in answers]
    for body in bodies:
        body.pop("request_id")
    assert all(body == bodies[0] for body in bodies)
    assert (bodies[0]["status"], bodies[0]["code"]) == (404, "not_found")


async def test_only_who_may_starts_and_reads(reconciliation: Reconciliation, agency: Agency) -> None:
    run = public_id("rec", await reconciliation.starts(agency))
    body = {"account_id": public_id("acc", agency.account_id)}

    for method, path, given in (
        ("POST", "/reconciliations", "reconciliations:read"),
        ("GET", "/reconciliations", "reconciliations:start"),
        ("GET", f"/reconciliations/{run}", "reconciliations:start"),
        ("GET", f"/reconciliations/{run}/drifts", "reconciliations:read"),
    ):
        answer = await reconciliation.asks(method, path, agency.org_id, permissions=[given], json=body)
        assert answer.status_code == 403, path


async def test_lists_show_each_row_once_newest_run_first(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency
) -> None:
    runs = []
    for number in range(5):
        campaign = {"campaign_id": public_id("cam", agency.campaign(f"c{number}"))}
        runs.append(public_id("rec", await reconciliation.starts(agency, **campaign)))
    await reconciliation.starts(stranger)

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2, "account_id": public_id("acc", agency.account_id), "state": "requested"}
    while True:
        page = (await reconciliation.asks("GET", "/reconciliations", agency.org_id, params=query)).json()
        seen += [run["id"] for run in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]

    assert seen == runs[::-1]
    refused = await reconciliation.asks("GET", "/reconciliations", stranger.org_id, params=query)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_cursor")


async def test_a_company_sees_the_drift_of_its_own_campaigns_alone(
    reconciliation: Reconciliation, agency: Agency
) -> None:
    mine = Agency(agency.org_id, company_id=NORTH)
    run_id = await reconciliation.starts(mine)
    await reconciliation.hears(
        mine.captured(run_id, "c1", part=1, parts=2, missing=LOST),
        mine.captured(run_id, "c2", part=2, parts=2, missing=LOST, company=SOUTH),
    )
    path = f"/reconciliations/{public_id('rec', run_id)}/drifts"

    north = (await reconciliation.asks("GET", path, agency.org_id, CompanyScope.of([NORTH]))).json()
    everybody = (await reconciliation.asks("GET", path, agency.org_id, params={"limit": 1})).json()

    assert [drift["campaign_external_id"] for drift in north["data"]] == ["c1"]
    assert everybody["has_more"]
    rest = await reconciliation.asks("GET", path, agency.org_id, params={"limit": 1, "after": everybody["next_cursor"]})
    both = [*everybody["data"], *rest.json()["data"]]
    assert {drift["campaign_external_id"] for drift in both} == {"c1", "c2"}
