"""Keep what is told, and keep the present state folded from it."""

from __future__ import annotations

from collections.abc import Sequence

from libs.messaging.work import UnitOfWork
from libs.observability.logs import get_logger
from services.analytics.domain.facts import Companies, Fact, fold, newest_of_companies, newest_told
from services.analytics.repository.facts import FactRepository, FreshnessRepository
from services.analytics.repository.projections import ProjectionRepository

log = get_logger()


async def keep_facts(events: Sequence[Fact], work: UnitOfWork) -> None:
    """Append one org's facts and fold them into the projections; publishes nothing."""
    contested = await FactRepository(work.session).append(events)
    if contested:  # its owner gave one revision to two contents: a bug there; we keep what we heard first
        log.error("fact_contested", facts=len(contested), subject=contested[0])
    await project(events, ProjectionRepository(work.session))
    await FreshnessRepository(work.session).told(
        "facts", newest_told(events).envelope.time, newest_of_companies(events)
    )


async def project(facts: Sequence[Fact], rows: ProjectionRepository) -> None:
    """Fold facts into the projections. Any order, duplication and division into batches ends in the same rows."""
    folded = fold(facts)
    companies = Companies({}, {})
    if folded.mentioned:
        held = await rows.hold_campaigns(folded.mentioned, to_change=bool(folded.campaigns))
        companies = Companies(held, folded.campaigns)
        await rows.save_campaigns(companies.newer)
        await rows.relabel_children(companies.moved)
    # Sorted by key, so that two batches with the same rows meet in one order.
    await rows.save_steps([(step, companies.of(step)) for _, step in sorted(folded.steps.items())])
    await rows.save_messages([(message, companies.of(message)) for _, message in sorted(folded.messages.items())])
    await rows.save_engagements([(one, companies.of(one)) for _, one in sorted(folded.engagements.items())])
