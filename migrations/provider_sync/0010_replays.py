"""Failure groups and replays."""

from libs.messaging.replay_schema import replay_tables_v1

revision = "provider_sync_0010"
down_revision = "provider_sync_0009"


def upgrade() -> None:
    replay_tables_v1()
