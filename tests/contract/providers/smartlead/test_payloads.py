"""What the shared tests of the corpus cannot know of Smartlead: its other spellings, its secret, its fields."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from libs.errors import ContractViolated
from libs.providers.smartlead import events
from libs.providers.smartlead.webhooks import SmartleadWebhooks
from tests.contract.providers.anything import any_json, holds

WEBHOOKS = SmartleadWebhooks()
PAYLOADS = [
    case["payload"]
    for case in (json.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("*.json")))
    if "payload" in case
]

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


@given(payloads)
def test_any_payload(payload: dict[str, object]) -> None:
    holds(WEBHOOKS, json.dumps(payload).encode())


def test_every_alias_has_a_payload() -> None:
    named = {payload.get("event_type", payload.get("event")) for payload in PAYLOADS if isinstance(payload, dict)}

    assert set(events.EVENT_TYPES) | set(events.ALIASES) <= named


def test_no_secret_reaches_a_reading() -> None:
    for payload in PAYLOADS:
        try:
            reading = WEBHOOKS.read_webhook(json.dumps(payload).encode())
        except ContractViolated:
            continue
        assert "0b6e2f0a-1111-4222-8333-944455556666" not in repr(reading)
