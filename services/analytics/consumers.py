"""What analytics listens to."""

from __future__ import annotations

from libs.contracts.events import (
    CompanyCreatedV1,
    DriftDetectedV1,
    LedgerCountedV1,
    OrganizationCreatedV1,
    ProviderAccountChangedV1,
    ReconciliationCompletedV1,
    SyncCompletedV1,
)
from libs.messaging.consumer import Consumer
from libs.messaging.standing import STANDING_EVENTS
from services.analytics.domain.facts import FACTS
from services.analytics.handlers import facts, surroundings


def consumers() -> tuple[Consumer, ...]:
    return (
        Consumer("analytics.facts", FACTS, facts.keep_facts),
        Consumer(
            "analytics.tenants",
            (OrganizationCreatedV1, CompanyCreatedV1, ProviderAccountChangedV1, *STANDING_EVENTS),
            surroundings.keep_tenants,
        ),
        Consumer("analytics.ledger", (LedgerCountedV1,), surroundings.count_ledger),
        Consumer("analytics.drift", (DriftDetectedV1, ReconciliationCompletedV1), surroundings.keep_drift),
        Consumer("analytics.sync", (SyncCompletedV1,), surroundings.count_syncs),
    )
