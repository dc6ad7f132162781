"""The inbox is cut into weeks, which are dropped once nobody needs them."""

from libs.messaging.schema import messaging_tables_v3

revision = "analytics_0009"
down_revision = "analytics_0008"


def upgrade() -> None:
    messaging_tables_v3()
