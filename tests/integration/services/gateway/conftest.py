"""The gateway's house, with owners in process or behind sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp

from libs.database.engine import Database
from libs.messaging.work import Units
from libs.runtime.service import Platform
from libs.tenancy.signing import ContextVerifier, new_private_key, public_key_of
from services.gateway.app import build
from services.gateway.bootstrap import ensure_platform_key
from services.gateway.settings import GatewaySettings
from tests.integration.services.gateway.house import OWNERS, FakeOwner, House, closed_port, served, settle

PEPPER = "pepper-of-the-tests"

MakeHouse = Callable[..., Awaitable[House]]


@pytest.fixture
async def make_house(database: Callable[[str], Database]) -> AsyncIterator[MakeHouse]:
    async with AsyncExitStack() as stack:

        async def make(
            hop: str = "asgi", *, absent: tuple[str, ...] = (), deadline_seconds: float = 15.0, **more: Any
        ) -> House:
            private = new_private_key()
            public = public_key_of(private)
            owners = {process: FakeOwner(process, ContextVerifier([public], process)) for process in OWNERS}
            urls = {process: closed_port() for process in OWNERS}
            apps: dict[str, ASGIApp] = {}
            for process, owner in owners.items():
                if process in absent:
                    continue
                if hop == "asgi":
                    apps[process] = owner
                else:
                    urls[process] = await stack.enter_async_context(served(owner))
            more.setdefault("failed_sign_ins_per_address", 10_000_000)  # a house full of tests comes from one address
            settings = GatewaySettings(
                key_pepper=SecretStr(PEPPER),
                context_private_key=SecretStr(private),
                owner_deadline_seconds=deadline_seconds,
                provider_sync_url=urls["provider-sync"],
                analytics_url=urls["analytics"],
                reconciliation_url=urls["reconciliation"],
                webhook_ingest_url=urls["webhook-ingest"],
                **more,
            )
            gateway = database("gateway")
            verifier = ContextVerifier([public], "gateway")
            platform = Platform(gateway, Units(gateway, "gateway"), verifier, apps)
            service, twin = build(platform, settings), build(platform, settings)
            for one in (service, twin):
                assert one.closing is not None
                stack.push_async_callback(one.closing)
            key = await ensure_platform_key(gateway, PEPPER)
            assert key is not None
            first = await settle(service.app, key, "Northwind Outreach")
            second = await settle(service.app, key, "Southwind Outreach")
            return House(service.app, owners, key, first, second, twin.app)

        yield make


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    return await make_house()


@pytest.fixture
def replica(house: House) -> Any:
    """A second gateway on the house's database."""
    return house.twin


@pytest.fixture(params=["asgi", "socket"])
async def either_house(request: pytest.FixtureRequest, make_house: MakeHouse) -> House:
    """The same house twice: owners called in process, and owners behind sockets."""
    return await make_house(request.param)
