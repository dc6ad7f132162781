"""The simulator against the adapter: what was played is what the readings add up to, in any order."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from libs import clock
from libs.errors import ContractViolated
from libs.providers.sightings import Direction, EngagementKind, Reading
from libs.providers.simulation import Plan, PlannedPost, PostKind
from libs.providers.smartlead import events
from libs.providers.smartlead.simulator import Happened, SmartleadSimulator, Totals
from libs.providers.smartlead.webhooks import SmartleadWebhooks

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
WEBHOOKS = SmartleadWebhooks()


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


def simulator(**settings) -> SmartleadSimulator:
    return SmartleadSimulator(**{"seed": 7, "now": NOW, **settings})


def readings(posts: Iterable[PlannedPost]) -> list[Reading]:
    return [WEBHOOKS.read_webhook(post.body) for post in posts]


def totals(found: Iterable[Reading], campaign: str | None = None) -> Totals:
    """What a receiver counts who keeps each natural key once."""
    messages = {m.key: m for r in found for m in r.messages if m.campaign_external_id}
    engagements = {e.key: e for r in found for e in r.engagements}
    if campaign is not None:
        messages = {key: m for key, m in messages.items() if m.campaign_external_id == campaign}
        engagements = {key: e for key, e in engagements.items() if e.campaign_external_id == campaign}
    replies = [m for m in messages.values() if m.direction is Direction.INBOUND]
    kinds = Counter(e.kind for e in engagements.values())

    def leads(kind: EngagementKind) -> int:
        return len({e.lead_key for e in engagements.values() if e.kind is kind})

    return Totals(
        sent=len(messages) - len(replies),
        opened=kinds[EngagementKind.OPENED],
        opened_leads=leads(EngagementKind.OPENED),
        clicked=kinds[EngagementKind.CLICKED],
        clicked_leads=leads(EngagementKind.CLICKED),
        replied=len(replies),
        replied_leads=len({m.lead_key for m in replies}),
        bounced=kinds[EngagementKind.BOUNCED],
        bounced_by_sender=sum(e.details.get("sender_originated") == "true" for e in engagements.values()),
        unsubscribed=kinds[EngagementKind.UNSUBSCRIBED],
        categorized=kinds[EngagementKind.CATEGORIZED],
        # A manual step states nothing (no time), so no receiver can count it from webhooks.
        manual_step_reached=0,
    )


def without_manual(expected: Totals) -> Totals:
    expected.manual_step_reached = 0
    return expected


@pytest.mark.parametrize("seed", range(5))
def test_the_readings_add_up_to_the_journal(seed: int) -> None:
    sim = simulator(seed=seed)
    plan = sim.deliveries(1500, seed=seed)

    found = readings(plan)

    expected = sim.journal.expected()
    assert totals(found) == without_manual(expected.overall)
    for campaign in sim.campaign_ids:
        assert totals(found, campaign) == without_manual(expected.by_campaign[campaign])
    untracked = {m.key for r in found for m in r.messages if m.campaign_external_id is None}
    assert untracked == sim.journal.message_keys(Happened.UNTRACKED_REPLY)
    assert len(untracked) == expected.untracked_replies


def test_the_readings_add_up_by_step() -> None:
    sim = simulator()
    found = readings(sim.deliveries(1500))

    sent = {m.key: m for r in found for m in r.messages if m.direction is Direction.OUTBOUND and m.step_number}
    by_step = Counter((m.campaign_external_id, m.step_number) for m in sent.values())
    opened = {e.key: e for r in found for e in r.engagements if e.kind is EngagementKind.OPENED}
    opened_by_step = Counter((e.campaign_external_id, e.step_number) for e in opened.values())

    expected = sim.journal.expected().by_step
    assert by_step == {key: step.sent for key, step in expected.items() if step.sent}
    assert opened_by_step == {key: step.opened for key, step in expected.items() if step.opened}
    assert sum(step.unsubscribed for step in expected.values()) == sim.journal.expected().overall.unsubscribed


def test_what_is_withheld_is_told_by_nothing_else() -> None:
    sim = simulator()
    plan = sim.deliveries(1500, withhold=30)
    withheld = plan.of(PostKind.WITHHELD)

    told = {m.key for r in readings(plan.to_send()) for m in r.messages}
    happened = sim.journal.message_keys(Happened.SENT) | sim.journal.message_keys(Happened.REPLIED)

    assert len(withheld) == 30
    assert {post.event_type for post in withheld} == {events.EMAIL_SENT, events.EMAIL_REPLY}
    assert len(happened - told) == 30
    assert happened - told <= {key for post in withheld for key in post.message_keys}


def test_the_plan_is_what_was_asked_for() -> None:
    plan = simulator().deliveries(2000, duplicates=0.1, garbage=7, poison=6, unknown=5, withhold=20)

    kinds = Counter(post.kind for post in plan)
    assert len(plan.to_send()) == 2000
    assert kinds == {
        PostKind.NORMAL: 1782,
        PostKind.DUPLICATE: 200,
        PostKind.GARBAGE: 7,
        PostKind.POISON: 6,
        PostKind.UNKNOWN: 5,
        PostKind.WITHHELD: 20,
    }
    assert [post.number for post in plan] == list(range(2020))


def test_each_kind_of_post_is_what_its_name_says() -> None:
    plan = simulator().deliveries(1000, garbage=10, poison=10, unknown=4)
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
    plan = simulator().deliveries(2000, garbage=5, poison=5, unknown=5)
    keys = [WEBHOOKS.read_at_door(post.body).dedupe_key for post in plan]
    repeated = len(keys) - len({key for key in keys if key is not None}) - keys.count(None)

    assert repeated == len(plan.of(PostKind.DUPLICATE)) == 200


def test_every_message_that_a_post_claims_to_tell_is_in_its_reading() -> None:
    for post in simulator().deliveries(800):
        assert {m.key for m in WEBHOOKS.read_webhook(post.body).messages} == post.message_keys


def test_every_type_is_played() -> None:
    plan = simulator().deliveries(2000)

    assert {post.event_type for post in plan} == set(events.EVENT_TYPES)
    assert all(WEBHOOKS.read_at_door(post.body).event_type == post.event_type for post in plan)


def test_the_shares_are_those_of_cold_mail() -> None:
    sim = simulator()
    sim.play(10_000)
    overall = sim.journal.expected().overall
    mailed = len({note.lead_key for note in sim.journal.notes if note.what is Happened.SENT})

    assert 0.30 < overall.opened_leads / mailed < 0.75
    assert 0.06 < overall.replied / overall.sent < 0.12
    assert 0.01 < overall.bounced / overall.sent < 0.03
    assert 0.005 < overall.unsubscribed / overall.sent < 0.02


def test_one_seed_is_one_story() -> None:
    def bodies(seed: int) -> list[bytes]:
        return [post.body for post in simulator(seed=seed).deliveries(500, garbage=3, poison=3, withhold=5)]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)


def test_two_accounts_share_no_message_and_no_id() -> None:
    one, two = simulator(seed=1), simulator(seed=2)
    one.play(500)
    two.play(500)

    assert not one.journal.message_keys(Happened.SENT) & two.journal.message_keys(Happened.SENT)
    assert not set(one.campaign_ids) & set(two.campaign_ids)
    assert one.account.secret_key != two.account.secret_key


def test_everything_happened_within_a_fortnight_and_before_now() -> None:
    occurrences = simulator().play(3000)
    mail = [occurrence for occurrence in occurrences if occurrence.event_type != events.CAMPAIGN_STATUS_CHANGED]

    assert max(occurrence.at for occurrence in occurrences) < NOW
    assert min(occurrence.at for occurrence in mail) > NOW - timedelta(days=15)


def test_playing_on_adds_to_the_story() -> None:
    sim = simulator()
    first = sim.deliveries(300)
    before = sim.journal.expected().overall.sent
    second = sim.deliveries(300)

    assert sim.journal.expected().overall.sent > before
    found = readings([*first, *second])
    assert totals(found) == without_manual(sim.journal.expected().overall)


def test_without_shuffling_posts_come_in_order_of_time() -> None:
    plan: Plan = simulator().deliveries(200, shuffle=False, duplicates=0)
    shuffled = simulator().deliveries(200, duplicates=0)
    order = [post.body for post in plan]

    assert [post.body for post in shuffled] != order
    assert sorted(post.body for post in shuffled) == sorted(order)


def test_merging_does_not_depend_on_the_order() -> None:
    """Field by field the newest (seen_at, then the value's text) wins: the rule of the model, in a few lines."""
    plan = simulator().deliveries(600)
    posts = plan.to_send()

    def merged(order: list[PlannedPost]) -> dict[tuple[str, str], dict[str, object]]:
        fields: dict[tuple[str, str], dict[str, tuple[datetime, str, object]]] = {}
        for reading in readings(order):
            for kind in ("campaigns", "steps", "leads", "conversations", "messages", "engagements"):
                for sighting in getattr(reading, kind):
                    key = (
                        getattr(sighting, "key", None)
                        or getattr(sighting, "external_id", None)
                        or repr((sighting.campaign_external_id, sighting.number))
                    )
                    known = fields.setdefault((kind, key), {})
                    for name in sighting.__slots__:
                        value = getattr(sighting, name)
                        if value is not None:
                            version = (sighting.seen_at, repr(value), value)
                            known[name] = max(known.get(name, version), version, key=lambda v: v[:2])
        return {key: {name: v[2] for name, v in known.items()} for key, known in fields.items()}

    once = merged(posts)
    for seed in range(3):
        order = posts * 2
        random.Random(seed).shuffle(order)
        assert merged(order) == once


def test_two_thousand_webhooks_are_made_in_no_time() -> None:
    start = time.process_time()

    simulator().deliveries(2000, garbage=5, poison=5, withhold=20)

    assert time.process_time() - start < 2


def test_too_small_a_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        simulator().deliveries(10, garbage=20)
    with pytest.raises(ValueError, match="can be withheld"):
        simulator(clients_of_campaigns=(None,)).deliveries(2, duplicates=0, withhold=2)
