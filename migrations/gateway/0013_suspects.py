"""An index for what may kill its process, beside the one for all that is due."""

from libs.messaging.schema import messaging_tables_v4

revision = "gateway_0013"
down_revision = "gateway_0012"


def upgrade() -> None:
    messaging_tables_v4()
