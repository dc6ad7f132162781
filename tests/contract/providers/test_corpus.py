"""The corpus of every provider: one payload per file, and all that it must become.

A file holds `payload` (or `payload_base64`), then one of `facts` (see form.py), `refused` (the reader's complaint) and
`quarantined` (the door's). `dedupe` names the occurrence: files of one name share their key at the door, all others
differ; null is a payload without a time, of which every delivery counts. What only one provider has is tested in its folder.
"""

from __future__ import annotations

import base64
import copy
import importlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs import clock
from libs.errors import ContractViolated
from libs.providers.capabilities import WebhookParsing
from libs.providers.registry import PROVIDERS
from libs.providers.sightings import Reading
from tests.contract.providers.form import facts

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)  # after all payloads but those of 2027: their times are believed
CASES: dict[tuple[str, str], dict[str, Any]] = {
    (provider, path.stem): json.loads(path.read_text())
    for provider in PROVIDERS
    for path in sorted((Path(__file__).parent / provider).glob("*.json"))
}


def _cases(*, has: tuple[str, ...] = (), lacks: tuple[str, ...] = ()) -> list[object]:
    return [
        pytest.param(*name, id="/".join(name))
        for name, case in CASES.items()
        if all(word in case for word in has) and not any(word in case for word in lacks)
    ]


READ = _cases(has=("facts",))
REFUSED = _cases(has=("refused",))
PARSED = _cases(lacks=("quarantined",))
QUARANTINED = _cases(has=("quarantined",))
READ_AS_JSON = _cases(has=("facts", "payload"))

# One value of every kind that JSON has, and the odd ones within a kind.
RETYPED: list[object] = [
    None,
    True,
    -1,
    0,
    7,
    10**18,
    10**30,
    1.5,
    "",
    " ",
    "x",
    "\u0000",
    [],
    [1],
    [{}],
    {},
    {"id": [1]},
]


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


def webhooks_of(provider: str) -> WebhookParsing:
    return PROVIDERS[provider].webhooks


def body_of(provider: str, name: str) -> bytes:
    case = CASES[provider, name]
    return (
        base64.b64decode(case["payload_base64"]) if "payload_base64" in case else json.dumps(case["payload"]).encode()
    )


@pytest.mark.parametrize(("provider", "name"), READ)
def test_a_payload_becomes_exactly_its_facts(provider: str, name: str) -> None:
    assert facts(webhooks_of(provider).read_webhook(body_of(provider, name))) == CASES[provider, name]["facts"]


@pytest.mark.parametrize(("provider", "name"), REFUSED)
def test_a_contradiction_is_refused_by_the_name_of_its_field(provider: str, name: str) -> None:
    body = body_of(provider, name)

    with pytest.raises(ContractViolated) as refusal:
        webhooks_of(provider).read_webhook(body)

    assert str(refusal.value) == CASES[provider, name]["refused"]
    assert webhooks_of(provider).read_at_door(body).quarantine_reason is None  # the door does not judge meaning


@pytest.mark.parametrize(("provider", "name"), QUARANTINED)
def test_what_is_no_payload_is_quarantined(provider: str, name: str) -> None:
    body = body_of(provider, name)

    reading = webhooks_of(provider).read_at_door(body)

    why = CASES[provider, name]["quarantined"]
    assert (reading.quarantine_reason, reading.dedupe_key, reading.event_type) == (why, None, None)
    with pytest.raises(ContractViolated):
        webhooks_of(provider).read_webhook(body)


