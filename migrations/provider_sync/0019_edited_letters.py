"""Edited letters keep what they were."""

from libs.messaging.replay_schema import replay_tables_v3

revision = "provider_sync_0019"
down_revision = "provider_sync_0018"


def upgrade() -> None:
    replay_tables_v3()
