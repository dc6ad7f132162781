"""Failure groups and replays."""

from libs.messaging.replay_schema import replay_tables_v1

revision = "analytics_0008"
down_revision = "analytics_0007"


def upgrade() -> None:
    replay_tables_v1()
