"""What reconciliation listens to."""

from __future__ import annotations

from libs.contracts.events import CompanyArchivedV1, ProviderAccountChangedV1, SnapshotCapturedV1, SyncCompletedV1
from libs.messaging.consumer import Consumer
from libs.messaging.standing import STANDING_EVENTS
from services.reconciliation.handlers import accounts, progress


def consumers() -> tuple[Consumer, ...]:
    return (
        Consumer("reconciliation.tenants", (CompanyArchivedV1, *STANDING_EVENTS), accounts.keep_tenants),
        Consumer("reconciliation.accounts", (ProviderAccountChangedV1,), accounts.keep_accounts),
        Consumer("reconciliation.snapshots", (SnapshotCapturedV1,), progress.take_captures),
        Consumer("reconciliation.syncs", (SyncCompletedV1,), progress.take_answers),
    )
