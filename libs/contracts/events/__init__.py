"""Every event of the house; importing this fills the registry. A module per publisher."""

from libs.contracts.events.gateway import (
    CompanyArchivedV1,
    CompanyCreatedV1,
    OrganizationCreatedV1,
    OrganizationErasedV1,
    OrganizationResumedV1,
    OrganizationSuspendedV1,
)
from libs.contracts.events.provider_sync import (
    CampaignRecordedV1,
    EarlierToken,
    EngagementRecordedV1,
    LeadRecordedV1,
    MessageRecordedV1,
    OperationChangedV1,
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
from libs.contracts.events.services import (
    ActionPerformedV1,
    DeadLetterChangedV1,
    ErasureProgressedV1,
    LedgerCount,
    LedgerCountedV1,
)
from libs.contracts.events.webhook_ingest import WebhookEndpointReadyV1, WebhookReceivedV1

__all__ = [
    "ActionPerformedV1",
    "CampaignRecordedV1",
    "CompanyArchivedV1",
    "CompanyCreatedV1",
    "DeadLetterChangedV1",
    "DriftDetectedV1",
    "EarlierToken",
    "EngagementRecordedV1",
    "ErasureProgressedV1",
    "LeadRecordedV1",
    "LedgerCount",
    "LedgerCountedV1",
    "MessageRecordedV1",
    "OperationChangedV1",
    "OrganizationCreatedV1",
    "OrganizationErasedV1",
    "OrganizationResumedV1",
    "OrganizationSuspendedV1",
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
