"""The messaging tables of gateway."""

from libs.messaging.schema import messaging_tables_v1

revision = "gateway_0001"
down_revision = None


def upgrade() -> None:
    messaging_tables_v1()
