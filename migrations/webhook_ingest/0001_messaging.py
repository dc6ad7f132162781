"""The messaging tables of webhook_ingest."""

from libs.messaging.schema import messaging_tables_v1

revision = "webhook_ingest_0001"
down_revision = None


def upgrade() -> None:
    messaging_tables_v1()
