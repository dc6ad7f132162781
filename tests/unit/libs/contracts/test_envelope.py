from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import clock
from libs.contracts import envelope as envelopes
from libs.contracts.envelope import MAX_EVENT_BYTES, Envelope, seal
from libs.errors import ContractViolated
from libs.ids import CompanyId, OrgId, new_id

ORG = OrgId(new_id())
# JSON cannot hold lone surrogates, and orjson refuses integers beyond 64 bits.
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def sealed(**given: Any) -> Envelope:
    usual: dict[str, Any] = {"type": "thing.told.v1", "source": "gateway", "subject": "thing/1", "org_id": ORG}
    return seal(**({"data": {}} | usual | given))


def document_of(envelope: Envelope, **changed: Any) -> bytes:
    return orjson.dumps(orjson.loads(envelope.raw) | changed)


def without(envelope: Envelope, name: str) -> bytes:
    document = orjson.loads(envelope.raw)
    del document[name]
    return orjson.dumps(document)


@given(
    data=st.dictionaries(texts, values, max_size=4),
    subject=texts.filter(bool),
    company=st.none() | st.uuids(),
    replay=st.none() | st.uuids(),
    traced=st.booleans(),
    caused=st.booleans(),
)
def test_what_was_sealed_is_what_is_read(
    data: dict[str, Any], subject: str, company: Any, replay: Any, traced: bool, caused: bool
) -> None:
    envelope = sealed(
        data=data,
        subject=subject,
        company_id=company and CompanyId(company),
        replay_id=replay,
        traceparent=TRACE if traced else None,
        cause=sealed() if caused else None,
    )

    assert envelopes.read(envelope.raw) == envelope
    assert envelopes.traceparent_of(envelope.raw) == envelope.traceparent


@given(binary=st.binary(max_size=3000), note=texts)
def test_a_binary_body_comes_back_byte_for_byte(binary: bytes, note: str) -> None:
    envelope = sealed(data=None, binary=binary, attributes={"note": note})

    read = envelopes.read(envelope.raw)

    assert (read.binary, read.data, read.attributes) == (binary, None, {"note": note})
    assert read == envelope


def test_an_effect_hands_on_the_correlation_and_the_replay_of_its_cause() -> None:
    first = sealed(replay_id=new_id())
    second = sealed(cause=first)
    third = sealed(cause=second)

    assert first.correlation_id == first.id
    assert (third.correlation_id, third.causation_id) == (first.id, second.id)
    assert third.replay_id == first.replay_id


def test_the_time_is_the_clocks() -> None:
    with clock.frozen(datetime(2026, 7, 11, 12, 1, 58, 23000, UTC)):
        assert orjson.loads(sealed().raw)["time"] == "2026-07-11T12:01:58.023000Z"


def test_an_event_over_the_limit_is_not_sealed_and_its_text_is_not_told() -> None:
    with pytest.raises(ContractViolated, match="over the limit") as refused:
        sealed(data={"text": "secret" * (MAX_EVENT_BYTES // 6)})
    assert "secret" not in str(refused.value)


def test_unknown_attributes_and_fields_are_kept_in_the_bytes() -> None:
    raw = document_of(sealed(data={"known": 1, "new": 2}), newattribute="x", newnumber=7)

    read = envelopes.read(raw)

    assert read.raw == raw
    assert read.data == {"known": 1, "new": 2}
    assert read.attributes == {"newattribute": "x"}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_are_refused(raw: bytes) -> None:
    with pytest.raises(ContractViolated):
        envelopes.read(raw)


@given(values)
def test_json_that_is_no_event_is_refused(document: Any) -> None:
    with pytest.raises(ContractViolated):
        envelopes.read(orjson.dumps(document))


@pytest.mark.parametrize("name", "specversion id type source subject time orgid correlationid".split())
def test_a_missing_attribute_is_named(name: str) -> None:
    with pytest.raises(ContractViolated, match="CloudEvent" if name == "specversion" else f"attribute {name} is"):
        envelopes.read(without(sealed(), name))


@given(
    name=st.sampled_from("id type source subject time orgid correlationid companyid causationid replayid data_base64".split()),
    value=values.filter(lambda value: value is not None),
)  # fmt: skip
def test_an_attribute_of_the_wrong_kind_is_refused_or_was_right(name: str, value: Any) -> None:
    raw = document_of(sealed(), **{name: value})

    try:
        read = envelopes.read(raw)
    except ContractViolated as refused:
        assert str(refused).startswith(f"attribute {name} ")  # noqa: PT017 - either outcome may be right
    else:
        assert isinstance(value, str)
        assert read.raw == raw


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"specversion": "0.3"}, "CloudEvent"),
        ({"id": "17"}, "attribute id is not a UUID"),
        ({"orgid": "acme"}, "attribute orgid is not a UUID"),
        ({"companyid": ""}, "attribute companyid"),
        ({"time": "yesterday"}, "attribute time is not RFC 3339"),
        ({"time": "2026-07-11T12:00:00"}, "attribute time names no time zone"),
        ({"subject": ""}, "attribute subject"),
        ({"data": [1]}, "attribute data is not an object"),
        ({"data": "text"}, "attribute data is not an object"),
        ({"data_base64": "a"}, "attribute data_base64 is not base64"),
        ({"data_base64": "@@@@"}, "attribute data_base64 is not base64"),
        ({"data_base64": 7}, "attribute data_base64 is not base64"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ContractViolated, match=named):
        envelopes.read(document_of(sealed(), **changed))


def test_a_traceparent_is_found_only_where_it_is_an_attribute() -> None:
    told = '"traceparent":"00-' + "a" * 32

    assert envelopes.traceparent_of(sealed(subject=told).raw) is None
    assert envelopes.traceparent_of(sealed(subject=told, traceparent=TRACE).raw) == TRACE


def test_base64_is_the_standards_own() -> None:
    assert (
        orjson.loads(sealed(data=None, binary=b"\xff\xfe?").raw)["data_base64"]
        == base64.b64encode(b"\xff\xfe?").decode()
    )
