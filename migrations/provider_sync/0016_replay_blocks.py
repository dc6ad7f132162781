"""Replays keep their letters in blocks; groups know since when a build was tried on them."""

from libs.messaging.replay_schema import replay_tables_v2

revision = "provider_sync_0016"
down_revision = "provider_sync_0015"


def upgrade() -> None:
    replay_tables_v2()
