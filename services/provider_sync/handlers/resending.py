"""What this service knows, told once more as the same events: for a listener that lost what it had heard.

Whoever still has a fact keeps it: an event of the same subject and revision says the same. What was told before the present
revision is not told again, so of an entity's past the listener learns nothing.
"""

from __future__ import annotations

from uuid import UUID

from libs.messaging.work import UnitOfWork
from services.provider_sync.domain.kinds import KINDS, Kind
from services.provider_sync.domain.telling import tell
from services.provider_sync.repository.accounts import AccountRepository
from services.provider_sync.repository.entities import EntityRepository

RESENT_AT_ONCE = (
    500  # in one transaction: their rows are locked, so that none is told at a revision that passes meanwhile
)


async def resend(work: UnitOfWork, kind: Kind, after: UUID | None, *, replay_id: UUID) -> tuple[UUID | None, int]:
    """Publish the `*.recorded` event of the org's next RESENT_AT_ONCE rows of this kind, under new ids with the `replayid`.

    Answers where to go on (None: that were all) and how many were told.
    """
    rows = await EntityRepository(work.session).page(kind, after, RESENT_AT_ONCE)
    accounts = await AccountRepository(work.session).find_all({row.account_id for row in rows})
    told = 0
    for row in rows:
        event = tell(kind.name, row, accounts[row.account_id])
        if event is not None:
            work.publish(event, company_id=row.company_id, replay_id=replay_id)
            told += 1
    return (rows[-1].id if len(rows) == RESENT_AT_ONCE else None), told


# Parents first, as they were told the first time; what arrives in another order ends in the same rows.
RESENT = tuple(kind for kind in KINDS if kind.name in ("campaign", "sequence_step", "lead", "message", "engagement"))
