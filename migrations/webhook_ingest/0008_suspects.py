"""An index for what may kill its process, beside the one for all that is due."""

from libs.messaging.schema import messaging_tables_v4

revision = "webhook_ingest_0008"
down_revision = "webhook_ingest_0007"


def upgrade() -> None:
    messaging_tables_v4()
