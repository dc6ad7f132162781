"""The corpus: one payload per file, and all that it must become.

A file holds `payload` (or `payload_base64`), then one of `facts` (see form.py), `refused` (the reader's complaint) and
`quarantined` (the door's). `dedupe` names the occurrence: files of one name share their key at the door, all others
differ; null is a payload without a time, of which every delivery counts.
"""

from __future__ import annotations

import base64
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from libs import clock
from libs.errors import ContractViolated
from libs.providers.capabilities import WebhookParsing
from libs.providers.sightings import Reading
from libs.providers.smartlead import events
from libs.providers.smartlead.webhooks import SmartleadWebhooks
from tests.contract.providers.smartlead.form import facts

NOW = datetime(2026, 7, 20, 12, tzinfo=UTC)  # a week after the payloads: their times are believed
CASES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.json"))
}
READ = [name for name, case in CASES.items() if "facts" in case]
PARSED = [name for name, case in CASES.items() if "quarantined" not in case]
QUARANTINED = [name for name, case in CASES.items() if "quarantined" in case]

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


@pytest.fixture
def webhooks() -> WebhookParsing:
    return SmartleadWebhooks()


def body_of(name: str) -> bytes:
    case = CASES[name]
    return (
        base64.b64decode(case["payload_base64"]) if "payload_base64" in case else json.dumps(case["payload"]).encode()
    )


@pytest.mark.parametrize("name", READ)
def test_a_payload_becomes_exactly_its_facts(name: str, webhooks: WebhookParsing) -> None:
    assert facts(webhooks.read_webhook(body_of(name))) == CASES[name]["facts"]


@pytest.mark.parametrize("name", [name for name in PARSED if name not in READ])
def test_a_contradiction_is_refused_by_the_name_of_its_field(name: str, webhooks: WebhookParsing) -> None:
    with pytest.raises(ContractViolated) as refusal:
        webhooks.read_webhook(body_of(name))

    assert str(refusal.value) == CASES[name]["refused"]
    assert webhooks.read_at_door(body_of(name)).quarantine_reason is None  # the door does not judge meaning


@pytest.mark.parametrize("name", QUARANTINED)
def test_what_is_no_payload_is_quarantined(name: str, webhooks: WebhookParsing) -> None:
    reading = webhooks.read_at_door(body_of(name))

    assert (reading.quarantine_reason, reading.dedupe_key, reading.event_type) == (
        CASES[name]["quarantined"],
        None,
        None,
    )
    with pytest.raises(ContractViolated):
        webhooks.read_webhook(body_of(name))


def test_the_door_tells_occurrences_apart(webhooks: WebhookParsing) -> None:
    groups: dict[str, set[bytes | None]] = {}
    for name in PARSED:
        if CASES[name]["dedupe"] is not None:
            groups.setdefault(CASES[name]["dedupe"], set()).add(webhooks.read_at_door(body_of(name)).dedupe_key)

    assert [group for group, found in groups.items() if len(found) != 1] == []
    assert len(set.union(*groups.values())) == len(groups)
    assert {len(key) for found in groups.values() for key in found if key is not None} == {32}


@pytest.mark.parametrize("name", [name for name in PARSED if CASES[name]["dedupe"] is None])
def test_without_a_time_every_delivery_counts(name: str, webhooks: WebhookParsing) -> None:
    first, second = (webhooks.read_at_door(body_of(name)) for _ in range(2))

    assert first.dedupe_key != second.dedupe_key
    assert first.event_type == second.event_type


def test_every_type_and_every_alias_has_a_payload() -> None:
    payloads = [case["payload"] for case in CASES.values() if "payload" in case]
    named = {payload.get("event_type", payload.get("event")) for payload in payloads}

    assert set(events.EVENT_TYPES) | set(events.ALIASES) <= named


@pytest.mark.parametrize("name", PARSED)
def test_a_payload_cut_anywhere_is_quarantined_and_refused(name: str, webhooks: WebhookParsing) -> None:
    body = body_of(name)
    for size in range(len(body)):
        assert webhooks.read_at_door(body[:size]).quarantine_reason
        with pytest.raises(ContractViolated):
            webhooks.read_webhook(body[:size])


@pytest.mark.parametrize("name", [name for name in READ if "payload" in CASES[name]])
def test_any_one_field_may_be_missing_or_of_another_kind(name: str, webhooks: WebhookParsing) -> None:
    """It is read or refused; nothing else happens, and the door takes it as long as it names a type."""
    for path in _paths(CASES[name]["payload"]):
        for value in [..., *RETYPED]:
            payload = copy.deepcopy(CASES[name]["payload"])
            _set(payload, path, value)
            body = json.dumps(payload).encode()
            door = webhooks.read_at_door(body)
            assert (door.dedupe_key is None) == (door.quarantine_reason is not None)
            try:
                assert isinstance(webhooks.read_webhook(body), Reading)
            except ContractViolated:
                continue


def test_a_reading_does_not_depend_on_how_json_is_spelled(webhooks: WebhookParsing) -> None:
    payload = CASES["email_reply"]["payload"]
    backwards = dict(reversed(payload.items()))

    assert webhooks.read_webhook(json.dumps(backwards, indent=4).encode()) == webhooks.read_webhook(
        body_of("email_reply")
    )


def test_no_text_of_a_reading_is_unfit_for_the_database(webhooks: WebhookParsing) -> None:
    for name in READ:
        text = json.dumps(facts(webhooks.read_webhook(body_of(name))), ensure_ascii=False)
        assert "\0" not in text
        assert "\\u0000" not in text.replace("c:\\\\u0000", "")  # the one that the corpus means
        text.encode()  # no lone surrogate


def test_no_secret_reaches_a_reading(webhooks: WebhookParsing) -> None:
    for name in READ:
        assert "0b6e2f0a-1111-4222-8333-944455556666" not in repr(webhooks.read_webhook(body_of(name)))


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
