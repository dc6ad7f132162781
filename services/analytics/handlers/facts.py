"""Keep what is told, and keep the present state folded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from libs.database.engine import Database, TenantSession
from libs.ids import OrgId
from libs.messaging.work import UnitOfWork
from libs.observability.logs import get_logger
from services.analytics.domain.facts import Companies, Fact, fold, newest_of_companies, newest_told
from services.analytics.repository.facts import FactRepository, FreshnessRepository
from services.analytics.repository.projections import ProjectionRepository, Rows

log = get_logger()


async def keep_facts(events: Sequence[Fact], work: UnitOfWork) -> None:
    """Append one org's facts and fold them into the projections; publishes nothing."""
    contested = await FactRepository(work.session).append(events)
    if contested:  # its owner gave one revision to two contents: a bug there; we keep what we heard first
        log.error("fact_contested", facts=len(contested), subject=contested[0])
    await project(events, work.session)
    await FreshnessRepository(work.session).told(
        "facts", newest_told(events).envelope.time, newest_of_companies(events)
    )


async def project(facts: Sequence[Fact], session: TenantSession) -> None:
    """Fold facts into the projections. Any order, duplication and division into batches ends in the same rows."""
    folded = fold(facts)
    rows = ProjectionRepository(session)
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


async def rebuild(database: Database, org_id: OrgId) -> int:
    """Make the org's projections anew from its facts, in one transaction beside running consumers; answers how many facts.

    Readers see the old rows until it commits.
    """
    async with database.tenant_transaction(org_id) as session:
        return await _rebuild(session, None)


async def _rebuild(session: TenantSession, as_of: datetime | None) -> int:
    read = 0
    await ProjectionRepository(session).forget()
    async for facts in FactRepository(session).all(as_of):
        await project(facts, session)
        read += len(facts)
    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What an org's facts fold into, held against what stands. `kept`: the new took the old's place."""

    facts: int
    stood: Mapping[str, Rows]
    made: Mapping[str, Rows]
    kept: bool

    @property
    def differs(self) -> list[str]:
        """The projections that were not what the facts say."""
        return [name for name, rows in self.made.items() if rows != self.stood[name]]


class _Discard(Exception):
    """Ends a transaction without keeping anything of it."""


async def compare(database: Database, org_id: OrgId, *, as_of: datetime | None, keep: bool) -> Rebuilt:
    """Fold the org's facts (those told until `as_of`) beside what stands and compare by hash.

    With `keep` the new takes the old's place, in one commit, if it differs; without nothing changes. Readers see the old rows
    meanwhile; what this org's consumers write waits. What is of another time is never kept.

    Raises:
        OrganizationErased: there is nothing left to rebuild.
    """
    if keep and as_of is not None:
        raise ValueError("what is of another time may not replace the present")
    told: Rebuilt | None = None
    with suppress(_Discard):
        async with database.tenant_transaction(org_id) as session:
            rows = ProjectionRepository(session)
            await rows.hold_all()
            stood = await rows.hashes()
            facts = await _rebuild(session, as_of)
            made = await rows.hashes()
            told = Rebuilt(facts=facts, stood=stood, made=made, kept=keep and made != stood)
            if not told.kept:
                raise _Discard
    assert told is not None
    return told
