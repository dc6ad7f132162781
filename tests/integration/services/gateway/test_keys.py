"""The first key, peppers in turn, and how long a revoked key may be remembered elsewhere."""

from __future__ import annotations

import asyncio

import pytest

from libs.database.engine import Database
from libs.errors import Unauthenticated
from libs.ids import PLATFORM_ORG
from libs.messaging.work import Units
from libs.tenancy.roles import Role
from services.gateway.bootstrap import ensure_platform_key, new_platform_key
from services.gateway.gate import KEY_SECONDS, Gate
from services.gateway.handlers.keys import add_key, revoke_key
from services.gateway.keys import Peppers


async def test_the_first_key_is_given_once_also_to_many_who_ask_at_once(database):
    given = await asyncio.gather(*(ensure_platform_key(database("gateway"), "pepper") for _ in range(4)))

    keys = [key for key in given if key is not None]
    assert len(keys) == 1
    principal = await Gate(database("gateway"), Peppers("pepper")).authenticate(f"Bearer {keys[0]}")
    assert principal.role is Role.SUPER_ADMIN
    assert principal.home == PLATFORM_ORG
    assert await ensure_platform_key(database("gateway"), "pepper") is None


async def test_who_lost_the_key_may_have_another(database):
    gateway: Database = database("gateway")
    first = await ensure_platform_key(gateway, "pepper")
    second = await new_platform_key(gateway, "pepper", "again")
    gate = Gate(gateway, Peppers("pepper"))

    assert (await gate.authenticate(f"bearer {first}")).role is Role.SUPER_ADMIN
    assert (await gate.authenticate(f"Bearer  {second}")).role is Role.SUPER_ADMIN


async def test_old_keys_outlive_a_new_pepper_and_end_with_their_own(database):
    gateway = database("gateway")
    old = await new_platform_key(gateway, "first", "old")
    new = await new_platform_key(gateway, "first,second", "new")

    both = Gate(gateway, Peppers("first,second"))
    for key in (old, new):
        assert (await both.authenticate(f"Bearer {key}")).role is Role.SUPER_ADMIN
    for listed, key in (("other", old), ("other,second", old), ("first", new), ("first,other", new)):
        with pytest.raises(Unauthenticated):
            await Gate(gateway, Peppers(listed)).authenticate(f"Bearer {key}")


async def test_another_replica_forgets_a_revoked_key_within_five_seconds(database, make_org):
    gateway = database("gateway")
    units, peppers = Units(gateway, "gateway"), Peppers("pepper")
    org = make_org()
    async with units.begin(org) as work:
        issued = await add_key(work, peppers, name="k", role=Role.ORG_ADMIN)
    replica = Gate(gateway, peppers)
    moment = 1000.0
    replica.keys._clock = lambda: moment
    principal = await replica.authenticate(f"Bearer {issued.key}")
    async with units.begin(org) as work:
        await revoke_key(work, None, principal.id)

    moment += KEY_SECONDS
    with pytest.raises(Unauthenticated, match="revoked"):
        await replica.authenticate(f"Bearer {issued.key}")
    assert KEY_SECONDS < 5


async def test_the_login_sees_keys_of_its_org_only_and_the_look_up_shows_no_names(database, make_org):
    gateway = database("gateway")
    units, peppers = Units(gateway, "gateway"), Peppers("pepper")
    mine, theirs = make_org(), make_org()
    for org in (mine, theirs):
        async with units.begin(org) as work:
            await add_key(work, peppers, name="k", role=Role.ORG_ADMIN)

    async with gateway.tenant_transaction(mine) as session:
        rows = await session.fetch("SELECT org_id FROM api_keys")
    async with gateway.transaction() as transaction:
        await transaction.as_service()
        without_tenant = await transaction.driver.fetch("SELECT * FROM api_keys")
        columns = await transaction.driver.fetch("SELECT * FROM api_key_v3($1)", rows[0]["org_id"])

    assert [row["org_id"] for row in rows] == [mine]
    assert without_tenant == []
    assert columns == []
