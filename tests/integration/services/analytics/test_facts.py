"""Facts and what is folded from them: the order, the number and the division of deliveries never matter."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import structlog.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope
from libs.ids import CompanyId, OrgId, new_id
from services.analytics.handlers.rebuilding import rebuild
from tests.integration.services.analytics.conftest import Agency, Analytics

NORTH, SOUTH, WEST = (CompanyId(new_id()) for _ in range(3))
LEAD = "ines@example.com"


def _story(agency: Agency) -> list[Envelope]:
    """A campaign that changes its company twice while its children, labelled as of old, come in; and one that moves."""
    return [
        agency.campaign("c1", 1, NORTH, name=None, source="inferred"),
        agency.campaign("c1", 2, SOUTH),
        agency.campaign("c1", 3, WEST, name="Renamed"),
        agency.campaign("c2", 1, None),
        agency.step(1, "c1"),
        agency.step(1, "c1", 2, name="First touch"),
        agency.message("m1", company=NORTH, at=None, source="inferred"),
        agency.message("m1", revision=2, company=SOUTH),
        agency.message("m2", campaign="c3", company=NORTH),
        agency.message("m3", campaign="c2", company=NORTH),
        agency.message("m3", revision=2, campaign="c1", company=NORTH),
        agency.message("m4", campaign=None, company=NORTH),
        agency.reply("r1", company=SOUTH),
        agency.engagement("opened", "m1", company=NORTH),
        agency.engagement("bounced", "m2", campaign="c3", company=NORTH),
        agency.campaign("l1", 1, SOUTH, channel="linkedin", provider="heyreach"),
        agency.message("l1", campaign=None, company=NORTH, channel="linkedin"),  # told by a slice alone so far
        agency.message("l1", revision=2, campaign="l1", company=NORTH, channel="linkedin", manual=False, inmail=True),
        agency.reply("l2", campaign="l4", company=SOUTH, channel="linkedin", inmail=False),
        agency.engagement("connection_requested", campaign="l1", channel="linkedin", company=NORTH),
        agency.engagement("categorized", campaign=None, channel="linkedin"),
        agency.message("m5", revision=2, step=None, manual=True),
        agency.message("m5", step=None, at=None),
    ]


def _others(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    """Rows without their org, so that two orgs compare."""
    return {table: [row[1:] for row in found] for table, found in rows.items()}


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    again=st.lists(st.integers(0, 22), max_size=6),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
async def test_every_order_repetition_and_division_ends_in_the_same_rows(
    analytics: Analytics, seed: int, again: list[int], cuts: list[int]
) -> None:
    straight = Agency(OrgId(new_id()))
    shuffled = Agency(OrgId(new_id()), straight.account_id)
    await analytics.hears(*_story(straight))
    resent = _story(shuffled)
    told = [*_story(shuffled), *(resent[number] for number in again)]  # told again: a new event, the same fact
    random.Random(seed).shuffle(told)
    bounds = [0, *sorted(cut % (len(told) + 1) for cut in cuts), len(told)]

    for start, end in itertools.pairwise(bounds):
        if start < end:
            await analytics.hears(*told[start:end])

    expected, found = await analytics.rows(straight.org_id), await analytics.rows(shuffled.org_id)
    assert _others(found) == _others(expected)
    companies = {row[1]: row[4] for row in found["messages"]}
    assert companies[shuffled.id_of("message", "m1")] == WEST
    assert companies[shuffled.id_of("message", "m2")] == NORTH  # no fact of c3 itself: the message's own word counts
    assert companies[shuffled.id_of("message", "m3")] == WEST
    assert companies[shuffled.id_of("message", "l1")] == SOUTH

    await rebuild(analytics.database, shuffled.org_id)
    assert await analytics.rows(shuffled.org_id) == found


async def test_a_rebuild_reads_facts_of_before_they_said_who_wrote(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    await analytics.hears(*_story(agency), *_story(stranger))
    before, theirs = await analytics.rows(agency.org_id), await analytics.rows(stranger.org_id)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE facts SET data = data - 'manual' - 'inmail'")

    await rebuild(analytics.database, agency.org_id)

    after = await analytics.rows(agency.org_id)
    assert [row[:-2] for row in after["messages"]] == [row[:-2] for row in before["messages"]]
    assert {row[-2:] for row in after["messages"]} == {(None, None)}
    assert await analytics.rows(stranger.org_id) == theirs


async def test_a_rebuild_leaves_the_other_tenant_alone(analytics: Analytics, agency: Agency, stranger: Agency) -> None:
    await analytics.hears(*_story(agency), *_story(stranger))
    before = await analytics.rows(stranger.org_id)
    async with analytics.database.tenant_transaction(agency.org_id) as session:
        await session.execute("UPDATE messages SET step_number = 9, company_id = NULL")
        await session.execute("DELETE FROM engagements")

    assert await rebuild(analytics.database, agency.org_id) == len(_story(agency))

    assert await analytics.rows(stranger.org_id) == before
    assert _others(await analytics.rows(agency.org_id)) == _others(before)


async def test_concurrent_batches_miss_no_child_of_a_moving_campaign(
    analytics: Analytics, agency: Agency, stranger: Agency
) -> None:
    batches = [[agency.campaign("c1", revision, NORTH if revision % 2 else SOUTH)] for revision in range(1, 9)]
    batches += [[agency.message(f"m{number}", company=NORTH), stranger.message(f"m{number}")] for number in range(24)]
    batches += [[agency.engagement("opened", f"m{number}", company=WEST)] for number in range(24)]
    random.Random(7).shuffle(batches)

    await asyncio.gather(*(analytics.hears(*batch) for batch in batches))

    rows = await analytics.rows(agency.org_id)
    assert len(rows["messages"]) == len(rows["engagements"]) == 24
    assert {row[4] for row in rows["messages"] + rows["engagements"]} == {SOUTH}
    assert {row[4] for row in (await analytics.rows(stranger.org_id))["messages"]} == {None}


async def test_a_rebuild_beside_running_consumers_loses_nothing(analytics: Analytics, agency: Agency) -> None:
    story = _story(agency)
    await analytics.hears(*story[:8])
    later = [[agency.message(f"late{number}", company=NORTH)] for number in range(20)]

    await asyncio.gather(
        *(analytics.hears(*batch) for batch in later[:10]),
        rebuild(analytics.database, agency.org_id),
        *(analytics.hears(*batch) for batch in later[10:]),
        analytics.hears(*story[8:]),
        rebuild(analytics.database, agency.org_id),
    )

    found = await analytics.rows(agency.org_id)
    await rebuild(analytics.database, agency.org_id)
    assert await analytics.rows(agency.org_id) == found
    assert len(found["messages"]) == 28


async def test_a_contested_fact_keeps_what_was_heard_first(analytics: Analytics, agency: Agency) -> None:
    await analytics.hears(agency.message("m1", step=1))

    with structlog.testing.capture_logs() as logs:
        await analytics.hears(agency.message("m1", step=2))

    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["fact_contested"]
    assert [row[8] for row in (await analytics.rows(agency.org_id))["messages"]] == [1]


async def test_facts_keep_every_revision_with_all_its_fields(analytics: Analytics, agency: Agency) -> None:
    told = [agency.message("m1", at=None), agency.message("m1", revision=2), agency.message("m1", revision=2)]

    await analytics.hears(*told)

    async with analytics.database.tenant_transaction(agency.org_id) as session:
        facts = await session.fetch(
            "SELECT version, recorded_at, data->>'channel' AS channel FROM facts ORDER BY version"
        )
    assert [(row["version"], row["channel"]) for row in facts] == [(1, "email"), (2, "email")]
    assert [row["recorded_at"] for row in facts] == [told[0].time, told[1].time]
