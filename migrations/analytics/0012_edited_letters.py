"""Edited letters keep what they were."""

from libs.messaging.replay_schema import replay_tables_v3

revision = "analytics_0012"
down_revision = "analytics_0011"


def upgrade() -> None:
    replay_tables_v3()
