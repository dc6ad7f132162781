"""Keep what others tell about tenants, completeness and counts."""

from __future__ import annotations

from collections.abc import Sequence

from libs.contracts.event import Event
from libs.contracts.events import (
    CompanyCreatedV1,
    DriftDetectedV1,
    LedgerCountedV1,
    OrganizationCreatedV1,
    ProviderAccountChangedV1,
    ReconciliationCompletedV1,
    SyncCompletedV1,
)
from libs.errors import ContractViolated
from libs.messaging.standing import keep_standing
from libs.messaging.work import UnitOfWork
from services.analytics.repository.facts import FreshnessRepository
from services.analytics.repository.ledger import LedgerRepository
from services.analytics.repository.surroundings import SurroundingsRepository


async def keep_tenants(events: Sequence[Event], work: UnitOfWork) -> None:
    """Keep where an org's days begin, its companies, the newest of each account, and how the org stands.

    Raises:
        ContractViolated: the database knows no such time zone; dead-lettered.
    """
    rows = SurroundingsRepository(work.session)
    for event in events:
        if isinstance(event, OrganizationCreatedV1):
            if not await rows.knows_time_zone(event.time_zone):
                raise ContractViolated(f"there is no time zone {event.time_zone!r}")
            await rows.save_organization(event)
    if companies := [event for event in events if isinstance(event, CompanyCreatedV1)]:
        await rows.save_companies(companies)
    if accounts := [event for event in events if isinstance(event, ProviderAccountChangedV1)]:
        await rows.save_accounts(accounts)
    await keep_standing(events, work)


async def keep_drift(events: Sequence[DriftDetectedV1 | ReconciliationCompletedV1], work: UnitOfWork) -> None:
    """Keep the newest drift of each campaign and when it was last compared.

    A completed run closes every drift told before it; what it leaves open is told again after it. A failed run proves
    nothing and closes nothing.
    """
    rows = SurroundingsRepository(work.session)
    if drifts := [event for event in events if isinstance(event, DriftDetectedV1)]:
        await rows.save_drifts(drifts)
    completed = [event for event in events if isinstance(event, ReconciliationCompletedV1)]
    if completed := [event for event in completed if event.outcome == "completed" and event.campaign_ids]:
        await rows.save_reconciled(completed)


async def count_syncs(events: Sequence[SyncCompletedV1], work: UnitOfWork) -> None:
    """Count the pulls that ended, by account, kind and outcome."""
    await SurroundingsRepository(work.session).count_syncs(events)


async def count_ledger(events: Sequence[LedgerCountedV1], work: UnitOfWork) -> None:
    """Add what services counted to the counts of each hop."""
    await LedgerRepository(work.session).add(events)
    await FreshnessRepository(work.session).told("ledger", max(event.envelope.time for event in events))
