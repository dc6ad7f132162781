"""The join of statements is commutative, associative and idempotent: the root of "order-free"."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ids import AccountId
from libs.providers.sightings import Source
from services.provider_sync.domain.merging import Row, State, join, merge, provenance, state

ENTITY, ACCOUNT = UUID(int=1), AccountId(UUID(int=2))
NOON = datetime(2026, 7, 11, 12, tzinfo=UTC)

# Few times, ranks and values, so that ties and repetitions are the rule.
times = st.integers(0, 3).map(lambda minutes: NOON + timedelta(minutes=minutes))
values = st.one_of(
    st.sampled_from(["", "a", "b"]),
    st.integers(0, 2),
    times,
    st.dictionaries(st.sampled_from("xy"), st.sampled_from("12"), max_size=2),
)


@st.composite
def states(draw) -> State:
    source = draw(st.sampled_from(list(Source)))
    seen_at = draw(times)
    stated = draw(st.dictionaries(st.sampled_from(["name", "status", "subject"]), values, max_size=3))
    return State(ENTITY, ACCOUNT, ("key",), state(stated, seen_at, source), 1 << source.rank)


@given(states(), states())
def test_the_order_of_two_does_not_matter(one, other):
    assert merge(one, other) == merge(other, one)


@given(states(), states(), states())
def test_the_grouping_does_not_matter(one, two, three):
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@given(states(), states())
def test_saying_it_again_adds_nothing(one, other):
    assert merge(one, one) == one
    assert merge(merge(one, other), other) == merge(one, other)


@given(st.lists(states(), min_size=1, max_size=6), st.randoms(use_true_random=False), st.integers(1, 6))
def test_rows_end_alike_in_any_order_in_any_batches(seen, random, size):
    straight: Row | None = None
    for one in seen:
        straight = join(straight, one).row
    shuffled = [*seen, *random.choices(seen, k=2)]
    random.shuffle(shuffled)
    batched: Row | None = None
    for start in range(0, len(shuffled), size):
        batched = join(batched, reduce(merge, shuffled[start : start + size])).row

    assert batched == straight


@given(states(), states())
def test_join_tells_what_changed(before, seen):
    row = join(None, before).row

    result = join(row, seen)

    assert result.changed == {name for name, value in result.row.values.items() if row.values.get(name) != value}
    assert result.moved == (result.row.versions != row.versions or result.row.sources != row.sources)


def test_an_older_statement_fills_gaps_and_replaces_nothing():
    newer = State(ENTITY, ACCOUNT, (), _fields(NOON, name="new"), 0)
    older = State(ENTITY, ACCOUNT, (), _fields(NOON - timedelta(hours=1), name="old", status="active"), 0)

    merged = merge(newer, older)

    assert {name: one.value for name, one in merged.fields.items()} == {"name": "new", "status": "active"}


def test_a_pull_wins_over_a_webhook_of_the_same_time():
    webhook = State(ENTITY, ACCOUNT, (), _fields(NOON, name="w"), 0)
    pull = State(ENTITY, ACCOUNT, (), _fields(NOON, Source.PULL, name="p"), 0)

    assert merge(pull, webhook).fields["name"].value == "p"


def test_nothing_stated_is_no_statement():
    # No integer column holds the last, and nothing counted here is that large.
    assert set(state({"none": None, "empty": "", "huge": 10**12}, NOON, Source.WEBHOOK)) == {"empty"}


@pytest.mark.parametrize(
    ("sources", "word"), [(0, "inferred"), (1, "inferred"), (2, "webhook"), (4, "pull"), (6, "webhook")]
)
def test_known_by_webhook_whatever_else_told_it(sources, word):
    assert provenance(sources).value == word


def test_versions_survive_storage():
    one = join(None, State(ENTITY, ACCOUNT, (), _fields(NOON, name="a"), 2)).row

    assert orjson.loads(orjson.dumps({name: tuple(version) for name, version in one.versions.items()})) == {
        "name": list(one.versions["name"])
    }


def _fields(seen_at, source=Source.WEBHOOK, **stated):
    return state(stated, seen_at, source)
