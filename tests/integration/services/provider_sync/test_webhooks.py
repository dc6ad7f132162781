"""Webhooks become facts, whatever their order, number and company."""

from __future__ import annotations

from tests.integration.services.provider_sync.stage import (
    inbox_states,
    payload,
    processor,
    rows_of,
    set_stage,
    told,
)

QUEUE = "provider-sync.webhooks"


async def test_a_webhook_becomes_rows_and_events(database, units, make_org):
    stage = await set_stage(units("provider_sync"), make_org())

    await processor(database("provider_sync"), QUEUE).deliver([stage.webhook(payload("email_sent"))])

    rows = await rows_of(database("provider_sync"), stage.org_id)
    print(rows)
    print(await told(database("provider_sync"), stage.org_id))
    assert {table: len(found) for table, found in rows.items()} == {
        "campaigns": 1, "sequence_steps": 1, "leads": 1, "conversations": 1, "messages": 1, "engagements": 0,
    }  # fmt: skip
    assert set((await inbox_states(database("provider_sync"), QUEUE)).values()) == {"done"}
