"""The projections made anew from facts beside those that stand, held against them, and put in their place in one commit.

Readers see the old rows until then, and consumers go on: only for the last moment (what was told meanwhile, the comparison, the
switch) the org's own wait. All of it is one transaction, so a rebuild that dies leaves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from libs.database.engine import Database
from libs.ids import OrgId
from services.analytics.handlers.facts import project
from services.analytics.repository.facts import FactRepository
from services.analytics.repository.projections import ProjectionRepository, Rows


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

    With `keep` the new takes the old's place if it differs; without nothing changes. What is of another time is never kept.

    Raises:
        OrganizationErased: there is nothing left to rebuild.
    """
    if keep and as_of is not None:
        raise ValueError("what is of another time may not replace the present")
    told: Rebuilt | None = None
    with suppress(_Discard):
        async with database.tenant_transaction(org_id) as session:
            facts, stands = FactRepository(session), ProjectionRepository(session)
            beside = ProjectionRepository(session, beside=True)
            async for some in facts.all(as_of):
                await project(some, beside)
            if as_of is None:
                await facts.stop_writers()
                async for some in facts.not_beside():
                    await project(some, beside)
            stood, made = await stands.hashes(), await beside.hashes()
            told = Rebuilt(facts=await facts.count(as_of), stood=stood, made=made, kept=keep and made != stood)
            if not told.kept:
                raise _Discard
            await beside.take_over()
            await beside.clear_beside()
    assert told is not None
    return told


async def rebuild(database: Database, org_id: OrgId) -> int:
    """Make the org's projections anew from its facts beside running consumers; answers how many facts."""
    return (await compare(database, org_id, as_of=None, keep=True)).facts
