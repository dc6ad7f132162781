"""The matrix's own eyes: what is lost, doubled or behind in the tables is seen, also where one makes up for the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from libs.database.engine import Database
from libs.ids import AccountId, OrgId
from libs.messaging.processor import Processor
from libs.messaging.work import Units
from libs.providers.smartlead.simulator import SmartleadSimulator
from services.analytics.consumers import consumers as analytics_consumers
from services.cli.demo.cast import Account, Agency
from services.cli.demo.providers import PROVIDERS
from tests.faults.load import tables
from tests.fixtures.database import MigratedDatabase
from tests.flow.test_order import facts_of
from tests.integration.services.provider_sync.stage import processor, set_stage
from tests.integration.services.webhook_ingest.conftest import Door, mailbox

ONE = "WHERE (org_id, {key}) = (SELECT org_id, {key} FROM {table} WHERE org_id = $1 LIMIT 1)"
LOST_MESSAGE = "DELETE FROM provider_sync.messages " + ONE.format(table="provider_sync.messages", key="id")
LOST_ON_THE_WAY = "DELETE FROM analytics.messages " + ONE.format(table="analytics.messages", key="message_id")
# No other table's row: what was counted a second time under an id of its own.
DOUBLED = """INSERT INTO analytics.messages
  SELECT (jsonb_populate_record(m, jsonb_build_object('message_id', gen_random_uuid()))).*
  FROM analytics.messages m WHERE org_id = $1 ORDER BY message_id DESC LIMIT 1"""
DOUBLED_IN_THE_MODEL = """INSERT INTO provider_sync.messages
  SELECT (jsonb_populate_record(m, jsonb_build_object('id', gen_random_uuid(), 'key', m.key || ' again'))).*
  FROM provider_sync.messages m WHERE org_id = $1 LIMIT 1"""
DROPPED_POST = "DELETE FROM webhook_ingest.deliveries " + ONE.format(table="webhook_ingest.deliveries", key="id")
BEHIND = "UPDATE analytics.messages SET revision = revision - 1 " + ONE.format(
    table="analytics.messages", key="message_id"
)


# What is done to the tables, and then: lost, doubled, behind.
TAMPERED = (
    ((), (0, 0, 0)),
    ((DROPPED_POST,), (1, 0, 0)),
    ((LOST_ON_THE_WAY,), (1, 0, 1)),
    ((DOUBLED,), (0, 1, 0)),
    ((BEHIND,), (0, 0, 1)),
    ((LOST_ON_THE_WAY, DOUBLED), (1, 1, 1)),
    ((LOST_MESSAGE,), (1, 1, 0)),
    ((DOUBLED_IN_THE_MODEL,), (1, 1, 0)),
)


async def test_what_is_wrong_in_the_tables_is_counted(played: tuple[asyncpg.Connection, Agency, OrgId]) -> None:
    admin, agency, org = played
    for statements, found in TAMPERED:
        # No key and no trigger stands in the way.
        await admin.execute("BEGIN; SET LOCAL session_replication_role = replica")
        for statement in statements:
            assert (await admin.execute(statement, org)).endswith(" 1"), statement

        assert await tables(admin, agency, org) == found, statements
        await admin.execute("ROLLBACK")


@pytest.fixture
async def played(
    migrated: MigratedDatabase, database: Callable[[str], Database], units: Callable[[str], Units], make_org: Any
) -> Any:
    """Twenty webhooks that went all the way, and an administrator who can tamper with what is kept of them."""
    org = make_org()
    box = mailbox(org)
    await set_stage(units("provider_sync"), org, account_id=AccountId(box.account_id))
    door = Door(database("webhook_ingest"), migrated.admin_url)
    await door.open(box)
    smartlead = next(one for one in PROVIDERS if one.name == "smartlead")
    simulator = SmartleadSimulator(seed=5)
    plan = simulator.deliveries(20)
    for post in plan.to_send():
        plan.journal.note(post, (await door.post(box, post.body)).status)
    webhooks = [event.envelope for event in await door.told()]
    await processor(database("provider_sync"), "provider-sync.webhooks").deliver(webhooks)
    listener = next(one for one in analytics_consumers() if one.queue == "analytics.facts")
    await Processor(database("analytics"), listener, "analytics").deliver(
        await facts_of(database("provider_sync"), org)
    )
    agency = Agency("One", None, [Account(smartlead, simulator, "", plan)])  # type: ignore[arg-type]
    admin = await asyncpg.connect(migrated.admin_url)
    try:
        await admin.execute(
            "BEGIN; SET LOCAL session_replication_role = replica"
        )  # no key, no trigger stands in the way
        yield admin, agency, org
    finally:
        await admin.close()
