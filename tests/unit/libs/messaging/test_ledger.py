from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.ids import OrgId, entity_id, minted_at, new_id
from libs.messaging.ledger import UNCOUNTED, Changes, bucket_of

ORG = OrgId(new_id())
QUEUE = "analytics.facts"
TYPE = "message.recorded.v1"


def minted(moment: datetime) -> UUID:
    milliseconds = round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
    return UUID(int=milliseconds << 80 | 0x7 << 76 | random.getrandbits(12) << 64 | 0x2 << 62 | random.getrandbits(62))


def totals(changes: Changes) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for (_, _, _, _, state), (count, xor) in changes._counts.items():
        before = found.get(state, (0, 0))
        found[state] = (before[0] + count, before[1] ^ xor)
    return found


@given(st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_an_id_falls_into_the_minute_in_which_it_was_minted(moment: datetime) -> None:
    identifier = minted(moment)

    assert bucket_of(identifier) == minted_at(identifier).replace(second=0, microsecond=0)


def test_a_new_id_falls_into_this_minute() -> None:
    assert abs(bucket_of(new_id()) - datetime.now(UTC)) < timedelta(minutes=2)


@given(st.uuids() | st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number)))
def test_any_id_has_a_bucket(identifier: UUID) -> None:
    assert bucket_of(identifier).tzinfo is UTC
    Changes().add(ORG, QUEUE, TYPE, identifier, "dead")


def test_ids_that_tell_no_time_count_into_1970() -> None:
    for identifier in (uuid4(), entity_id(new_id(), "unreadable", "x"), UUID(int=(2**48 - 1) << 80 | 0x7 << 76)):
        assert bucket_of(identifier) == datetime(1970, 1, 1, tzinfo=UTC)


@given(st.permutations(range(12)), st.lists(st.integers(0, 11), max_size=8))
def test_what_enters_and_leaves_in_any_order_cancels_out(order: list[int], retried: list[int]) -> None:
    ids = [new_id() for _ in range(12)]
    changes = Changes()
    steps: list[tuple[str, int]] = [(state, n) for n in order for state in ("due", "-due", "done")]
    steps += [(state, n) for n in retried for state in ("due", "-due")]
    random.shuffle(steps)

    for state, n in steps:
        changes.add(ORG, QUEUE, TYPE, ids[n], state.lstrip("-"), -1 if state.startswith("-") else 1)

    xor = 0
    for identifier in ids:
        xor ^= identifier.int
    assert totals(changes) == {"due": (0, 0), "done": (12, xor)}


def test_one_lost_and_another_counted_twice_does_not_balance() -> None:
    one, two = new_id(), new_id()
    sent, heard = Changes(), Changes()
    for identifier in (one, two):
        sent.add(ORG, TYPE, TYPE, identifier, "sent")
    for identifier in (one, one):
        heard.add(ORG, QUEUE, TYPE, identifier, "done")

    assert totals(sent)["sent"][0] == totals(heard)["done"][0]
    assert totals(sent)["sent"][1] != totals(heard)["done"][1]


def test_the_event_that_tells_of_counts_is_not_counted() -> None:
    changes = Changes()
    changes.add(ORG, UNCOUNTED, UNCOUNTED, new_id(), "sent")

    assert totals(changes) == {}


class Driver:
    """Keeps what would be inserted."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    async def execute(self, _: str, *columns: Any) -> str:
        self.rows += zip(*columns, strict=True)
        return "INSERT"


@pytest.mark.parametrize("orgs", [1, 3])
async def test_changes_are_written_once_a_row_for_each_org_hop_minute_and_state(orgs: int) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    changes, driver = Changes(), Driver()
    for org in (OrgId(new_id()) for _ in range(orgs)):
        for second in (0, 30, 60):
            changes.add(org, QUEUE, TYPE, minted(noon + timedelta(seconds=second)), "done")

    await changes.write(driver, "analytics")  # type: ignore[arg-type]
    await changes.write(driver, "analytics")  # type: ignore[arg-type]

    assert sorted(row[5] for row in driver.rows) == [1] * orgs + [2] * orgs
    assert {row[3] for row in driver.rows} == {noon, noon + timedelta(minutes=1)}
    assert all(len(row[6]) == 16 for row in driver.rows)
