"""Digests and differences of one campaign."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from libs.providers.capabilities import RemoteMessageKey
from services.provider_sync.domain.comparing import OurMessage, compare, split

NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)
LEAD = "email:ines@northpier.example.com"


def remote(key, at=NOON, kind="sent"):
    return RemoteMessageKey(key=key, kind=kind, campaign_external_id="1", lead_key=LEAD, occurred_at=at)


def ours(key, at=NOON, kind="sent", seen_at=NOON):
    return OurMessage(key, kind, LEAD, at, seen_at)


def test_equal_sides_have_equal_digests_and_no_differences():
    found = compare([remote("sent:a"), remote("sent:b")], [ours("sent:b"), ours("sent:a")])

    (digest,) = found.digests
    mixed = int(hashlib.sha256(b"sent:a").hexdigest()[:32], 16) ^ int(hashlib.sha256(b"sent:b").hexdigest()[:32], 16)
    assert (digest.provider_count, digest.our_count) == (2, 2)
    assert digest.provider_hash == digest.our_hash == f"{mixed:032x}"
    assert found.differences == ()


def test_keys_are_told_only_for_days_that_differ():
    tomorrow = NOON + timedelta(days=1)

    found = compare([remote("sent:a"), remote("sent:b", tomorrow)], [ours("sent:a"), ours("sent:c", tomorrow)])

    (difference,) = found.differences
    assert difference.day == tomorrow.date()
    assert difference.missing == (("sent:b", LEAD),)
    assert difference.surplus == (("sent:c", LEAD),)
    assert len(found.digests) == 2


def test_a_message_of_which_both_know_lies_on_the_providers_day():
    late = NOON + timedelta(days=3)

    found = compare([remote("sent:a", late)], [ours("sent:a", NOON)])

    assert [digest.day for digest in found.digests] == [late.date()]
    assert found.differences == ()


def test_a_message_without_a_time_is_not_lost_from_the_count():
    found = compare([remote("reply:a", kind="reply")], [ours("reply:a", None, "reply"), ours("reply:b", None, "reply")])

    (digest,) = found.digests
    assert (digest.kind, digest.provider_count, digest.our_count) == ("reply", 1, 2)
    assert found.differences[0].surplus == (("reply:b", LEAD),)


def test_very_many_keys_are_told_in_parts():
    found = compare([remote(f"sent:{number}") for number in range(25)], [ours("sent:x")])

    parts = split(found, keys_per_part=10)

    assert [part.digests for part in parts] == [found.digests, (), ()]
    missing = [key for part in parts for difference in part.differences for key in difference.missing]
    surplus = [key for part in parts for difference in part.differences for key in difference.surplus]
    assert sorted(missing) == sorted(found.differences[0].missing)
    assert surplus == [("sent:x", LEAD)]
    assert all(sum(len(one.missing) + len(one.surplus) for one in part.differences) <= 10 for part in parts)


def test_nothing_on_either_side_is_one_empty_part():
    assert [(part.digests, part.differences) for part in split(compare([], []))] == [((), ())]
