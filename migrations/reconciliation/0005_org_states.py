"""How each organization stands: suspended ones wait, erased ones stay gone."""

from libs.messaging.schema import messaging_tables_v2

revision = "reconciliation_0005"
down_revision = "reconciliation_0004"


def upgrade() -> None:
    messaging_tables_v2()
