"""Figures per campaign and step: equal to a recount, honest about what is unknown, each tenant's own."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope
from libs.contracts.events import OrganizationCreatedV1
from libs.ids import CompanyId, OrgId, new_id, public_id
from libs.tenancy.context import CompanyScope
from services.analytics.metrics import CHANNELS, ENGAGEMENTS
from tests.integration.services.analytics.conftest import NOON, Agency, Analytics

NORTH, SOUTH = CompanyId(new_id()), CompanyId(new_id())
KOLKATA = "Asia/Kolkata"


async def _in_time_zone(analytics: Analytics, agency: Agency, name: str) -> None:
    event = OrganizationCreatedV1(organization_id=agency.org_id, name="Agency", time_zone=name)
    await analytics.hears(agency.seal(event, source="gateway"), queue="analytics.tenants")


async def _campaign(analytics: Analytics, agency: Agency, **query: Any) -> dict[str, Any]:
    answer = await analytics.told(
        "/analytics/campaigns", agency.org_id, campaign_id=public_id("cam", agency.id_of("campaign", "c1")), **query
    )
    return dict(answer["data"][0])


async def test_each_metric_counts_what_it_says(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    told = [
        agency.campaign(),
        agency.message("m1", lead="ines@example.com"),
        agency.message("m2", lead="ines@example.com", step=2),
        agency.message("m3", lead="omar@example.com"),
        agency.message("m4", lead="ruth@example.com", step=None, at=None, source="inferred"),  # known by its open alone
        agency.message("by-hand", lead="ines@example.com", step=None, source="pull"),
        agency.engagement("opened", "m4", lead="ruth@example.com"),
        agency.engagement("opened", "m1", key="o1"),
        agency.engagement("opened", "m1", key="o2"),
        agency.engagement("clicked", "m1"),
        agency.engagement("bounced", "m3", lead="omar@example.com"),
        agency.engagement("unsubscribed", lead="ines@example.com"),
        agency.engagement("categorized", lead="ines@example.com"),
        agency.reply("r1", step=2),
    ]
    await analytics.hears(*told, stranger.campaign(), stranger.message("m1"), stranger.message("m9"))

    row = await _campaign(analytics, agency)

    assert {name: (one["total"], one["unique"], one["undated"]) for name, one in row["metrics"].items()} == {
        "sent": (4, 3, 1),
        "delivered": (3, 2, 1),
        "opened": (3, 2, 0),
        "clicked": (1, 1, 0),
        "replied": (1, 1, 0),
        "bounced": (1, 1, 0),
        "unsubscribed": (1, 1, 0),
        "manual": (1, 1, 0),
    }
    assert row["rates"]["reply_rate"] == {
        "value": 0.5,
        "numerator": "replied.unique",
        "numerator_value": 1,
        "denominator": "delivered.unique",
        "denominator_value": 2,
    }
    assert row["rates"]["bounce_rate"]["value"] == 0.25
    assert row["provenance"] == {"webhook": 10, "pull": 1, "inferred": 1}
    assert row["completeness"] == {"open_drift": 0, "last_reconciled_at": None}
    assert (await _campaign(analytics, stranger))["metrics"]["sent"]["total"] == 2


async def test_a_rate_over_nothing_is_unknown(analytics: Analytics, agency: Agency) -> None:
    await analytics.hears(agency.campaign())

    rates = (await _campaign(analytics, agency))["rates"]

    assert {(rate["value"], rate["denominator_value"]) for rate in rates.values()} == {(None, 0)}


async def test_days_are_the_orgs_own(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    await _in_time_zone(analytics, agency, KOLKATA)
    late = datetime(2026, 3, 10, 20, tzinfo=UTC)  # 01:30 on the 11th in Kolkata
    await analytics.hears(agency.campaign(), agency.message("m1", at=late))
    await analytics.hears(stranger.campaign(), stranger.message("m1", at=late))

    mine, theirs = await _campaign(analytics, agency, series="day"), await _campaign(analytics, stranger, series="day")

    assert [day["day"] for day in mine["series"]] == ["2026-03-11"]
    assert [day["day"] for day in theirs["series"]] == ["2026-03-10"]
    assert (await _campaign(analytics, agency, to="2026-03-10"))["metrics"]["sent"]["total"] == 0
    assert (await _campaign(analytics, agency, **{"from": "2026-03-11", "to": "2026-03-11"}))["metrics"]["sent"][
        "total"
    ] == 1


async def test_a_window_leaves_out_what_has_no_time_and_says_so(analytics: Analytics, agency: Agency) -> None:
    await analytics.hears(agency.campaign(), agency.message("m1"), agency.message("m2", at=None))

    row = await _campaign(analytics, agency, **{"from": "2026-03-01"})

    assert row["metrics"]["sent"] == {"total": 1, "unique": 1, "undated": 0}
    assert row["undated_left_out"] == 1


_LEADS = [f"lead{number}@example.com" for number in range(4)]


def _random_facts(agency: Agency, seed: int, size: int) -> list[Envelope]:
    """Facts of two campaigns of the agency's channel; also kinds of the other channel, which must not be counted."""
    rng = random.Random(seed)
    kinds = [*(kind for _, kind, _ in ENGAGEMENTS), "categorized", "manual_step_reached"]

    def moment() -> datetime:
        return NOON + timedelta(minutes=rng.randrange(-3000, 3000))

    told = [agency.campaign("c1"), agency.campaign("c2")]
    for number in range(size):
        campaign, lead, step = rng.choice(["c1", "c2"]), rng.choice(_LEADS), rng.choice([1, 2, None])
        at = None if rng.random() < 0.2 else moment()
        key = f"{number}"
        said: dict[str, Any] = {"manual": rng.choice([True, False, None]), "inmail": rng.choice([True, False, None])}
        match rng.randrange(4):
            case 0:
                told.append(agency.reply(key, campaign=campaign, lead=lead, step=step, at=at, **said))
            case 1:
                told.append(agency.message(key, campaign=campaign, lead=lead, step=step, at=at, **said))
                told.append(agency.engagement("bounced", key, campaign=campaign, lead=lead, step=step, at=moment()))
            case 2:
                told.append(agency.message(key, campaign=campaign, lead=lead, step=step, at=at, **said))
            case _:
                kind = rng.choice(kinds)
                told.append(agency.engagement(kind, key=key, campaign=campaign, lead=lead, step=step, at=moment()))
    rng.shuffle(told)
    return told


