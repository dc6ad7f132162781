from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts import envelope as envelopes
from libs.errors import ContractViolated
from libs.ids import OrgId, new_id
from libs.messaging.outbox import OutboxRow
from libs.messaging.wire import MAX_BYTES, MAX_EVENTS, pack, unpack

ORG = OrgId(new_id())
objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-9, 9) | st.none(), max_size=3)
# An event's bytes keep their sender's layout: also blanks and line ends.
layouts = st.sampled_from([orjson.dumps, lambda value: orjson.dumps(value, option=orjson.OPT_INDENT_2)])


def row(event_type: str, envelope: bytes) -> OutboxRow:
    return OutboxRow(new_id(), ORG, event_type, envelope)


def sized(event_type: str, length: int) -> OutboxRow:
    return row(event_type, b'{"x":"' + b"y" * (length - 8) + b'"}')


@given(st.lists(st.tuples(st.sampled_from(["a.told.v1", "b.told.v1"]), objects, layouts), max_size=30))
def test_every_event_comes_out_with_its_exact_bytes_in_its_types_order(given_rows: list[Any]) -> None:
    rows = [row(name, dump(value)) for name, value, dump in given_rows]

    batches = list(pack(rows))

    for name in ("a.told.v1", "b.told.v1"):
        same = [batch for batch in batches if batch.routing_key == name]
        found = [raw for batch in same for raw in unpack(batch.body, list(batch.offsets))]
        assert found == [one.envelope for one in rows if one.type == name]
        assert [event_id for batch in same for event_id in batch.ids] == [one.id for one in rows if one.type == name]
    for batch in batches:
        assert isinstance(orjson.loads(batch.body), list)


@given(st.lists(st.integers(8, MAX_BYTES + 5000), min_size=1, max_size=12))
def test_a_batch_is_within_its_size_unless_it_is_one_event(lengths: list[int]) -> None:
    batches = list(pack([sized("a.told.v1", length) for length in lengths]))

    assert all(len(batch.ids) == 1 or len(batch.body) <= MAX_BYTES + 1 for batch in batches)
    assert sum(len(batch.ids) for batch in batches) == len(lengths)


@pytest.mark.parametrize(("events", "sizes"), [(1, [1]), (200, [200]), (201, [200, 1]), (450, [200, 200, 50])])
def test_a_batch_holds_at_most_200_events(events: int, sizes: list[int]) -> None:
    assert MAX_EVENTS == 200
    assert [len(batch.ids) for batch in pack([sized("a.told.v1", 20) for _ in range(events)])] == sizes


def test_nothing_packs_into_nothing() -> None:
    assert list(pack([])) == []


@given(
    values=st.lists(objects, min_size=1, max_size=4),
    offsets=st.none() | st.text() | st.lists(st.integers(-5, 200) | st.none(), max_size=10),
)
def test_offsets_that_do_not_fit_are_passed_over(values: list[dict[str, Any]], offsets: object) -> None:
    (batch,) = pack([row("a.told.v1", orjson.dumps(value)) for value in values])

    found = unpack(batch.body, offsets)

    assert orjson.loads(b"[" + b",".join(found) + b"]") == values


def test_offsets_that_hit_only_a_part_of_an_event_are_passed_over() -> None:
    (batch,) = pack([row("a.told.v1", b'{"a":{"b":1}}'), row("a.told.v1", b'{"c":2}')])
    first, second = batch.offsets[:2], batch.offsets[2:]

    for wrong in ([*first], [*second], [*first, second[0] + 1, second[1]], [6, 13], [*second, *first]):
        assert [orjson.loads(raw) for raw in unpack(batch.body, wrong)] == [{"a": {"b": 1}}, {"c": 2}]


def test_offsets_that_take_two_events_for_one_end_as_unreadable() -> None:
    (batch,) = pack([row("a.told.v1", b'{"a":1}'), row("a.told.v1", b'{"c":2}')])

    (both,) = unpack(batch.body, [batch.offsets[0], batch.offsets[-1]])

    with pytest.raises(ContractViolated):
        envelopes.read(both)


@given(body=st.binary(max_size=60), offsets=st.lists(st.integers(0, 70), max_size=4))
def test_garbage_is_refused_or_refused_when_read(body: bytes, offsets: list[int]) -> None:
    try:
        parts = unpack(body, offsets)
    except ContractViolated:
        return
    for part in parts:
        with pytest.raises(ContractViolated):
            envelopes.read(part)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[1]", b"[[]]", b"[{}", b"\xff\xfe", b'"text"'])
def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(ContractViolated, match="the message is no"):
        unpack(body, None)


def test_the_trace_contexts_of_a_batch_are_its_events() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    told = [
        envelopes.seal(type="a.told.v1", source="gateway", subject="a/1", org_id=ORG, data={}, traceparent=traceparent)
        for traceparent in (trace, None)
    ]

    (batch,) = pack([row("a.told.v1", envelope.raw) for envelope in told])

    assert batch.traceparents == [trace, None]
