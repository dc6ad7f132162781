"""What the shared tests of the corpus cannot know of HeyReach: one message in many tellings, and what it never says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs import clock
from libs.providers.heyreach import events
from libs.providers.heyreach.webhooks import HeyReachWebhooks
from libs.providers.sightings import Direction, MessageSighting
from tests.contract.providers.anything import any_json, holds

WEBHOOKS = HeyReachWebhooks()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CASES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.json"))
}
FIELDS = "is_inmail recent_messages conversation_id campaign sender lead timestamp connection_message".split()
plausible = st.sampled_from(
    [
        410233,
        {"id": 410233, "status": "IN_PROGRESS"},
        {"id": "58344001", "profile_url": "https://www.linkedin.com/in/ada-example-0001", "tags": ["Interested"]},
        [{"creation_time": "2026-09-02T07:30:00.124Z", "message": "Hi<br>Ada", "is_reply": False}],
        [{"creation_time": "0001-01-01T00:00:00+14:00", "message": "&#0;", "is_reply": True}],
        "2026-09-02T07:30:00.1241234Z",
        "2-MDAwMDAwMDAtMDAwMC00MDAwLTgwMDAtMDAwMDAwMDAwMDAxXzEwMA==",
    ]
)
payloads = st.fixed_dictionaries(
    {"event_type": st.sampled_from([*events.EVENT_TYPES, *(name.lower() for name in events.EVENT_TYPES)])},
    optional=dict.fromkeys(FIELDS, plausible | any_json),
)


@pytest.fixture(autouse=True)
def _frozen():
    with clock.frozen(NOW):
        yield


def messages_of(name: str) -> dict[str, MessageSighting]:
    return {m.key: m for m in WEBHOOKS.read_webhook(json.dumps(CASES[name]["payload"]).encode()).messages}


def of(name: str, direction: Direction) -> str:
    """The key of the message that a payload is about, which is told first."""
    first = next(iter(messages_of(name).values()))
    assert first.direction is direction
    return first.key


@given(payloads)
def test_any_payload(payload: dict[str, object]) -> None:
    holds(WEBHOOKS, json.dumps(payload).encode())


def test_one_reply_is_one_message_whoever_tells_it() -> None:
    tellers = [name for name in CASES if name.startswith(("every_message_reply_received", "message_reply_received"))]
    in_the_thread = [name for name in tellers if "inmail" not in name]
    keys = {of(name, Direction.INBOUND) for name in in_the_thread}

    assert len(in_the_thread) == 7
    assert len(keys) == 1
    assert keys <= set(messages_of("message_sent_after_others"))  # a slice tells it too
    assert of("every_message_reply_received_inmail", Direction.INBOUND) == of(
        "inmail_reply_received", Direction.INBOUND
    )
    assert of("inmail_reply_received", Direction.INBOUND) not in keys  # another conversation


def test_one_sent_message_is_one_message_however_it_is_spelled() -> None:
    same = ["message_sent", "message_sent_with_breaks", "message_sent_in_full", "message_sent_twice_in_slice"]
    keys = {of(name, Direction.OUTBOUND) for name in same}

    assert len(keys) == 1
    for name in ("every_message_reply_received", "message_sent_after_others"):
        assert keys < set(messages_of(name))
    assert keys.isdisjoint(messages_of("message_sent_empty"))


def test_only_the_message_meant_has_a_campaign_and_an_author_who_is_none() -> None:
    meant, *others = messages_of("message_sent_after_others").values()

    assert (meant.campaign_external_id, meant.is_manual, meant.is_inmail) == ("410233", False, False)
    assert len(others) == 3
    assert {(m.campaign_external_id, m.is_manual, m.is_inmail) for m in others} == {(None, None, None)}


def test_nothing_ever_names_a_step() -> None:
    for case in CASES.values():
        for kind in ("messages", "engagements"):
            assert all("step_number" not in fact for fact in case.get("facts", {}).get(kind, []))
        assert "steps" not in case.get("facts", {})


def test_a_type_is_the_same_in_any_case() -> None:
    for spelling in ("liked_post", "LIKED_POST", " Liked_Post "):
        payload = {**CASES["liked_post"]["payload"], "event_type": spelling}
        body = json.dumps(payload).encode()
        assert WEBHOOKS.read_webhook(body).event_type == events.LIKED_POST
        assert WEBHOOKS.read_at_door(body).event_type == events.LIKED_POST
