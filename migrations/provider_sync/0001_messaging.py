"""The messaging tables of provider_sync."""

from libs.messaging.schema import messaging_tables_v1

revision = "provider_sync_0001"
down_revision = None


def upgrade() -> None:
    messaging_tables_v1()
