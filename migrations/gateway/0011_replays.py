"""Failure groups and replays."""

from libs.messaging.replay_schema import replay_tables_v1

revision = "gateway_0011"
down_revision = "gateway_0010"


def upgrade() -> None:
    replay_tables_v1()
