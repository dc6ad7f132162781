"""Edited letters keep what they were."""

from libs.messaging.replay_schema import replay_tables_v3

revision = "gateway_0015"
down_revision = "gateway_0014"


def upgrade() -> None:
    replay_tables_v3()
