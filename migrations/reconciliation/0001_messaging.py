"""The messaging tables of reconciliation."""

from libs.messaging.schema import messaging_tables_v1

revision = "reconciliation_0001"
down_revision = None


def upgrade() -> None:
    messaging_tables_v1()
