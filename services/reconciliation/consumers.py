"""What reconciliation listens to."""

from __future__ import annotations

from libs.contracts.events import ProviderAccountChangedV1, SnapshotCapturedV1, SyncCompletedV1
from libs.messaging.consumer import Consumer
from libs.messaging.standing import STANDING_EVENTS, keep_standing
from services.reconciliation.handlers import accounts, progress


def consumers() -> tuple[Consumer, ...]:
    return (
        Consumer("reconciliation.tenants", STANDING_EVENTS, keep_standing),
        Consumer("reconciliation.accounts", (ProviderAccountChangedV1,), accounts.keep_accounts),
        Consumer("reconciliation.snapshots", (SnapshotCapturedV1,), progress.take_captures),
        Consumer("reconciliation.syncs", (SyncCompletedV1,), progress.take_answers),
    )
