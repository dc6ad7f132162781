"""How each organization stands: suspended ones wait, erased ones stay gone."""

from libs.messaging.schema import messaging_tables_v2

revision = "analytics_0005"
down_revision = "analytics_0004"


def upgrade() -> None:
    messaging_tables_v2()
