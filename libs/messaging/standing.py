"""How an organization stands in this service: served, suspended, erased.

Every service hears it and keeps it in `org_states`. Suspended: whoever is told so (`Consumer.waits_while_suspended`) keeps
events instead of handling them, and they are handled by themselves once it is resumed. Erased: final; a tombstone that
outlives the rows and refuses whatever still comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from libs.contracts.event import Event
from libs.contracts.events import OrganizationErasedV1, OrganizationResumedV1, OrganizationSuspendedV1
from libs.database.engine import TenantSession
from libs.errors import TransientError
from libs.messaging.work import UnitOfWork

State = Literal["active", "suspended", "erased"]

STANDING_EVENTS: tuple[type[Event], ...] = (OrganizationSuspendedV1, OrganizationResumedV1, OrganizationErasedV1)


class OrganizationSuspended(TransientError):
    """Why an event waits: nothing is wrong with it, and nothing was tried."""

    code = "organization_suspended"

    def __init__(self) -> None:
        super().__init__("the organization is suspended: this is handled by itself once it is resumed")


async def keep_standing(events: Sequence[Any], work: UnitOfWork) -> None:
    """Keep how the org stands, as the newest revision in `events` (of STANDING_EVENTS, or others) says; erased is final."""
    told: list[tuple[int, State]] = []
    for event in events:
        match event:
            case OrganizationSuspendedV1():
                told.append((event.revision, "suspended"))
            case OrganizationResumedV1():
                told.append((event.revision, "active"))
            case OrganizationErasedV1():
                told.append((event.revision, "erased"))
    if told:
        revision, state = max(told, key=lambda one: (one[1] == "erased", one[0]))
        await set_standing(work.session, state, revision)


async def set_standing(session: TenantSession, state: State, revision: int) -> None:
    """Keep it unless a newer one is known. What is erased stays so."""
    await session.execute(
        """
        INSERT INTO org_states AS known (org_id, state, revision) VALUES ($1, $2, $3)
        ON CONFLICT (org_id) DO UPDATE SET state = excluded.state, revision = excluded.revision, changed_at = now()
        WHERE known.state <> 'erased' AND (excluded.state = 'erased' OR known.revision < excluded.revision)
        """,
        session.org_id,
        state,
        revision,
    )