def _recount(facts: list[Envelope], campaign: str) -> dict[tuple[str, date | None], tuple[int, set[str]]]:
    """(metric, day in Kolkata) -> occurrences and leads, straight from the facts."""
    found: dict[tuple[str, date | None], tuple[int, set[str]]] = defaultdict(lambda: (0, set()))
    bounced = {fact.data["message_id"] for fact in facts if fact.data and fact.data.get("kind") == "bounced"}
    for fact in facts:
        data = fact.data or {}
        if data.get("campaign_id") != campaign or "lead_id" not in data:
            continue
        at = data["occurred_at"] and datetime.fromisoformat(data["occurred_at"])
        day = at.astimezone(ZoneInfo(KOLKATA)).date() if at else None
        is_email = data["channel"] == "email"
        if data.get("direction") == "inbound":
            metrics = ["replied"] if is_email or not data["inmail"] else ["replied", "inmail_replies"]
        elif data.get("direction") == "outbound" and (
            data["manual"] or (data["manual"] is None and is_email and data["sequence_step_number"] is None and at)
        ):
            metrics = ["manual"]
        elif data.get("direction") == "outbound" and is_email:
            metrics = ["sent"] if data["message_id"] in bounced else ["sent", "delivered"]
        elif data.get("direction") == "outbound":
            metrics = ["sent", "inmails_sent" if data["inmail"] else "messages_sent"]
        else:
            metrics = [
                name for channel, kind, name in ENGAGEMENTS if (channel, kind) == (data["channel"], data["kind"])
            ]
        for metric in metrics:
            count, leads = found[metric, day]
            found[metric, day] = (count + 1, leads | {data["lead_id"]})
    return found


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), size=st.integers(0, 40), channel=st.sampled_from(sorted(CHANNELS)))
async def test_totals_are_the_sum_of_their_series_and_equal_a_recount(
    analytics: Analytics, seed: int, size: int, channel: str
) -> None:
    agency = Agency(OrgId(new_id()), channel=channel)
    await _in_time_zone(analytics, agency, KOLKATA)
    facts = _random_facts(agency, seed, size)
    await analytics.hears(*facts)

    row = await _campaign(analytics, agency, series="day")

    expected = _recount(facts, str(agency.id_of("campaign", "c1")))
    assert set(row["metrics"]) == set(CHANNELS[channel].names)
    series = {date.fromisoformat(day["day"]): day["metrics"] for day in row["series"]}
    for name, figure in row["metrics"].items():
        assert figure["total"] == sum(day[name]["total"] for day in series.values()) + figure["undated"]
        mine = {day: counted for (metric, day), counted in expected.items() if metric == name}
        assert figure["total"] == sum(count for count, _ in mine.values())
        assert figure["unique"] == len(set().union(*(leads for _, leads in mine.values())))
        for day, metrics in series.items():
            count, leads = mine.get(day, (0, set()))
            assert metrics[name] == {"total": count, "unique": len(leads)}
    steps = await analytics.told(
        "/analytics/sequence-steps", agency.org_id, campaign_id=public_id("cam", agency.id_of("campaign", "c1"))
    )
    if channel == "linkedin":
        assert (steps["data"], steps["channels_without_steps"]) == ([], ["linkedin"])
    for name in ("opened", "clicked", "bounced"):
        known = sum(step["metrics"][name]["total"] for step in steps["data"])
        assert known <= row["metrics"].get(name, {"total": 0})["total"]


