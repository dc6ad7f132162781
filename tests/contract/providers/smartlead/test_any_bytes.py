"""Whatever is posted: the door answers, the reader reads or refuses."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from libs.errors import ContractViolated
from libs.providers.sightings import Reading
from libs.providers.smartlead import events
from libs.providers.smartlead.webhooks import SmartleadWebhooks

WEBHOOKS = SmartleadWebhooks()

# Surrogates too: JavaScript escapes half an emoji without a thought.
any_text = st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=12)
any_scalar = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    any_scalar, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4), max_leaves=12
)
FIELDS = (
    "campaign_id stats_id to_email sl_lead_email lead_email event_timestamp sequence_number sent_message reply_message "
    "bounce_message link_clicked lead_data lead_category history lastReply leadCorrespondence client_id campaign_status "
    "sender_detail recipient_detail message_id is_bounced"
).split()
plausible = st.sampled_from(
    [
        3623750,
        "3623750",
        "ines@northpier.example.com",
        "2026-07-11T12:01:58.023+00:00",
        "0001-01-01T00:00:00+14:00",
        "<a@b>",
    ]
)
payloads = st.fixed_dictionaries(
    {"event_type": st.sampled_from([*events.EVENT_TYPES, *events.ALIASES])},
    optional=dict.fromkeys(FIELDS, plausible | any_json),
)


def _holds(body: bytes) -> None:
    door = WEBHOOKS.read_at_door(body)
    assert (door.dedupe_key is None) == (door.event_type is None) == (door.quarantine_reason is not None)
    try:
        assert isinstance(WEBHOOKS.read_webhook(body), Reading)
    except ContractViolated:
        return
    assert door.quarantine_reason is None


@given(st.binary(max_size=200))
def test_any_bytes(body: bytes) -> None:
    _holds(body)


@given(any_json)
def test_any_json(value: object) -> None:
    _holds(json.dumps(value).encode())


@given(payloads)
def test_any_payload(payload: dict[str, object]) -> None:
    _holds(json.dumps(payload).encode())


def test_depth_is_no_way_to_hurt() -> None:
    for depth in (100, 1000, 100_000):
        _holds(b'{"event_type": "EMAIL_SENT", "campaign_id": ' + b"[" * depth + b"]" * depth + b"}")
