"""The messaging tables of analytics."""

from libs.messaging.schema import messaging_tables_v1

revision = "analytics_0001"
down_revision = None


def upgrade() -> None:
    messaging_tables_v1()
