"""An index for what may kill its process, beside the one for all that is due."""

from libs.messaging.schema import messaging_tables_v4

revision = "analytics_0010"
down_revision = "analytics_0009"


def upgrade() -> None:
    messaging_tables_v4()
