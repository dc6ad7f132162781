"""The inbox is cut into weeks, which are dropped once nobody needs them."""

from libs.messaging.schema import messaging_tables_v3

revision = "gateway_0012"
down_revision = "gateway_0011"


def upgrade() -> None:
    messaging_tables_v3()
