"""Events of reconciliation: what it asks for and what it found."""

from __future__ import annotations

from uuid import UUID

from libs.contracts.event import Event


class SnapshotRequestedV1(
    Event, type="snapshot.requested.v1", publisher="reconciliation", heard_by=("provider-sync.snapshots",)
):
    """Please count what the provider holds for this account (or one campaign), and compare with what we hold."""

    run_id: UUID
    pass_number: int
    account_id: UUID
    campaign_id: UUID | None = None

    def subject(self) -> str:
        return f"reconciliation/{self.run_id}/{self.pass_number}"


class RepairRequestedV1(
    Event, type="repair.requested.v1", publisher="reconciliation", heard_by=("provider-sync.repairs",)
):
    """Please pull the messages of these leads of one campaign: some are missing here. At most 500 leads an event."""

    run_id: UUID
    pass_number: int
    account_id: UUID
    campaign_id: UUID
    campaign_external_id: str
    lead_keys: tuple[str, ...]

    def subject(self) -> str:
        return f"reconciliation/{self.run_id}/{self.pass_number}/{self.campaign_id}"


class DriftDetectedV1(Event, type="drift.detected.v1", publisher="reconciliation", heard_by=("analytics.drift",)):
    """One campaign differed from its provider in `kind` on some days."""

    run_id: UUID
    account_id: UUID
    campaign_id: UUID
    kind: str
    missing: int
    surplus: int

    def subject(self) -> str:
        return f"drift/{self.run_id}/{self.campaign_id}/{self.kind}"


class ReconciliationCompletedV1(
    Event, type="reconciliation.completed.v1", publisher="reconciliation", heard_by=("analytics.drift",)
):
    """A run ended. `open` of the `found` drifts are not repaired; outcome "failed" says why in `error`."""

    run_id: UUID
    account_id: UUID
    outcome: str
    campaign_ids: tuple[UUID, ...] = ()
    found: int = 0
    repaired: int = 0
    open: int = 0
    error: str | None = None

    def subject(self) -> str:
        return f"reconciliation/{self.run_id}"
