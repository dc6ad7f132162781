"""The simulator and the reader agree: what is told adds up to what happened, in any order and however often."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from libs import clock
from libs.errors import ContractViolated
from libs.providers.heyreach import events
from libs.providers.heyreach.simulator import Happened, HeyReachSimulator, Totals
from libs.providers.heyreach.simulator.model import Registration
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.sightings import CampaignStatus, Direction, EngagementKind, Reading
from libs.providers.simulation import PlannedPost, PostKind

NOW = datetime(2026, 10, 20, 12, tzinfo=UTC)
WEBHOOKS = HeyReachWebhooks()
KINDS = ("campaigns", "leads", "conversations", "messages", "engagements")


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


def simulator(**settings) -> HeyReachSimulator:
    return HeyReachSimulator(**{"seed": 7, "now": NOW, **settings})


def readings(posts: Iterable[PlannedPost]) -> list[Reading]:
    return [WEBHOOKS.read_webhook(post.body) for post in posts]


def merged(found: Iterable[Reading]) -> dict[str, dict[str, dict[str, object]]]:
    """By kind and key: field by field the newest (seen_at, then the value's text), which is the rule of the model."""
    fields: dict[str, dict[str, dict[str, tuple[datetime, str, object]]]] = {kind: {} for kind in KINDS}
    for reading in found:
        for kind in KINDS:
            for sighting in getattr(reading, kind):
                known = fields[kind].setdefault(getattr(sighting, "key", None) or sighting.external_id, {})
                for name in sighting.__slots__:
                    value = getattr(sighting, name)
                    if value is not None:
                        version = (sighting.seen_at, repr(value), value)
                        known[name] = max(known.get(name, version), version, key=lambda v: v[:2])
    return {
        kind: {key: {name: v[2] for name, v in known.items()} for key, known in of_kind.items()}
        for kind, of_kind in fields.items()
    }


def totals(state: dict[str, dict[str, dict[str, object]]], campaign: str | None = None) -> Totals:
    def is_ours(row: dict[str, object]) -> bool:
        told = row.get("campaign_external_id")
        return told is not None if campaign is None else told == campaign

    messages = [row for row in state["messages"].values() if is_ours(row)]
    replies = [row for row in messages if row["direction"] is Direction.INBOUND]
    kinds = Counter(row["kind"] for row in state["engagements"].values() if is_ours(row))
    return Totals(
        sent=len(messages) - len(replies),
        replied=len(replies),
        replied_leads=len({row["lead_key"] for row in replies}),
        connection_requested=kinds[EngagementKind.CONNECTION_REQUESTED],
        connection_accepted=kinds[EngagementKind.CONNECTION_ACCEPTED],
        profile_viewed=kinds[EngagementKind.PROFILE_VIEWED],
        followed=kinds[EngagementKind.FOLLOWED],
        liked=kinds[EngagementKind.LIKED],
    )


@pytest.mark.parametrize("seed", range(5))
def test_what_is_told_adds_up_to_the_journal(seed: int) -> None:
    sim = simulator(seed=seed)
    state = merged(readings(sim.deliveries(1500, seed=seed)))

    expected = sim.journal.expected()
    assert totals(state) == expected.overall
    for campaign in sim.campaign_ids:
        assert totals(state, campaign) == expected.by_campaign[campaign]
    assert expected.by_step == {(campaign, None): found for campaign, found in expected.by_campaign.items()}
    kinds = Counter(row["kind"] for row in state["engagements"].values())
    assert kinds[EngagementKind.CATEGORIZED] == expected.categorized > 0


@pytest.mark.parametrize("seed", range(5))
def test_every_message_is_found_once_and_where_it_belongs(seed: int) -> None:
    sim = simulator(seed=seed)
    messages = merged(readings(sim.deliveries(1500, seed=seed)))["messages"]

    def keys(direction: Direction, *, tracked: bool) -> set[str]:
        return {
            key
            for key, row in messages.items()
            if row["direction"] is direction and (row.get("campaign_external_id") is not None) is tracked
        }

    journal = sim.journal
    assert keys(Direction.OUTBOUND, tracked=True) == journal.message_keys(Happened.SENT)
    assert keys(Direction.INBOUND, tracked=True) == journal.message_keys(Happened.REPLIED)
    assert keys(Direction.INBOUND, tracked=False) == journal.message_keys(Happened.UNTRACKED_REPLY)
    # What a person wrote is known only where a slice happens to tell it, and nobody says that it was a person.
    by_hand = keys(Direction.OUTBOUND, tracked=False)
    assert by_hand
    assert by_hand < journal.message_keys(Happened.SENT_BY_HAND)
    sent = journal.message_keys(Happened.SENT)
    assert {row.get("is_manual") for key, row in messages.items() if key in sent} == {False}
    assert all("is_manual" not in messages[key] for key in by_hand)


def test_the_campaigns_end_as_the_api_shows_them() -> None:
    sim = simulator()
    state = merged(readings(sim.deliveries(800)))

    statuses = [state["campaigns"][campaign]["status"] for campaign in sim.campaign_ids]
    assert statuses == [CampaignStatus.ACTIVE, CampaignStatus.ACTIVE, CampaignStatus.COMPLETED]


def test_merging_does_not_depend_on_the_order() -> None:
    posts = simulator().deliveries(500).to_send()
    once = merged(readings(posts))
    for seed in range(3):
        order = posts * 2
        random.Random(seed).shuffle(order)
        assert merged(readings(order)) == once


def test_a_lead_of_two_campaigns_keeps_its_messages_apart() -> None:
    """Their slices tell each other's messages; none may move them."""
    found = readings(simulator().deliveries(3000))
    told = {(m.conversation_key, m.campaign_external_id) for r in found for m in r.messages if m.campaign_external_id}

    shared = [thread for thread, count in Counter(thread for thread, _ in told).items() if count > 1]
    assert shared
    assert all(
        len({m.campaign_external_id for r in found for m in r.messages if m.key == key} - {None}) <= 1
        for key in {m.key for r in found for m in r.messages if m.conversation_key in shared}
    )


def test_a_first_reply_is_told_by_two_types_and_is_one_message() -> None:
    plan = simulator().deliveries(1500, duplicates=0)
    by_type: dict[str | None, Counter[str]] = {}
    for post in plan:
        reading = WEBHOOKS.read_webhook(post.body)
        if post.event_type in events.INBOUND:
            by_type.setdefault(post.event_type, Counter())[reading.messages[0].key] += 1

    every = by_type[events.EVERY_MESSAGE_REPLY_RECEIVED]
    for first in (events.MESSAGE_REPLY_RECEIVED, events.INMAIL_REPLY_RECEIVED):
        assert len(by_type[first]) > 5
        assert set(by_type[first]) < set(every)
    assert max(every.values()) == 1


def test_what_is_registered_twice_is_posted_twice() -> None:
    sim = simulator()
    for number in range(3):
        is_active = number < 2
        sim.account.registrations.append(
            Registration(number, "Outrider", "https://hooks.example.com/a", events.MESSAGE_SENT, [], is_active)
        )
    plan = sim.deliveries(400, duplicates=0)

    posts = Counter(post.body for post in plan if post.event_type == events.MESSAGE_SENT)
    assert set(posts.values()) == {2}
    assert len(plan) == 400 + len(posts) == 400 + len(plan.of(PostKind.DUPLICATE))
    assert totals(merged(readings(plan))) == sim.journal.expected().overall


def test_the_plan_is_what_was_asked_for() -> None:
    plan = simulator().deliveries(1000, duplicates=0.1, garbage=7, poison=6, unknown=5)

    assert Counter(post.kind for post in plan) == {
        PostKind.NORMAL: 882,
        PostKind.DUPLICATE: 100,
        PostKind.GARBAGE: 7,
        PostKind.POISON: 6,
        PostKind.UNKNOWN: 5,
    }
    assert [post.number for post in plan] == list(range(1000))


def test_each_kind_of_post_is_what_its_name_says() -> None:
    plan = simulator().deliveries(600, garbage=10, poison=10, unknown=4)
    normal = {post.body for post in plan.of(PostKind.NORMAL)}

    assert all(WEBHOOKS.read_at_door(post.body).quarantine_reason for post in plan.of(PostKind.GARBAGE))
    assert all(post.body in normal for post in plan.of(PostKind.DUPLICATE))
    for post in plan.of(PostKind.POISON):
        assert WEBHOOKS.read_at_door(post.body).event_type == post.event_type
        assert post.event_type in events.EVENT_TYPES
        with pytest.raises(ContractViolated):
            WEBHOOKS.read_webhook(post.body)
    assert [WEBHOOKS.read_webhook(post.body).recognized for post in plan.of(PostKind.UNKNOWN)] == [False] * 4
    odd = plan.of(PostKind.GARBAGE, PostKind.POISON, PostKind.UNKNOWN)
    assert len({post.body for post in odd}) == len(odd)


def test_the_door_sees_the_duplicates_and_no_others() -> None:
    plan = simulator().deliveries(1500, garbage=5, poison=5, unknown=5)
    keys = [WEBHOOKS.read_at_door(post.body).dedupe_key for post in plan]
    repeated = len(keys) - len({key for key in keys if key is not None}) - keys.count(None)

    assert repeated == len(plan.of(PostKind.DUPLICATE)) == 150


def test_every_message_that_a_post_claims_to_tell_is_in_its_reading() -> None:
    for post in simulator().deliveries(800):
        assert {m.key for m in WEBHOOKS.read_webhook(post.body).messages} == post.message_keys


def test_every_type_is_played_in_small_letters() -> None:
    plan = simulator().deliveries(1500)

    assert {post.event_type for post in plan} == set(events.EVENT_TYPES)
    for post in plan:
        assert orjson.loads(post.body)["event_type"] == str(post.event_type).lower()


def test_one_seed_is_one_story() -> None:
    def bodies(seed: int) -> list[bytes]:
        return [post.body for post in simulator(seed=seed).deliveries(300, garbage=3, poison=3, unknown=2)]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)


