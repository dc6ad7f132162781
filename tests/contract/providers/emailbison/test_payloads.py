"""What the shared tests of the corpus cannot know of EmailBison: its blocks, its clocks, its retold replies."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libs.providers.emailbison import events
from libs.providers.emailbison.webhooks import EmailBisonWebhooks
from tests.contract.providers.anything import any_json, holds

WEBHOOKS = EmailBisonWebhooks()

plausible = st.sampled_from(
    [40112, "40112", "dana.ruiz@acme.example.com", "2026-09-01T14:00:09.000000Z", "0001-01-01T00:00:00+14:00", True]
)
anything = plausible | any_json


def block(names: str) -> st.SearchStrategy[Any]:
    return anything | st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), anything))


payloads = st.fixed_dictionaries(
    {
        "event": st.fixed_dictionaries(
            {"type": st.sampled_from([*events.EVENT_TYPES, "email_sent"])}, optional={"workspace_id": anything}
        ),
        "data": st.fixed_dictionaries(
            {},
            optional={
                "scheduled_email": block("id sequence_step_order sent_at email_subject raw_message_id"),
                "campaign_event": block("id created_at"),
                "lead": block("id email first_name"),
                "campaign": block("id name"),
                "sender_email": block("email"),
                "reply": block("id type folder date_received updated_at interested from_email_address to text_body"),
            },
        ),
    }
)


def payload_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text())["payload"]
    return found


@given(payloads)
def test_any_payload(payload: dict[str, object]) -> None:
    holds(WEBHOOKS, json.dumps(payload).encode())


def test_wall_clocks_with_a_z_behind_them_are_never_read() -> None:
    for name in ("email_sent", "lead_replied", "email_bounced"):
        payload = payload_of(name)
        expected = WEBHOOKS.read_webhook(json.dumps(payload).encode())
        payload["data"]["campaign_event"]["created_at_local"] = "noon"
        for clock_name in ("scheduled_date_est", "scheduled_date_local"):
            payload["data"]["scheduled_email"][clock_name] = "noon"

        assert WEBHOOKS.read_webhook(json.dumps(payload).encode()) == expected


def test_names_are_labels_for_people() -> None:
    payload = payload_of("lead_replied")
    renamed = copy.deepcopy(payload)
    renamed["event"]["name"] = "Contact Replied"

    assert WEBHOOKS.read_webhook(json.dumps(renamed).encode()) == WEBHOOKS.read_webhook(json.dumps(payload).encode())


def test_a_judged_reply_is_the_reply_that_was_told() -> None:
    told, judged = (
        WEBHOOKS.read_webhook(json.dumps(payload_of(name)).encode()) for name in ("lead_replied", "lead_interested")
    )

    assert told.messages[1].key == judged.messages[1].key == judged.engagements[0].message_key


def test_a_workspace_is_stated_to_be_compared_and_is_in_no_key() -> None:
    elsewhere = payload_of("email_sent")
    elsewhere["event"]["workspace_id"] = 8

    here = WEBHOOKS.read_webhook(json.dumps(payload_of("email_sent")).encode())
    there = WEBHOOKS.read_webhook(json.dumps(elsewhere).encode())

    assert (here.workspace_external_id, there.workspace_external_id) == ("7", "8")
    assert here.messages == there.messages
