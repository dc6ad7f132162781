"""Rows as events. An event states the whole of its entity at its revision; who a person is and what they wrote stay here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from libs.contracts.event import Event
from libs.contracts.events import (
    CampaignRecordedV1,
    EngagementRecordedV1,
    LeadRecordedV1,
    MessageRecordedV1,
    SequenceStepRecordedV1,
)
from services.provider_sync.domain.accounts import Account
from services.provider_sync.domain.kinds import CAMPAIGN, ENGAGEMENT, LEAD, MESSAGE, STEP
from services.provider_sync.domain.merging import Row, provenance


def tell(kind: str, row: Row, account: Account) -> Event | None:
    """The event of this row; None for kinds that nobody hears of, and for a message that is only referred to so far."""
    told = _TOLD.get(kind)
    return None if told is None else told(row, account)


def _campaign(row: Row, account: Account) -> Event:
    external_id, channel = row.identity
    values = _of(row, "name", "status")
    return CampaignRecordedV1.model_validate(
        {
            **_common(row),
            "campaign_id": row.id,
            "provider": account.provider,
            "external_id": external_id,
            "channel": channel,
            **values,
        }
    )


def _step(row: Row, _: Account) -> Event:
    _key, campaign_id, number = row.identity
    return SequenceStepRecordedV1.model_validate(
        {
            **_common(row),
            "step_id": row.id,
            "campaign_id": campaign_id,
            "number": number,
            "name": row.values.get("subject"),
            **_of(row, "external_id", "delay_days"),
        }
    )


def _lead(row: Row, _: Account) -> Event:
    return LeadRecordedV1.model_validate({**_common(row), "lead_id": row.id})


def _message(row: Row, _: Account) -> Event | None:
    if "direction" not in row.values:
        return None
    _key, channel = row.identity
    same = "campaign_id lead_id conversation_id direction step_source occurred_at in_reply_to_id manual inmail"
    values = _of(row, *same.split())
    step = row.values.get("step_number")
    return MessageRecordedV1.model_validate(
        {**_common(row), "message_id": row.id, "channel": channel, "sequence_step_number": step, **values}
    )


def _engagement(row: Row, _: Account) -> Event:
    _key, channel = row.identity
    values = _of(row, "campaign_id", "lead_id", "message_id", "kind", "occurred_at", "details")
    step = row.values.get("step_number")
    return EngagementRecordedV1.model_validate(
        {**_common(row), "engagement_id": row.id, "channel": channel, "sequence_step_number": step, **values}
    )


def _common(row: Row) -> Mapping[str, Any]:
    return {"account_id": row.account_id, "revision": row.revision, "source": provenance(row.sources).value}


def _of(row: Row, *names: str) -> Mapping[str, Any]:
    return {name: row.values.get(name) for name in names}


_TOLD: Mapping[str, Callable[[Row, Account], Event | None]] = {
    CAMPAIGN.name: _campaign,
    STEP.name: _step,
    LEAD.name: _lead,
    MESSAGE.name: _message,
    ENGAGEMENT.name: _engagement,
}