def test_two_workspaces_share_no_message_and_no_id() -> None:
    one, two = simulator(seed=1), simulator(seed=2)
    one.play(500)
    two.play(500)

    assert not one.journal.message_keys(Happened.SENT) & two.journal.message_keys(Happened.SENT)
    assert not set(one.campaign_ids) & set(two.campaign_ids)
    assert not {lead.key for lead in one.account.leads} & {lead.key for lead in two.account.leads}


def test_everything_happened_within_three_weeks_and_before_now() -> None:
    sim = simulator()
    occurrences = sim.play(3000)

    assert min(occurrence.at for occurrence in occurrences) > NOW - timedelta(days=22)
    assert all(str(occurrence.payload["timestamp"]) < "2026-10-20T12:00:00Z" for occurrence in occurrences)
    for thread in sim.account.threads:
        assert [said.at for said in thread.said] == sorted({said.at for said in thread.said})


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_a_short_play_is_as_long_as_it_should_be(count: int) -> None:
    sim = simulator()

    assert len(sim.play(count)) == count
    assert len(sim.play(count)) == count
    found = [WEBHOOKS.read_webhook(orjson.dumps(one.payload)) for one in sim.play(20)]
    assert len(found) == 20


def test_playing_on_adds_to_the_story() -> None:
    sim = simulator()
    first = sim.deliveries(300)
    before = sim.journal.expected().overall.sent
    second = sim.deliveries(300)

    assert sim.journal.expected().overall.sent > before
    assert totals(merged(readings([*first, *second]))) == sim.journal.expected().overall


def test_without_shuffling_posts_come_in_order_of_time() -> None:
    plan = simulator().deliveries(200, shuffle=False, duplicates=0)
    shuffled = simulator().deliveries(200, duplicates=0)
    order = [post.body for post in plan]

    assert [post.body for post in shuffled] != order
    assert sorted(post.body for post in shuffled) == sorted(order)


def test_what_cannot_be_found_is_not_withheld() -> None:
    with pytest.raises(ValueError, match="cannot be pulled"):
        simulator().deliveries(100, withhold=1)
    with pytest.raises(ValueError, match="no room"):
        simulator().deliveries(10, garbage=20)


def test_two_thousand_webhooks_are_made_in_no_time() -> None:
    start = time.process_time()

    simulator().deliveries(2000, garbage=5, poison=5)

    assert time.process_time() - start < 2
