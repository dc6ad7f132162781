"""Who is served now of what a queue delivered."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.envelope import Envelope, seal
from libs.ids import OrgId, new_id
from libs.messaging.fairness import split

ORGS = [OrgId(new_id()) for _ in range(8)]
POOL = {org: [seal(type="t.v1", source="s", subject="s", org_id=org, data={}) for _ in range(60)] for org in ORGS}


def _delivered(*orgs: int) -> list[Envelope]:
    seen: Counter[int] = Counter()
    made = []
    for org in orgs:
        made.append(POOL[ORGS[org]][seen[org]])
        seen[org] += 1
    return made


def _counts(envelopes: list[Envelope]) -> dict[int, int]:
    return dict(Counter(ORGS.index(envelope.org_id) for envelope in envelopes))


def test_what_is_not_too_much_is_handled_at_once() -> None:
    delivered = _delivered(*[0] * 10)

    assert split(delivered, 10) == (delivered, [])


def test_who_comes_behind_a_flood_is_served_with_its_first() -> None:
    delivered = _delivered(*[0] * 40, 1, 1, 2)

    now, later = split(delivered, 10)

    assert (_counts(now), _counts(later)) == ({0: 5, 1: 2, 2: 1}, {0: 35})
    assert now[:5] == delivered[:5], "an org's first come first"


def test_what_one_org_leaves_the_others_share() -> None:
    now, _ = split(_delivered(*[0] * 40, *[1] * 40, *[2] * 40, 3), 13)

    assert _counts(now) == {0: 4, 1: 4, 2: 4, 3: 1}


def test_a_flood_alone_leaves_room_for_who_is_not_here_yet() -> None:
    now, later = split(_delivered(*[0] * 40), 10)

    assert (len(now), len(later)) == (5, 35)


@given(st.lists(st.integers(0, 7), max_size=60), st.integers(2, 40))
def test_nothing_is_lost_doubled_or_reordered_and_nobody_is_passed_over(orgs: list[int], at_once: int) -> None:
    delivered = _delivered(*orgs)

    now, later = split(delivered, at_once)

    assert sorted([*now, *later], key=lambda one: one.id) == sorted(delivered, key=lambda one: one.id)
    assert len(now) <= at_once
    for org in ORGS:
        assert [one for one in [*now, *later] if one.org_id == org] == [one for one in delivered if one.org_id == org]
    served, all_of = _counts(now), _counts(delivered)
    for one_org, count in all_of.items():
        if served.get(one_org, 0) < count:  # who waits was not served worse than anybody else, but for a rounded one
            assert served.get(one_org, 0) >= min(max(served.values()), at_once // 2) - 1
