"""The inbox is cut into weeks, which are dropped once nobody needs them."""

from libs.messaging.schema import messaging_tables_v3

revision = "reconciliation_0008"
down_revision = "reconciliation_0007"


def upgrade() -> None:
    messaging_tables_v3()
