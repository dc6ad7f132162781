"""The house on each transport."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.messaging import topology
from tests.fixtures.database import MigratedDatabase
from tests.integration.libs.messaging.house import House, open_house


@pytest.fixture(params=["in_process", "rabbitmq"])
async def house(request: pytest.FixtureRequest, migrated: MigratedDatabase) -> AsyncIterator[House]:
    amqp_url = None
    if request.param == "rabbitmq":
        amqp_url = request.getfixturevalue("rabbit_server").new_vhost()
        await topology.declare(amqp_url)
    async with open_house(migrated, amqp_url) as opened:
        yield opened
