"""The inbox and the deliveries are cut into weeks, which are dropped once nobody needs them."""

from functools import partial

from libs.database.ddl import tenant_table_v1
from libs.database.partitions import partitioned_v1
from libs.messaging.schema import messaging_tables_v3

revision = "webhook_ingest_0007"
down_revision = "webhook_ingest_0006"


def upgrade() -> None:
    messaging_tables_v3()
    partitioned_v1(
        "deliveries",
        "id",
        leading="org_id",
        is_open="verdict = 'quarantined'",
        closed_since="coalesce(released_at, received_at)",
        close=partial(tenant_table_v1, "deliveries", company=False),
    )
