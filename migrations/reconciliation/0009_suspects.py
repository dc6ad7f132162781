"""An index for what may kill its process, beside the one for all that is due."""

from libs.messaging.schema import messaging_tables_v4

revision = "reconciliation_0009"
down_revision = "reconciliation_0008"


def upgrade() -> None:
    messaging_tables_v4()
