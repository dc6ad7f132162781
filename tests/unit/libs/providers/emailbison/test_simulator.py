"""The simulator against the adapter: what was played is what the readings add up to, in any order."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from libs import clock
from libs.errors import ContractViolated
from libs.providers.emailbison import events
from libs.providers.emailbison.simulator import EmailBisonSimulator, Happened, Totals
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from libs.providers.sightings import Direction, EngagementKind, Reading
from libs.providers.simulation import PlannedPost, PostKind

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)
WEBHOOKS = EmailBisonWebhooks()


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


def simulator(**settings) -> EmailBisonSimulator:
    return EmailBisonSimulator(**{"seed": 7, "now": NOW, "answered_by_hand_share": 0.5, **settings})


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
    by_hand = [m for m in messages.values() if m.is_manual]
    opened = [e for e in engagements.values() if e.kind is EngagementKind.OPENED]
    kinds = Counter(e.kind for e in engagements.values())
    return Totals(
        sent=len(messages) - len(replies) - len(by_hand),
        sent_by_hand=len(by_hand),
        opened=len(opened),
        opened_leads=len({e.lead_key for e in opened}),
        replied=len(replies),
        replied_leads=len({m.lead_key for m in replies}),
        bounced=kinds[EngagementKind.BOUNCED],
        unsubscribed=kinds[EngagementKind.UNSUBSCRIBED],
        categorized=kinds[EngagementKind.CATEGORIZED],
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_readings_add_up_to_the_journal(seed: int) -> None:
    sim = simulator(seed=seed)
    found = readings(sim.deliveries(1500, seed=seed))

    expected = sim.journal.expected()
    assert totals(found) == expected.overall
    for campaign in sim.campaign_ids:
        assert totals(found, campaign) == expected.by_campaign[campaign]
    untracked = {
        m.key for r in found for m in r.messages if m.campaign_external_id is None and m.direction is Direction.INBOUND
    }
    assert untracked == sim.journal.message_keys(Happened.UNTRACKED_REPLY)
    assert len(untracked) == expected.untracked_replies
    by_hand = {m.key for r in found for m in r.messages if m.is_manual}
    assert by_hand == sim.journal.message_keys(Happened.SENT_BY_HAND)


def test_the_readings_add_up_by_step() -> None:
    sim = simulator()
    found = readings(sim.deliveries(1500))

    sent = {m.key: m for r in found for m in r.messages if m.is_manual is False}
    by_step = Counter((m.campaign_external_id, m.step_number) for m in sent.values())
    engaged = {e.key: e for r in found for e in r.engagements}
    opened = Counter(
        (e.campaign_external_id, e.step_number) for e in engaged.values() if e.kind is EngagementKind.OPENED
    )
    replies = {m.key: m for r in found for m in r.messages if m.direction is Direction.INBOUND and m.step_number}
    replied = Counter((m.campaign_external_id, m.step_number) for m in replies.values())

    expected = sim.journal.expected().by_step
    assert by_step == {key: step.sent for key, step in expected.items() if step.sent}
    assert opened == {key: step.opened for key, step in expected.items() if step.opened}
    assert replied == {key: step.replied for key, step in expected.items() if step.replied}


def test_what_is_withheld_is_told_by_nothing_else() -> None:
    sim = simulator()
    plan = sim.deliveries(1500, withhold=30)
    withheld = plan.of(PostKind.WITHHELD)

    told = {m.key for r in readings(plan.to_send()) for m in r.messages}
    happened = sim.journal.message_keys(Happened.SENT) | sim.journal.message_keys(Happened.REPLIED)

    assert len(withheld) == 30
    assert {post.event_type for post in withheld} == {events.EMAIL_SENT, events.LEAD_REPLIED}
    assert len(happened - told) == 30
    assert happened - told <= {key for post in withheld for key in post.message_keys}


def test_the_plan_is_what_was_asked_for() -> None:
    plan = simulator().deliveries(2000, duplicates=0.1, garbage=7, poison=6, unknown=5, withhold=20)

    assert len(plan.to_send()) == 2000
    assert Counter(post.kind for post in plan) == {
        PostKind.NORMAL: 1782,
        PostKind.DUPLICATE: 200,
        PostKind.GARBAGE: 7,
        PostKind.POISON: 6,
        PostKind.UNKNOWN: 5,
        PostKind.WITHHELD: 20,
    }


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
    plan = simulator(answered_by_hand_share=0.0).deliveries(2000)

    assert {post.event_type for post in plan} == set(events.EVENT_TYPES)
    assert all(WEBHOOKS.read_at_door(post.body).event_type == post.event_type for post in plan)


def test_the_blocks_are_those_of_the_corpus() -> None:
    """A field more would be an invention, one less a lie by omission."""
    corpus = Path(__file__).parents[4] / "contract/providers/emailbison"
    seen = set()
    for post in simulator().deliveries(2000, duplicates=0):
        payload = json.loads(post.body)
        event_type = payload["event"]["type"]
        sample = json.loads((corpus / f"{event_type.lower()}.json").read_text())["payload"]
        seen.add(event_type)
        assert payload["event"].keys() == sample["event"].keys()
        assert payload["data"].keys() == sample["data"].keys()
        for name, block in payload["data"].items():
            if isinstance(block, dict):
                assert block.keys() == sample["data"][name].keys(), (event_type, name)
    assert seen == set(events.EVENT_TYPES)


def test_automated_replies_that_a_campaign_does_not_count_are_told_by_no_webhook() -> None:
    sim = simulator(tells_automated=False, answered_by_hand_share=0.0)
    found = readings(sim.deliveries(1500))

    told = {m.key for r in found for m in r.messages}
    untold = sim.journal.message_keys(Happened.REPLIED) - told
    assert untold
    assert untold == {row.key for row in sim.account.inbox if row.is_automated and row.type == "Tracked Reply"}


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
    assert one.account.workspace_id != two.account.workspace_id


def test_everything_happened_within_a_fortnight_and_before_now() -> None:
    occurrences = simulator().play(3000)

    assert max(occurrence.at for occurrence in occurrences) < NOW
    assert min(occurrence.at for occurrence in occurrences) > NOW - timedelta(days=15)


def test_playing_on_adds_to_the_story() -> None:
    sim = simulator()
    first = sim.deliveries(300)
    before = sim.journal.expected().overall.sent
    second = sim.deliveries(300)

    assert sim.journal.expected().overall.sent > before
    assert totals(readings([*first, *second])) == sim.journal.expected().overall


def test_merging_does_not_depend_on_the_order() -> None:
    """Field by field the newest (seen_at, then the value's text) wins: the rule of the model, in a few lines."""
    posts = simulator().deliveries(600).to_send()

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
        simulator(campaigns=1).deliveries(1, duplicates=0, withhold=20)
