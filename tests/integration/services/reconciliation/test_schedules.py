"""Schedules: who may have one, what is refused, and nothing of another tenant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from libs.ids import CompanyId, new_id, public_id
from libs.tenancy.context import CompanyScope
from tests.integration.services.reconciliation.conftest import SCHEDULES, Agency, DatabaseClock, Reconciliation

NORTH, SOUTH = CompanyId(new_id()), CompanyId(new_id())
ONLY_NORTH, ONLY_SOUTH = CompanyScope.of([NORTH]), CompanyScope.of([SOUTH])


def account(agency: Agency) -> str:
    return public_id("acc", agency.account_id)


async def test_a_schedule_is_made_and_shown(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    await reconciliation.hears(agency.account())
    body = {"account_id": account(agency), "interval_seconds": 3600}
    clock.now = datetime(2026, 7, 11, 11, 30, 0, 7, tzinfo=UTC)

    made = await reconciliation.asks("POST", SCHEDULES, agency.org_id, json=body)

    schedule = made.json()
    address = f"{SCHEDULES}/{schedule['id']}"
    assert (made.status_code, made.headers["location"]) == (201, f"/v1{address}")
    assert {name: schedule[name] for name in ("account_id", "company_id", "interval_seconds", "enabled", "revision")} == {
        "account_id": account(agency), "company_id": None, "interval_seconds": 3600, "enabled": True, "revision": 1,
    }  # fmt: skip
    assert (schedule["anchor"], schedule["next_slot"]) == ("2026-07-11T11:30:00.000000Z", "2026-07-11T12:30:00.000000Z")
    assert (schedule["last_slot"], schedule["created_by"]) == (None, "key:test")
    assert (await reconciliation.asks("GET", address, agency.org_id)).json() == schedule
    assert (await reconciliation.asks("GET", SCHEDULES, agency.org_id)).json()["data"] == [schedule]
    assert (await reconciliation.asks("GET", SCHEDULES, stranger.org_id)).json()["data"] == []
    assert await reconciliation.runs(agency) == []


async def test_an_account_has_one_schedule(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    body = {"account_id": account(agency), "interval_seconds": 300}

    refused = await reconciliation.asks("POST", SCHEDULES, agency.org_id, json=body)

    assert (refused.status_code, refused.json()["code"]) == (409, "schedule_exists")
    assert mine in refused.json()["detail"]
    assert theirs not in refused.json()["detail"]


async def test_a_provider_without_snapshots_cannot_be_scheduled(reconciliation: Reconciliation, agency: Agency) -> None:
    agency.provider = "heyreach"
    await reconciliation.hears(agency.account())

    refused = await reconciliation.asks(
        "POST", SCHEDULES, agency.org_id, json={"account_id": account(agency), "interval_seconds": 3600}
    )

    assert (refused.status_code, refused.json()["code"]) == (422, "capability_unsupported")
    assert "Snapshots" in refused.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"interval_seconds": 299}, {"interval_seconds": 604_801}, {"interval_seconds": "3600"}, {"interval_seconds": 3600.5},
        {"interval_seconds": None}, {"interval_seconds": True}, {"anchor": "noon"}, {"anchor": "2026-07-11T12:00:00+02:00"},
        {"anchor": "2026-07-11T12:00:00.5Z"}, {"anchor": 1783771200}, {"anchor": "1999-12-31T00:00:00Z"}, {"enabled": 1},
        {"enabled": None}, {"company_id": public_id("cmp", NORTH)}, {"account_id": 7}, {"account_id": None}, {"next_slot": "x"},
    ],
)  # fmt: skip
async def test_a_body_that_is_not_understood_is_refused(
    reconciliation: Reconciliation, agency: Agency, change: dict[str, Any]
) -> None:
    await reconciliation.hears(agency.account())
    body = {"account_id": account(agency), "interval_seconds": 3600} | change

    refused = await reconciliation.asks("POST", SCHEDULES, agency.org_id, json=body)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert (await reconciliation.asks("GET", SCHEDULES, agency.org_id)).json()["data"] == []


async def test_a_change_names_the_revision_that_was_read(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    address = f"{SCHEDULES}/{await reconciliation.scheduled(agency)}"
    theirs = f"{SCHEDULES}/{await reconciliation.scheduled(stranger)}"
    before = (await reconciliation.asks("GET", theirs, stranger.org_id)).json()

    async def changes(**body: Any) -> tuple[int, Any]:
        answer = await reconciliation.asks("PATCH", address, agency.org_id, json=body)
        return answer.status_code, answer.json()

    status, changed = await changes(revision=1, interval_seconds=7200)
    assert (status, changed["revision"], changed["interval_seconds"]) == (200, 2, 7200)
    assert (changed["anchor"], changed["next_slot"]) == ("2026-07-11T12:00:00.000000Z", "2026-07-11T12:00:00.000000Z")
    status, refused = await changes(revision=1, enabled=False)
    assert (status, refused["code"]) == (409, "revision_conflict")
    assert "revision 2" in refused["detail"]
    status, refused = await changes(revision=2)
    assert (status, refused["code"]) == (422, "invalid_request")
    assert (await changes(revision=2, enabled=False))[1]["next_slot"] is None
    clock.now = datetime(2026, 7, 11, 18, 1, tzinfo=UTC)
    assert (await changes(revision=3, enabled=True))[1]["next_slot"] == "2026-07-11T20:00:00.000000Z"
    status, changed = await changes(revision=4, anchor="2026-07-11T00:30:00Z")
    assert (status, changed["next_slot"]) == (200, "2026-07-11T18:30:00.000000Z")
    assert (await reconciliation.asks("GET", theirs, stranger.org_id)).json() == before


async def test_a_deleted_schedule_leaves_its_runs(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = datetime(2026, 7, 11, 12, 0, tzinfo=UTC)
    for who, schedule in ((agency, mine), (stranger, theirs)):
        assert (await reconciliation.puts(who, schedule, "2026-07-11T12:00:00Z")).status_code == 202

    gone = await reconciliation.asks("DELETE", f"{SCHEDULES}/{mine}", agency.org_id)

    assert (gone.status_code, gone.content) == (204, b"")
    assert len(await reconciliation.runs(agency)) == 1
    assert (await reconciliation.asks("DELETE", f"{SCHEDULES}/{mine}", agency.org_id)).status_code == 404
    assert (await reconciliation.puts(agency, mine, "2026-07-11T12:00:00Z")).status_code == 404
    assert await reconciliation.slots(stranger, theirs) == [("12:00", "started")]
    assert await reconciliation.scheduled(agency) != mine  # the account may have another


async def test_a_manager_works_within_its_companies(
    reconciliation: Reconciliation, agency: Agency, clock: DatabaseClock
) -> None:
    south = Agency(agency.org_id, company_id=SOUTH)
    agency.company_id = NORTH
    await reconciliation.hears(agency.account(), south.account())
    ids = {}
    for who, scope in ((agency, ONLY_NORTH), (south, ONLY_SOUTH)):
        body = {"account_id": account(who), "interval_seconds": 3600}
        made = await reconciliation.asks("POST", SCHEDULES, agency.org_id, scope, json=body)
        assert (made.status_code, made.json()["company_id"]) == (201, public_id("cmp", who.company_id or NORTH))
        ids[who.account_id] = made.json()["id"]

    shown = await reconciliation.asks("GET", SCHEDULES, agency.org_id, ONLY_NORTH)
    everything = await reconciliation.asks("GET", SCHEDULES, agency.org_id)

    assert [one["id"] for one in shown.json()["data"]] == [ids[agency.account_id]]
    assert [one["id"] for one in everything.json()["data"]] == [ids[south.account_id], ids[agency.account_id]]


async def test_foreign_hidden_unknown_and_malformed_look_alike(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    agency.company_id = NORTH
    hidden, foreign = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = datetime(2026, 7, 11, 12, 0, tzinfo=UTC)
    ids = (hidden, foreign, public_id("sch", new_id()), "sch_x", hidden.replace("sch_", "rec_"))
    change: dict[str, Any] = {"json": {"revision": 1, "enabled": False}}
    for method, rest, more in (
        ("GET", "", {}), ("PATCH", "", change), ("DELETE", "", {}), ("GET", "/slots", {}),
        ("PUT", "/slots/2026-07-11T12:00:00Z", {}), ("PUT", "/slots/2026-07-11T12:00:01Z", {}),
    ):  # fmt: skip
        answers = [
            await reconciliation.asks(method, f"{SCHEDULES}/{one}{rest}", agency.org_id, ONLY_SOUTH, **more)
            for one in ids
        ]
        told = [{name: value for name, value in one.json().items() if name != "request_id"} for one in answers]
        assert [one.status_code for one in answers] == [404] * len(ids), (method, rest)
        assert all(one == told[0] for one in told), (method, rest)

    for one in (account(agency), public_id("acc", new_id())):
        body = {"account_id": one, "interval_seconds": 3600}
        assert (await reconciliation.asks("POST", SCHEDULES, agency.org_id, ONLY_SOUTH, json=body)).status_code == 404
    for who, schedule in ((agency, hidden), (stranger, foreign)):
        assert (await reconciliation.asks("GET", f"{SCHEDULES}/{schedule}", who.org_id)).json()["revision"] == 1
        assert await reconciliation.runs(who) == []


async def test_a_schedule_goes_with_its_account_to_another_company(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    agency.company_id = stranger.company_id = NORTH
    mine, theirs = await reconciliation.scheduled(agency), await reconciliation.scheduled(stranger)
    clock.now = datetime(2026, 7, 11, 12, 0, tzinfo=UTC)
    assert (await reconciliation.puts(agency, mine, "2026-07-11T12:00:00Z")).status_code == 202
    agency.company_id = SOUTH

    await reconciliation.hears(agency.account(revision=2))

    slots = f"{SCHEDULES}/{mine}/slots"
    assert (await reconciliation.asks("GET", slots, agency.org_id, ONLY_NORTH)).status_code == 404
    assert len((await reconciliation.asks("GET", slots, agency.org_id, ONLY_SOUTH)).json()["data"]) == 1
    kept = await reconciliation.asks("GET", f"{SCHEDULES}/{theirs}", stranger.org_id, ONLY_NORTH)
    assert kept.json()["company_id"] == public_id("cmp", NORTH)


async def test_lists_go_page_by_page_within_one_list(
    reconciliation: Reconciliation, agency: Agency, stranger: Agency, clock: DatabaseClock
) -> None:
    mine = [await reconciliation.scheduled(Agency(agency.org_id)) for _ in range(3)]
    await reconciliation.scheduled(stranger)

    first = (await reconciliation.asks("GET", f"{SCHEDULES}?limit=2", agency.org_id)).json()
    cursor = first["next_cursor"]
    second = (await reconciliation.asks("GET", f"{SCHEDULES}?limit=2&after={cursor}", agency.org_id)).json()

    assert [one["id"] for one in first["data"] + second["data"]] == mine[::-1]
    assert (first["has_more"], second["has_more"], second["next_cursor"]) == (True, False, None)
    for path, org in ((SCHEDULES, stranger.org_id), (f"{SCHEDULES}/{mine[0]}/slots", agency.org_id)):
        refused = await reconciliation.asks("GET", f"{path}?after={cursor}", org)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_cursor")
