"""The first key: who runs the house gets it once, and makes all others with it."""

from __future__ import annotations

from libs.database.engine import Database
from libs.database.names import process_name
from libs.ids import PLATFORM_ORG
from libs.messaging.work import Units
from libs.tenancy.roles import Role
from services.gateway.handlers.keys import add_key
from services.gateway.keys import Peppers
from services.gateway.repository.keys import Keys


async def ensure_platform_key(database: Database, pepper: str) -> str | None:
    """A new super_admin key if there is no usable one, else None. It cannot be shown again: keep it (0600).

    `database` is the gateway's, `pepper` the setting GATEWAY_KEY_PEPPER. Of several callers at once one gets a key.
    """
    async with Units(database, process_name(database.service)).begin(PLATFORM_ORG) as work:
        if await Keys(work.session).has_usable(Role.SUPER_ADMIN):
            return None
        issued = await add_key(work, Peppers(pepper), name="first platform key", role=Role.SUPER_ADMIN)
    return issued.key


async def new_platform_key(database: Database, pepper: str, name: str) -> str:
    """One more super_admin key, for who has the machine but lost the key."""
    async with Units(database, process_name(database.service)).begin(PLATFORM_ORG) as work:
        issued = await add_key(work, Peppers(pepper), name=name, role=Role.SUPER_ADMIN)
    return issued.key
