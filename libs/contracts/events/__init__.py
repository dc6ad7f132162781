"""Every event of the house; importing this fills the registry. A module per publisher."""

from libs.contracts.events.gateway import CompanyCreatedV1, OrganizationCreatedV1
from libs.contracts.events.provider_sync import (
    CampaignRecordedV1,
    EngagementRecordedV1,
    LeadRecordedV1,
    MessageRecordedV1,
    ProviderAccountChangedV1,
    SequenceStepRecordedV1,
    SnapshotCapturedV1,
    SnapshotDifference,
    SnapshotDigest,
    SyncCompletedV1,
    WebhookEndpointChangedV1,
)
from libs.contracts.events.reconciliation import (
    DriftDetectedV1,
    ReconciliationCompletedV1,
    RepairRequestedV1,
    SnapshotRequestedV1,
)
from libs.contracts.events.services import DeadLetterChangedV1, LedgerCount, LedgerCountedV1
from libs.contracts.events.webhook_ingest import WebhookEndpointReadyV1, WebhookReceivedV1

__all__ = [
    "CampaignRecordedV1",
    "CompanyCreatedV1",
    "DeadLetterChangedV1",
    "DriftDetectedV1",
    "EngagementRecordedV1",
    "LeadRecordedV1",
    "LedgerCount",
    "LedgerCountedV1",
    "MessageRecordedV1",
    "OrganizationCreatedV1",
    "ProviderAccountChangedV1",
    "ReconciliationCompletedV1",
    "RepairRequestedV1",
    "SequenceStepRecordedV1",
    "SnapshotCapturedV1",
    "SnapshotDifference",
    "SnapshotDigest",
    "SnapshotRequestedV1",
    "SyncCompletedV1",
    "WebhookEndpointChangedV1",
    "WebhookEndpointReadyV1",
    "WebhookReceivedV1",
]