@pytest.mark.parametrize("provider", list(PROVIDERS))
def test_the_door_tells_occurrences_apart(provider: str) -> None:
    groups: dict[str, set[bytes | None]] = {}
    for (of, name), case in CASES.items():
        if of == provider and case.get("dedupe") is not None:
            reading = webhooks_of(provider).read_at_door(body_of(provider, name))
            groups.setdefault(case["dedupe"], set()).add(reading.dedupe_key)

    assert [group for group, found in groups.items() if len(found) != 1] == []
    assert len(set.union(*groups.values())) == len(groups)
    assert {len(key) for found in groups.values() for key in found if key is not None} == {32}


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        pytest.param(*name, id="/".join(name))
        for name, case in CASES.items()
        if "quarantined" not in case and case["dedupe"] is None
    ],
)
def test_without_a_time_every_delivery_counts(provider: str, name: str) -> None:
    first, second = (webhooks_of(provider).read_at_door(body_of(provider, name)) for _ in range(2))

    assert first.dedupe_key != second.dedupe_key
    assert first.event_type == second.event_type


@pytest.mark.parametrize("provider", list(PROVIDERS))
def test_every_type_has_a_payload(provider: str) -> None:
    events = importlib.import_module(f"libs.providers.{provider}.events")

    read = {case["facts"]["event_type"] for (of, _), case in CASES.items() if of == provider and "facts" in case}

    assert set(events.EVENT_TYPES) <= read


@pytest.mark.parametrize(("provider", "name"), PARSED)
def test_a_payload_cut_anywhere_is_quarantined_and_refused(provider: str, name: str) -> None:
    body, webhooks = body_of(provider, name), webhooks_of(provider)
    for size in range(len(body)):
        assert webhooks.read_at_door(body[:size]).quarantine_reason
        with pytest.raises(ContractViolated):
            webhooks.read_webhook(body[:size])


@pytest.mark.parametrize(("provider", "name"), READ_AS_JSON)
def test_any_one_field_may_be_missing_or_of_another_kind(provider: str, name: str) -> None:
    """It is read or refused; nothing else happens, and the door takes it as long as it names a type."""
    original, webhooks = CASES[provider, name]["payload"], webhooks_of(provider)
    for path in _paths(original):
        for value in [..., *RETYPED]:
            payload = copy.deepcopy(original)
            _set(payload, path, value)
            body = json.dumps(payload).encode()
            door = webhooks.read_at_door(body)
            assert (door.dedupe_key is None) == (door.quarantine_reason is not None)
            try:
                assert isinstance(webhooks.read_webhook(body), Reading)
            except ContractViolated:
                continue


@pytest.mark.parametrize(("provider", "name"), READ_AS_JSON)
def test_a_reading_does_not_depend_on_how_json_is_spelled(provider: str, name: str) -> None:
    webhooks, payload = webhooks_of(provider), CASES[provider, name]["payload"]
    body, respelled = body_of(provider, name), json.dumps(_backwards(payload), indent=4).encode()

    assert webhooks.read_webhook(respelled) == webhooks.read_webhook(body)
    if CASES[provider, name]["dedupe"] is not None:
        assert webhooks.read_at_door(respelled) == webhooks.read_at_door(body)


@pytest.mark.parametrize(("provider", "name"), READ)
def test_no_text_of_a_reading_is_unfit_for_the_database(provider: str, name: str) -> None:
    for text in _texts(facts(webhooks_of(provider).read_webhook(body_of(provider, name)))):
        assert "\0" not in text
        text.encode()  # no lone surrogate


Path_ = tuple[str | int, ...]


def _paths(value: object, path: Path_ = ()) -> list[Path_]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in [(*path, key), *_paths(item, (*path, key))]]
    if isinstance(value, list):
        return [found for index, item in enumerate(value) for found in [(*path, index), *_paths(item, (*path, index))]]
    return []


def _set(payload: Any, path: Path_, value: object) -> None:
    for part in path[:-1]:
        payload = payload[part]
    if value is ...:
        del payload[path[-1]]
    else:
        payload[path[-1]] = value


def _backwards(value: object) -> object:
    """With every object's fields the other way round."""
    if isinstance(value, dict):
        return {key: _backwards(item) for key, item in reversed(value.items())}
    return [_backwards(item) for item in value] if isinstance(value, list) else value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *_texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
