"""Events of provider_sync: the one model, as facts.

A `*.recorded` event states the whole of one entity at its `revision`; of two facts about one subject the higher revision is
the newer. Message bodies stay with their owner. `source` is how we know: webhook, pull or inferred.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from libs.contracts.event import Event

_FACTS = ("analytics.facts",)
Provenance = Literal["webhook", "pull", "inferred"]
ChannelName = Literal["email", "linkedin"]


class CampaignRecordedV1(Event, type="campaign.recorded.v1", publisher="provider-sync", heard_by=_FACTS):
    """A campaign. Its company (the envelope's) is also the company of all its children, whatever their own events said."""

    campaign_id: UUID
    account_id: UUID
    revision: int
    provider: str
    channel: ChannelName
    external_id: str
    name: str | None = None
    status: str | None = None
    source: Provenance

    def subject(self) -> str:
        return f"campaign/{self.campaign_id}"


class SequenceStepRecordedV1(Event, type="sequence_step.recorded.v1", publisher="provider-sync", heard_by=_FACTS):
    """One step of a campaign's sequence, counted from 1 by its place, whatever the provider calls it."""

    step_id: UUID
    account_id: UUID
    campaign_id: UUID
    revision: int
    number: int
    external_id: str | None = None
    name: str | None = None
    delay_days: int | None = None
    source: Provenance

    def subject(self) -> str:
        return f"sequence_step/{self.step_id}"


class LeadRecordedV1(Event, type="lead.recorded.v1", publisher="provider-sync", heard_by=_FACTS):
    """A person written to; who they are stays with provider_sync, only what can be counted travels."""

    lead_id: UUID
    account_id: UUID
    revision: int
    source: Provenance

    def subject(self) -> str:
        return f"lead/{self.lead_id}"


class MessageRecordedV1(Event, type="message.recorded.v1", publisher="provider-sync", heard_by=_FACTS):
    """A message sent (outbound) or received (inbound). `occurred_at` is None while no provider time is known.

    `manual`: a person wrote it, no sequence; `inmail`: LinkedIn's paid kind; both None while nothing says either way.

    `sequence_step_number` is the step that sent it or that it answers, None for manual messages; `step_source` is how known.
    """

    message_id: UUID
    account_id: UUID
    campaign_id: UUID | None = None
    lead_id: UUID
    conversation_id: UUID
    revision: int
    channel: ChannelName
    direction: Literal["outbound", "inbound"]
    sequence_step_number: int | None = None
    step_source: Provenance | None = None
    occurred_at: datetime | None = None
    in_reply_to_id: UUID | None = None
    manual: bool | None = None
    inmail: bool | None = None
    source: Provenance

    def subject(self) -> str:
        return f"message/{self.message_id}"


class EngagementRecordedV1(Event, type="engagement.recorded.v1", publisher="provider-sync", heard_by=_FACTS):
    """Something a lead or a mail server did: opened, clicked, bounced, unsubscribed, categorized ..."""

    engagement_id: UUID
    account_id: UUID
    campaign_id: UUID | None = None
    lead_id: UUID
    message_id: UUID | None = None
    revision: int
    channel: ChannelName
    kind: str
    sequence_step_number: int | None = None
    occurred_at: datetime
    details: dict[str, str] = {}
    source: Provenance

    def subject(self) -> str:
        return f"engagement/{self.engagement_id}"


class ProviderAccountChangedV1(
    Event,
    type="provider_account.changed.v1",
    publisher="provider-sync",
    heard_by=("analytics.tenants", "reconciliation.accounts"),
):
    """An account at a provider came to be, was renamed, or changed its state; no credential travels."""

    account_id: UUID
    revision: int
    provider: str
    channel: ChannelName
    name: str
    status: Literal["active", "paused", "needs_reauth"]

    def subject(self) -> str:
        return f"provider_account/{self.account_id}"


class EarlierToken(BaseModel):
    """A token that was replaced. From `ends_at` on its posts are quarantined, from `dead_at` on refused; None: not yet."""

    model_config = ConfigDict(frozen=True)

    token_id: UUID
    token_sha256: str
    ends_at: datetime | None = None
    dead_at: datetime | None = None


class WebhookEndpointChangedV1(
    Event, type="webhook_endpoint.changed.v1", publisher="provider-sync", heard_by=("webhook-ingest.endpoints",)
):
    """An endpoint to open or close. Only the SHA-256 (hex) of its tokens travels; the door compares hashes.

    `token_id` names the newest token (None: it has the endpoint's id); `mode` is how signatures are judged, which the door
    does not. `allowed_sources` are CIDR blocks, none: any; with "observe" a post from elsewhere is only marked.
    """

    endpoint_id: UUID
    account_id: UUID
    revision: int
    provider: str
    token_sha256: str
    mode: Literal["off", "observe", "require"] = "off"
    status: Literal["open", "closed"] = "open"
    token_id: UUID | None = None
    earlier_tokens: tuple[EarlierToken, ...] = ()
    allowed_sources: tuple[str, ...] = ()
    source_mode: Literal["observe", "enforce"] = "observe"

    def subject(self) -> str:
        return f"webhook_endpoint/{self.endpoint_id}"


class SnapshotDigest(BaseModel):
    """How many messages of `kind` one day (UTC) holds, and the XOR of their keys' hashes (hex), at the provider and here."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["sent", "reply"]
    day: date
    provider_count: int
    provider_hash: str
    our_count: int
    our_hash: str


class SnapshotDifference(BaseModel):
    """The keys of one (kind, day) whose digests differ. `missing` are known to the provider only, `surplus` to us only."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["sent", "reply"]
    day: date
    missing: tuple[tuple[str, str], ...] = ()  # (message key, lead key)
    surplus: tuple[tuple[str, str], ...] = ()


class SnapshotCapturedV1(
    Event, type="snapshot.captured.v1", publisher="provider-sync", heard_by=("reconciliation.snapshots",)
):
    """One campaign compared, part `part` of `parts` of the run's pass. A capture that failed says why in `error`."""

    run_id: UUID
    pass_number: int
    account_id: UUID
    campaign_id: UUID | None = None
    campaign_external_id: str = ""
    part: int
    parts: int
    digests: tuple[SnapshotDigest, ...] = ()
    differences: tuple[SnapshotDifference, ...] = ()
    error: str | None = None

    def subject(self) -> str:
        return f"snapshot/{self.run_id}/{self.pass_number}/{self.part}"


class SyncCompletedV1(
    Event, type="sync.completed.v1", publisher="provider-sync", heard_by=("analytics.sync", "reconciliation.syncs")
):
    """A pull from the provider ended. `run_id` is the reconciliation that asked for it, if one did."""

    sync_id: UUID
    account_id: UUID
    kind: Literal["repair", "read_back"]
    campaign_id: UUID | None = None
    run_id: UUID | None = None
    pass_number: int | None = None
    outcome: Literal["done", "failed"]
    objects: int = 0
    error: str | None = None

    def subject(self) -> str:
        return f"sync/{self.sync_id}"


OperationState = Literal["pending", "running", "succeeded", "failed", "unknown", "cancelled"]


class OperationChangedV1(
    Event, type="operation.changed.v1", publisher="provider-sync", heard_by=("gateway.operations",)
):
    """A change at a provider that somebody asked for is so far. `target` is the public id of what is changed.

    `unknown`: its answer was lost; with `needs_decision` only a person can tell whether it was done. Of several changes of
    one operation the highest revision is the newest.
    """

    operation_id: UUID
    account_id: UUID
    revision: int
    kind: str
    target: str
    state: OperationState
    needs_decision: bool
    done: int
    total: int
    error_code: str | None = None
    created_at: datetime
    changed_at: datetime

    def subject(self) -> str:
        return f"operation/{self.operation_id}"