async def test_steps_are_told_apart_also_those_known_by_their_messages_alone(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    await analytics.hears(
        agency.campaign(),
        agency.step(1, name="First touch"),
        agency.message("m1", step=1),
        agency.message("m2", step=2, lead="omar@example.com"),
        agency.engagement("opened", "m2", lead="omar@example.com"),  # names no step: it is that of its message
        agency.reply("r1", step=2, lead="omar@example.com"),
        agency.message("by-hand", step=None),
        stranger.message("m1", step=7),
    )

    answer = await analytics.told("/analytics/sequence-steps", agency.org_id)

    rows = {row["number"]: row for row in answer["data"]}
    assert answer["channels_without_steps"] == []
    assert {number: row["metrics"]["sent"]["total"] for number, row in rows.items()} == {1: 1, 2: 1}
    assert {number: row["metrics"]["opened"]["total"] for number, row in rows.items()} == {1: 0, 2: 1}
    assert rows[2]["rates"]["reply_rate"]["value"] == 1.0
    assert (rows[1]["name"], rows[2]["name"], rows[2]["step_id"]) == ("First touch", None, None)


async def test_pages_show_every_row_once(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    await analytics.hears(*(agency.campaign(f"c{number}") for number in range(7)), stranger.campaign("c1"))
    await analytics.hears(*(agency.message(f"m{n}", campaign=f"c{n % 7}", step=n % 3 + 1) for n in range(21)))

    query: dict[str, Any] = {}
    for path, key, count in (("campaigns", "campaign_id", 7), ("sequence-steps", "number", 21)):
        seen: list[Any] = []
        query = {"limit": 3}
        while True:
            answer = await analytics.told(f"/analytics/{path}", agency.org_id, **query)
            seen += [(row["campaign_id"], row[key]) for row in answer["data"]]
            if not answer["has_more"]:
                break
            query["after"] = answer["next_cursor"]
        assert len(seen) == len(set(seen)) == count
    refused = await analytics.asks("/analytics/campaigns", stranger.org_id, limit=3, after=query["after"])
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_cursor")


async def test_a_company_sees_its_own_campaigns_alone(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    await analytics.hears(
        agency.message("m1", company=NORTH),  # told before its campaign, as the other company's
        agency.campaign("c1", company=SOUTH),
        agency.campaign("c2", company=NORTH),
        agency.message("m2", campaign="c2", company=NORTH),
        stranger.campaign("c1", company=SOUTH),
    )

    south = await analytics.told("/analytics/campaigns", agency.org_id, CompanyScope.of([SOUTH]))
    north = await analytics.told("/analytics/campaigns", agency.org_id, CompanyScope.of([NORTH]))
    nobody = await analytics.told("/analytics/campaigns", agency.org_id, CompanyScope.of([]))

    assert [(row["name"], row["metrics"]["sent"]["total"]) for row in south["data"]] == [("Campaign c1", 1)]
    assert [(row["name"], row["metrics"]["sent"]["total"]) for row in north["data"]] == [("Campaign c2", 1)]
    assert nobody["data"] == []


async def test_unknown_foreign_and_malformed_ids_look_alike(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    await analytics.hears(agency.campaign("c1", company=NORTH), stranger.campaign("only-theirs"))
    hidden = public_id("cam", agency.id_of("campaign", "c1"))
    foreign, unknown = public_id("cam", stranger.id_of("campaign", "only-theirs")), public_id("cam", new_id())

    answers = [
        (await analytics.asks(path, agency.org_id, CompanyScope.of([SOUTH]), campaign_id=one)).json()
        for path in ("/analytics/campaigns", "/analytics/sequence-steps")
        for one in (hidden, foreign, unknown, "cam_nonsense")
    ]

    assert {answer.pop("request_id") is not None for answer in answers} == {True}
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0]["status"], answers[0]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "query",
    [{"series": "week"}, {"from": "yesterday"}, {"limit": 0}, {"limit": 101}, {"colour": "red"},
     {"from": "2026-03-11", "to": "2026-03-10"}, {"channel": "fax"}],
)  # fmt: skip
async def test_a_query_that_means_nothing_is_refused(
    analytics: Analytics, agency: Agency, query: dict[str, Any]
) -> None:
    answer = await analytics.asks("/analytics/campaigns", agency.org_id, **query)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


async def test_only_who_may_read_is_answered(analytics: Analytics, agency: Agency) -> None:
    for path in ("/analytics/campaigns", "/analytics/sequence-steps", "/analytics/ledger"):
        assert (await analytics.asks(path, agency.org_id, permissions=["leads:read"])).status_code == 403


async def test_the_answer_says_when_its_newest_fact_was_told(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    first, last = agency.campaign("c1"), agency.campaign("c2")
    await analytics.hears(last)
    await analytics.hears(first, stranger.campaign("c1"))

    answer = await analytics.told("/analytics/campaigns", agency.org_id)

    assert datetime.fromisoformat(answer["as_of"]) == last.time
    assert (await analytics.told("/analytics/campaigns", OrgId(new_id())))["as_of"] is None
