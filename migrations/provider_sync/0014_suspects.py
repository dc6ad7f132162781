"""An index for what may kill its process, beside the one for all that is due."""

from libs.messaging.schema import messaging_tables_v4

revision = "provider_sync_0014"
down_revision = "provider_sync_0013"


def upgrade() -> None:
    messaging_tables_v4()
