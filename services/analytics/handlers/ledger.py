"""Does an org's ledger balance? Asked by clients, by the auditor all the time, and by `outrider audit ledger`."""

from __future__ import annotations

from datetime import timedelta

from libs.contracts.event import registry
from libs.contracts.events import LedgerCountedV1
from libs.database.engine import TenantSession
from services.analytics.domain.ledger import Verdict
from services.analytics.repository.ledger import LedgerRepository

# Minutes that balance are added up into their day after this long: nobody looks for a lost event in one of them, and what
# is judged all the time must not grow with the house's age.
MINUTES_KEPT = timedelta(days=1)


def listeners() -> list[tuple[str, str]]:
    """Every (event type, queue that hears it), but those of the ledger's own event, which is not counted."""
    return [
        (name, queue)
        for name, event in sorted(registry.types.items())
        for queue in event.heard_by
        if name != LedgerCountedV1.routing_key
    ]


async def judge(session: TenantSession, settle_seconds: float) -> Verdict:
    """The org's door and hops; minutes older than `settle_seconds` must balance."""
    rows = LedgerRepository(session)
    return Verdict(door=await rows.door(settle_seconds), hops=tuple(await rows.hops(listeners(), settle_seconds)))


async def fold(session: TenantSession) -> int:
    """Add the minutes that balance up into their days; answers how many rows went. What does not balance stays as it is."""
    return await LedgerRepository(session).fold(listeners(), MINUTES_KEPT)
